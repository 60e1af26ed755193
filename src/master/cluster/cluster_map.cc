#include "master/cluster/cluster_map.h"

#include "wire/proto.h"

namespace pangu::master {
namespace {

void add_groups(pb::PartitionMap& map, pb::GroupKind kind, u64 first, u32 count) {
  for (u32 index = 0; index < count; ++index) {
    pb::GroupInfo& group = *map.add_groups();
    group.set_group(first + index);
    group.set_kind(kind);
    group.set_index(index);
  }
}

}  // namespace

pb::PartitionMap founding_map(const Uuid& cluster, u32 namespace_groups, u32 stream_groups) {
  pb::PartitionMap map;
  map.set_version(1);
  wire::set(*map.mutable_cluster(), cluster);
  add_groups(map, pb::GROUP_ROOT, wire::kRootGroup, 1);
  add_groups(map, pb::GROUP_NAMESPACE, wire::kFirstNamespaceGroup, namespace_groups);
  add_groups(map, pb::GROUP_STREAM, wire::kFirstStreamGroup, stream_groups);
  pb::Subtree& everything = *map.add_subtrees();
  everything.set_directory(wire::kRootDirectory);
  for (u32 index = 0; index < namespace_groups; ++index) {
    everything.add_partitions(index);
  }
  return map;
}

bool ClusterMap::adopt(pb::PartitionMap map) {
  if (map.version() <= map_.version() || map.subtrees().empty()) {
    return false;
  }
  map_ = std::move(map);
  return true;
}

const pb::GroupInfo* ClusterMap::find(u64 group) const {
  for (const pb::GroupInfo& info : map_.groups()) {
    if (info.group() == group) {
      return &info;
    }
  }
  return nullptr;
}

std::optional<env::Address> ClusterMap::address(u64 node) const {
  for (const pb::MasterNode& master : map_.masters()) {
    if (master.node() == node) {
      auto address = env::parse_address(master.address());
      return address.ok() ? std::optional(*address) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::vector<u64> ClusterMap::namespace_groups() const {
  std::vector<u64> out;
  for (const pb::GroupInfo& info : map_.groups()) {
    if (info.kind() == pb::GROUP_NAMESPACE) {
      out.push_back(info.group());
    }
  }
  return out;
}

u64 ClusterMap::group_of_directory(u64 directory) const {
  const u32 number = wire::subtree_of(directory);
  const pb::Subtree* chosen = nullptr;
  for (const pb::Subtree& subtree : map_.subtrees()) {
    if (subtree.number() == number || chosen == nullptr) {
      chosen = &subtree;  // an unknown number: anybody will say that there is no such directory
    }
    if (subtree.number() == number) {
      break;
    }
  }
  if (chosen == nullptr || chosen->partitions().empty()) {
    return wire::kFirstNamespaceGroup;
  }
  const u32 slot = wire::directory_slot(directory, static_cast<u32>(chosen->partitions_size()));
  return wire::kFirstNamespaceGroup + chosen->partitions(static_cast<int>(slot));
}

const pb::Subtree* ClusterMap::subtree_at(u64 parent, std::string_view name) const {
  for (const pb::Subtree& subtree : map_.subtrees()) {
    if (subtree.number() != 0 && subtree.parent() == parent && subtree.name() == name) {
      return &subtree;
    }
  }
  return nullptr;
}

}  // namespace pangu::master
