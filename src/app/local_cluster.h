#pragma once
#include <functional>
#include <string>
#include <vector>

#include "app/cluster_file.h"
#include "app/world.h"

// A cluster of processes on this machine: each role a process of its own, listening on loopback,
// with its data below one directory (docs/cli.md, "A cluster of processes").
namespace pangu::app {

struct LocalClusterOptions {
  std::string directory;
  u64 masters = 3;
  u64 chunkservers = 3;
  u64 namespace_groups = 2;
  u64 stream_groups = 2;
  u64 racks = 0;             // 0: every chunkserver is a rack of its own
  bool memory = false;       // devices in memory instead of files
  u64 device_bytes = 0;
  u16 master_port = 0;       // of the first master, the others take the next ones; 0: free ones
  std::vector<std::string> common_words;  // flags that every process gets
};

// The rack of the chunkserver with this index, from 0.
std::string rack_name(u64 index, u64 racks);

// The cluster's directory and whoever works on it: one `pangu cluster` command at a time.
class LocalCluster {
 public:
  // Makes a cluster, or starts again the one whose data is there, and returns when every process
  // serves. What was started is ended again if one of them fails. AlreadyExists: it runs.
  static Result<LocalCluster> start(World& world, const LocalClusterOptions& options);
  // NotFound: no cluster was ever started there.
  static Result<LocalCluster> open(World& world, const std::string& directory);

  const ClusterFile& file() const { return file_; }
  // SIGKILL, at once. NotFound: no such process, or it does not run.
  Status kill(std::string_view name);
  Status signal(std::string_view name, Signal signal);
  // Starts a process that does not run. AlreadyExists: it runs.
  Status restart(std::string_view name);
  // SIGTERM to all, chunkservers first; SIGKILL to those that still run after `patience`.
  Status stop(Duration patience);

 private:
  LocalCluster(World& world, ClusterFile file, std::unique_ptr<env::File> lock);
  Status launch_all();
  Result<StartedProcess> launch(RoleProcess& role);
  Status await_ready(RoleProcess& role, StartedProcess& started);
  Status store() { return store_cluster_file(world_->env().files(), file_); }

  World* world_;
  ClusterFile file_;
  std::unique_ptr<env::File> lock_;
};

}  // namespace pangu::app
