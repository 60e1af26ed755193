#pragma once
#include <string>
#include <vector>

#include "app/process.h"
#include "env/env.h"

// D/cluster.json: the processes of a local cluster, as `pangu cluster` started them.
namespace pangu::app {

struct RoleProcess {
  std::string name;                // "master-1", "chunkserver-2"
  std::vector<std::string> words;  // its command line, without the program's name
  std::string log_path;            // standard output and error
  std::string address;             // host:port that it announced
  ProcessId process;
  i64 started_us = 0;              // wall clock, for people
};

struct ClusterFile {
  std::string directory;  // absolute
  std::vector<RoleProcess> roles;

  // NotFound names the nearest role.
  Result<RoleProcess*> find(std::string_view name);
  // host:port of the masters, separated by commas: what --cluster takes.
  std::string masters() const;
};

inline constexpr std::string_view kClusterFileName = "cluster.json";

std::string format_cluster_file(const ClusterFile& cluster);
// InvalidArgument says what is wrong with the text.
Result<ClusterFile> parse_cluster_file(std::string_view name, std::string_view text);
// NotFound if no cluster was ever started in `directory`.
Result<ClusterFile> load_cluster_file(env::FileSystem& files, const std::string& directory);
// Durable when it returns.
Status store_cluster_file(env::FileSystem& files, const ClusterFile& cluster);

}  // namespace pangu::app
