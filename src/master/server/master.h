#pragma once
#include <memory>
#include <string>

#include "master/group/group.h"
#include "master/log/local_log.h"
#include "master/ops/ops.h"
#include "master/state/rocks_kv.h"
#include "rpc/service.h"

// A master process's own part: a data folder with its identity and lock, and in it the log and the
// store of the one group. What listens is an rpc::Server over service().
//
//   <directory>/identity.toml   cluster id and format version
//   <directory>/lock            held while open
//   <directory>/log/            docs/formats/master-log.md
//   <directory>/kv/             RocksDB, or kv/image of the store in memory
namespace pangu::master {

enum class StoreKind : u8 {
  rocksdb,
  memory,  // simulation and small embedded clusters: see state/memory_kv.h
};

struct MasterOptions {
  std::string directory;
  StoreKind store = StoreKind::rocksdb;
  std::string version;  // of the program, for people
  GroupOptions group;
  LivenessOptions liveness;
  u64 log_segment_bytes = 16 * kMiB;
  RocksKvOptions rocks;
  // For requests that come without a deadline.
  Duration request_timeout = seconds(30);
};

class Master {
 public:
  // Makes a data folder for a new cluster and returns the cluster's id. AlreadyExists: the folder is
  // a master's already. Blocking.
  static Result<Uuid> init(env::Env& env, const std::string& directory);

  // `reactor` must outlive the master.
  Master(Reactor& reactor, MasterOptions options);
  ~Master();  // REQUIRES: stop() returned, or open() was not called, or the reactor was abandoned

  // Errors: NotFound (no data folder: init first), InUse (another process has it), Corrupt,
  // WrongCluster, WrongVersion, each with what and where. After an error call stop().
  Task<Status> open();
  // REQUIRES: the rpc::Server over service() has stopped.
  Task<void> stop();

  // Known after open().
  Uuid cluster() const { return cluster_; }
  rpc::Service& service();
  Group& group() { return *group_; }

 private:
  class Dispatcher;

  Status open_folder();
  Task<Result<std::unique_ptr<Kv>>> open_store();

  Reactor& reactor_;
  MasterOptions options_;
  std::unique_ptr<env::File> lock_;
  Uuid cluster_;
  std::unique_ptr<Group> group_;
  std::unique_ptr<ops::Context> context_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace pangu::master
