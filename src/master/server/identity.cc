#include "master/server/identity.h"

#include <algorithm>
#include <charconv>
#include <fmt/core.h>
#include <set>

#include "base/key_values.h"
#include "raft/core/configuration.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

constexpr std::string_view kFormatVersion = "2";
constexpr std::string_view kRole = "master";
// Copies of a group where there are more masters than that.
constexpr size_t kCopies = 3;
constexpr size_t kRootCopies = 5;

std::string identity_path(const std::string& directory) { return directory + "/identity.toml"; }

// "1=127.0.0.1:7101,2=127.0.0.1:7102"
std::string format_members(const std::vector<Member>& members) {
  std::string out;
  for (const Member& member : members) {
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", member.node.number,
                       env::to_string(member.address));
  }
  return out;
}

Result<u64> parse_node(const std::string& path, std::string_view text) {
  u64 number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: '{}' is no number from 1 on", path, text));
  }
  return number;
}

Result<std::vector<Member>> parse_members(const std::string& path, std::string_view text) {
  std::vector<Member> out;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals == part.npos) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{}: member '{}' is not NODE=HOST:PORT", path, part));
    }
    TRY(node, parse_node(path, part.substr(0, equals)));
    TRY(address, env::parse_address(part.substr(equals + 1)));
    out.push_back({.node = raft::NodeId{node}, .address = address});
  }
  return out;
}

Status check_groups(u64 namespace_groups, u64 stream_groups) {
  for (const u64 count : {namespace_groups, stream_groups}) {
    if (count == 0 || count > wire::kPartitionsMax) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{} groups of a kind; 1 to {} are possible", count,
                               wire::kPartitionsMax));
    }
  }
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<env::File>> take_lock(env::Env& env, const std::string& directory) {
  const env::OpenOptions options{.create = true, .lock = true};
  auto lock = env.files().open(directory + "/lock", options);
  if (lock.code() == Code::kInUse) {
    return Error(Code::kInUse,
                 fmt::format("{}: another process is the master of this folder", directory));
  }
  return lock;
}

Status check_founding(const Founding& founding) {
  std::set<u64> nodes;
  std::set<env::Address> addresses;
  for (const Member& member : founding.members) {
    if (!nodes.insert(member.node.number).second || member.node.number == 0) {
      return Error(Code::kInvalidArgument,
                   fmt::format("two masters cannot both be node {}", member.node.number));
    }
    if (!addresses.insert(member.address).second) {
      return Error(Code::kInvalidArgument, fmt::format("two masters cannot both be at {}",
                                                       env::to_string(member.address)));
    }
  }
  if (founding.members.size() > raft::kMembersMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} masters; a group has {} at most", founding.members.size(),
                             raft::kMembersMax));
  }
  TRY_VOID(check_groups(founding.namespace_groups, founding.stream_groups));
  if (founding.begins && !founding.members.empty() && !nodes.contains(founding.node.number)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("node {} is not among the members {}", founding.node.number,
                             format_members(founding.members)));
  }
  if (founding.members.size() > 1 && founding.cluster.is_zero()) {
    return Error(Code::kInvalidArgument,
                 "several masters that begin a cluster need one cluster id, given to all of them");
  }
  return ok_status();
}

Result<Founding> read_identity(env::Env& env, const std::string& directory) {
  const std::string path = identity_path(directory);
  if (!env.files().exists(path)) {
    return Error(Code::kNotFound,
                 fmt::format("{} is not there: this folder holds no master; a new cluster is made "
                             "with 'pangu master --init'",
                             path));
  }
  TRY(text, env.files().read_file(path));
  TRY(values, parse_key_values(path, text));
  TRY(role, required_value(path, values, "role"));
  if (role != kRole) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: this is the folder of a {}, not of a master", path, role));
  }
  TRY(version, required_value(path, values, "format_version"));
  if (version != kFormatVersion) {
    return Error(Code::kWrongVersion, fmt::format("{} has format version {}, this program reads {}",
                                                  path, version, kFormatVersion));
  }
  Founding out;
  TRY(cluster_text, required_value(path, values, "cluster"));
  TRY(cluster, parse_uuid(cluster_text));
  out.cluster = cluster;
  if (cluster.is_zero()) {
    return Error(Code::kInvalidArgument, fmt::format("{}: the cluster id is zero", path));
  }
  TRY(node_text, required_value(path, values, "node"));
  TRY(node, parse_node(path, node_text));
  out.node = raft::NodeId{node};
  TRY(members_text, required_value(path, values, "members"));
  TRY(members, parse_members(path, members_text));
  out.members = std::move(members);
  TRY(names_text, required_value(path, values, "namespace_groups"));
  TRY(name_groups, parse_node(path, names_text));
  TRY(streams_text, required_value(path, values, "stream_groups"));
  TRY(stream_groups, parse_node(path, streams_text));
  TRY_VOID(check_groups(name_groups, stream_groups));
  out.namespace_groups = static_cast<u32>(name_groups);
  out.stream_groups = static_cast<u32>(stream_groups);
  TRY(begins_text, required_value(path, values, "begins"));
  out.begins = begins_text == "yes";
  TRY_VOID(check_founding(out));
  return out;
}

Result<Uuid> init_identity(env::Env& env, const std::string& directory, const Founding& founding) {
  TRY_VOID(check_founding(founding));
  TRY_VOID(env.files().make_directories(directory));
  // Held until this returns.
  const auto lock = take_lock(env, directory);
  if (!lock.ok()) {
    return lock.error();
  }
  const std::string path = identity_path(directory);
  if (env.files().exists(path)) {
    return Error(Code::kAlreadyExists,
                 fmt::format("{} is there: this folder is a master's already; leave out --init to "
                             "start it",
                             path));
  }
  TRY(names, env.files().list(directory));
  for (const std::string& name : names) {
    if (name == "log" || name == "kv") {
      return Error(Code::kAlreadyExists,
                   fmt::format("{}/{} is there without an identity.toml: restore that file, or "
                               "choose an empty folder",
                               directory, name));
    }
  }
  Uuid cluster = founding.cluster;
  if (cluster.is_zero()) {
    cluster = {.high = env.random(), .low = env.random()};
  }
  const KeyValues values = {{"format_version", std::string(kFormatVersion)},
                            {"role", std::string(kRole)},
                            {"cluster", to_string(cluster)},
                            {"node", std::to_string(founding.node.number)},
                            {"members", format_members(founding.members)},
                            {"begins", founding.begins ? "yes" : "no"},
                            {"namespace_groups", std::to_string(founding.namespace_groups)},
                            {"stream_groups", std::to_string(founding.stream_groups)}};
  TRY_VOID(env.files().replace_file(
      path, format_key_values("Who this master is. Do not copy or edit.", values)));
  return cluster;
}

std::vector<raft::NodeId> founders_of(const Founding& founding, u64 group) {
  std::vector<raft::NodeId> nodes;
  for (const Member& member : founding.members) {
    nodes.push_back(member.node);
  }
  if (nodes.empty()) {
    nodes.push_back(founding.node);
  }
  std::sort(nodes.begin(), nodes.end());
  const bool root = group == wire::kRootGroup;
  const size_t copies = std::min<size_t>(nodes.size(), root ? kRootCopies : kCopies);
  const size_t first = root ? 0 : group_position(group);
  std::vector<raft::NodeId> out;
  for (size_t i = 0; i < copies; ++i) {
    out.push_back(nodes[(first + i) % nodes.size()]);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<u64> all_groups(const Founding& founding) {
  std::vector<u64> out{wire::kRootGroup};
  for (u32 i = 0; i < founding.namespace_groups; ++i) {
    out.push_back(wire::kFirstNamespaceGroup + i);
  }
  for (u32 i = 0; i < founding.stream_groups; ++i) {
    out.push_back(wire::kFirstStreamGroup + i);
  }
  return out;
}

pb::GroupKind kind_of(u64 group) {
  return group < wire::kFirstNamespaceGroup ? pb::GROUP_ROOT
         : group < wire::kFirstStreamGroup  ? pb::GROUP_NAMESPACE
                                            : pb::GROUP_STREAM;
}

u32 index_of(u64 group) {
  switch (kind_of(group)) {
    case pb::GROUP_NAMESPACE:
      return static_cast<u32>(group - wire::kFirstNamespaceGroup);
    case pb::GROUP_STREAM:
      return static_cast<u32>(group - wire::kFirstStreamGroup);
    default:
      return 0;
  }
}

u32 group_position(u64 group) {
  return group == wire::kRootGroup ? 0 : index_of(group) + 1;
}

}  // namespace pangu::master
