#include "app/cluster_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "app/nearest.h"

namespace pangu::app {

namespace {
using nlohmann::json;
constexpr int kFormat = 1;

bool is_master(const RoleProcess& role) { return role.name.starts_with("master"); }

// Fields of the wrong type read as empty: one check for all at the end.
std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}
template <class T>
T number_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<T>() : T{};
}

RoleProcess role_of(const json& object) {
  RoleProcess role;
  role.name = text_of(object, "name");
  role.log_path = text_of(object, "log");
  role.address = text_of(object, "address");
  role.process.pid = number_of<i32>(object, "pid");
  role.process.start_ticks = number_of<u64>(object, "start_ticks");
  role.started_us = number_of<i64>(object, "started_us");
  if (const auto words = object.find("command"); words != object.end() && words->is_array()) {
    for (const json& word : *words) {
      role.words.push_back(word.is_string() ? word.get<std::string>() : "");
    }
  }
  return role;
}
}  // namespace

Result<RoleProcess*> ClusterFile::find(std::string_view name) {
  std::vector<std::string_view> names;
  for (RoleProcess& role : roles) {
    if (role.name == name) {
      return &role;
    }
    names.push_back(role.name);
  }
  return Error(Code::kNotFound, fmt::format("the cluster in {} has no process '{}'{}", directory,
                                            name, did_you_mean(name, names)));
}

std::string ClusterFile::masters() const {
  std::string out;
  for (const RoleProcess& role : roles) {
    if (is_master(role)) {
      out += (out.empty() ? "" : ",") + role.address;
    }
  }
  return out;
}

std::string format_cluster_file(const ClusterFile& cluster) {
  json roles = json::array();
  for (const RoleProcess& role : cluster.roles) {
    roles.push_back({{"name", role.name},
                     {"role", role.words.empty() ? "" : role.words[0]},
                     {"pid", role.process.pid},
                     {"start_ticks", role.process.start_ticks},
                     {"address", role.address},
                     {"command", role.words},
                     {"log", role.log_path},
                     {"started_us", role.started_us}});
  }
  const json document = {{"format", kFormat}, {"masters", cluster.masters()}, {"processes", roles}};
  // A path need not be UTF-8: replaced, not thrown about.
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ClusterFile> parse_cluster_file(std::string_view name, std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded() || !document.is_object() || !document.contains("processes") ||
      !document["processes"].is_array() || number_of<int>(document, "format") != kFormat) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} is no description of a cluster in format {}", name, kFormat));
  }
  ClusterFile cluster;
  for (const json& object : document["processes"]) {
    RoleProcess role = role_of(object);
    if (role.name.empty() || role.words.empty() || role.log_path.empty()) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{}: a process has no name, command or log", name));
    }
    cluster.roles.push_back(std::move(role));
  }
  return cluster;
}

Result<ClusterFile> load_cluster_file(env::FileSystem& files, const std::string& directory) {
  const std::string path = fmt::format("{}/{}", directory, kClusterFileName);
  if (!files.exists(path)) {
    return Error(Code::kNotFound,
                 fmt::format("no cluster in {}; hint: `pangu cluster start --dir {}` makes one",
                             directory, directory));
  }
  TRY(text, files.read_file(path));
  TRY(cluster, parse_cluster_file(path, text));
  cluster.directory = directory;
  return std::move(cluster);
}

Status store_cluster_file(env::FileSystem& files, const ClusterFile& cluster) {
  return files.replace_file(fmt::format("{}/{}", cluster.directory, kClusterFileName),
                            format_cluster_file(cluster));
}

}  // namespace pangu::app
