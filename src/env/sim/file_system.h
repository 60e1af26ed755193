#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "env/env.h"

// Names on the disks of a simulated node. Every call takes no simulated time; creating, removing
// and replacing a name is durable when the call returns.
namespace pangu::env::sim {

class Disk;
class Node;
class SimEnv;

// One slash between parts, one in front, none behind; relative paths start at the root.
std::string normalised(std::string_view path);

class SimFileSystem final : public FileSystem {
 public:
  SimFileSystem(Node& node, SimEnv& env) : node_(node), env_(env) {}
  Result<std::unique_ptr<File>> open(std::string_view path, const OpenOptions& options) override;
  Status make_directories(std::string_view path) override;
  Result<std::vector<std::string>> list(std::string_view directory) override;
  Status remove(std::string_view path) override;
  bool exists(std::string_view path) override;
  Result<std::string> read_file(std::string_view path) override;
  Status replace_file(std::string_view path, std::string_view contents) override;

 private:
  Status usable(const std::string& path);
  bool is_directory(const std::string& path);
  Status parent_exists(const std::string& path);

  Node& node_;
  SimEnv& env_;
};

}  // namespace pangu::env::sim
