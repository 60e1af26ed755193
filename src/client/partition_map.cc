#include "client/partition_map.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"

namespace pangu::client {

namespace {

void add_unique(std::vector<env::Address>& out, const env::Address& address) {
  if (std::find(out.begin(), out.end(), address) == out.end()) {
    out.push_back(address);
  }
}

// One that does not parse is dropped: others may be good.
std::map<u64, env::Address> read_masters(const pb::PartitionMap& map) {
  std::map<u64, env::Address> out;
  for (const pb::MasterNode& master : map.masters()) {
    auto address = env::parse_address(master.address());
    if (address.ok() && address->port != 0) {
      out[master.node()] = *address;
    } else {
      LOG_WARN("the partition map gives master {} the address '{}'", master.node(),
               master.address());
    }
  }
  return out;
}

Status check_subtree(const pb::Subtree& subtree) {
  if (subtree.number() >= (u64{1} << (64 - wire::kHashBits)) || subtree.partitions().empty()) {
    return Error(Code::kBadFrame, fmt::format("the partition map has a subtree {} of {} partitions",
                                              subtree.number(), subtree.partitions_size()));
  }
  for (const u32 index : subtree.partitions()) {
    if (index >= wire::kPartitionsMax) {
      return Error(Code::kBadFrame, fmt::format("the partition map gives subtree {} a partition {}",
                                                subtree.number(), index));
    }
  }
  return ok_status();
}

}  // namespace

PartitionMap::PartitionMap(std::vector<env::Address> seeds)
    : seeds_(std::move(seeds)), masters_(seeds_) {
  CHECK(!seeds_.empty());
}

Status PartitionMap::learn(const pb::PartitionMap& map) {
  if (known_ && map.version() < version_) {
    return ok_status();
  }
  bool has_root = false;
  for (const pb::Subtree& subtree : map.subtrees()) {
    TRY_VOID(check_subtree(subtree));
    has_root = has_root || subtree.number() == 0;
  }
  if (!has_root) {
    return Error(Code::kBadFrame, "the partition map does not say where the root directory is");
  }
  const std::map<u64, env::Address> nodes = read_masters(map);
  masters_.clear();
  for (const auto& [node, address] : nodes) {
    add_unique(masters_, address);
  }
  for (const env::Address& seed : seeds_) {
    add_unique(masters_, seed);
  }
  groups_.clear();
  for (const pb::GroupInfo& info : map.groups()) {
    Group& group = groups_[info.group()];
    for (const u64 node : info.nodes()) {
      if (const auto found = nodes.find(node); found != nodes.end()) {
        add_unique(group.members, found->second);
      }
    }
    if (const auto found = nodes.find(info.leader()); found != nodes.end()) {
      group.leader = found->second;
    }
  }
  partitions_.clear();
  roots_.clear();
  for (const pb::Subtree& subtree : map.subtrees()) {
    partitions_[subtree.number()].assign(subtree.partitions().begin(), subtree.partitions().end());
    if (subtree.number() != 0) {
      roots_[Place{subtree.parent(), subtree.name()}] = subtree.directory();
    }
  }
  version_ = map.version();
  known_ = true;
  return ok_status();
}

std::optional<u64> PartitionMap::group_of_directory(u64 directory) const {
  const auto found = partitions_.find(wire::subtree_of(directory));
  if (found == partitions_.end()) {
    return std::nullopt;
  }
  const std::vector<u32>& partitions = found->second;
  const u32 slot = wire::directory_slot(directory, static_cast<u32>(partitions.size()));
  return wire::kFirstNamespaceGroup + partitions[slot];
}

u64 PartitionMap::guess_child(u64 parent, std::string_view name) const {
  const auto root = roots_.find(Place{parent, std::string(name)});
  return root != roots_.end()
             ? root->second
             : wire::directory_id(wire::subtree_of(parent), parent, name, 0);
}

const std::vector<env::Address>& PartitionMap::members(u64 group) const {
  const auto found = groups_.find(group);
  return found == groups_.end() || found->second.members.empty() ? masters_
                                                                 : found->second.members;
}

std::optional<env::Address> PartitionMap::leader(u64 group) const {
  const auto found = groups_.find(group);
  return found == groups_.end() ? std::nullopt : found->second.leader;
}

}  // namespace pangu::client
