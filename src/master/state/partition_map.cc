#include "master/state/partition_map.h"

#include <algorithm>
#include <fmt/core.h>
#include <set>

#include "base/reached.h"
#include "master/state/limits.h"
#include "wire/partition.h"
#include "wire/path.h"

namespace pangu::master {
namespace {

pb::GroupInfo* find_group(pb::PartitionMap& map, u64 group) {
  for (pb::GroupInfo& each : *map.mutable_groups()) {
    if (each.group() == group) {
      return &each;
    }
  }
  return nullptr;
}

pb::MasterNode* find_master(pb::PartitionMap& map, u64 node) {
  for (pb::MasterNode& each : *map.mutable_masters()) {
    if (each.node() == node) {
      return &each;
    }
  }
  return nullptr;
}

Status add_master(pb::PartitionMap& map, const pb::MasterNode& master) {
  if (master.node() == 0 || master.address().empty() ||
      master.address().size() > kAddressBytesMax) {
    return Error(Code::kInvalidArgument, "a master has a node number and an address");
  }
  if (pb::MasterNode* known = find_master(map, master.node())) {
    known->set_address(master.address());
    return ok_status();
  }
  if (map.masters_size() >= kMastersMax) {
    return Error(Code::kInvalidArgument, fmt::format("there are {} masters already", kMastersMax));
  }
  *map.add_masters() = master;
  std::sort(map.mutable_masters()->begin(), map.mutable_masters()->end(),
            [](const auto& a, const auto& b) { return a.node() < b.node(); });
  return ok_status();
}

Status remove_master(pb::PartitionMap& map, u64 node) {
  if (find_master(map, node) == nullptr) {
    return Error(Code::kNotFound, fmt::format("no master has node number {}", node));
  }
  for (const pb::GroupInfo& group : map.groups()) {
    if (std::find(group.nodes().begin(), group.nodes().end(), node) != group.nodes().end()) {
      return Error(Code::kConflict,
                   fmt::format("master {} has a member of group {}: move it away first", node,
                               group.group()));
    }
  }
  auto& masters = *map.mutable_masters();
  masters.erase(std::remove_if(masters.begin(), masters.end(),
                               [node](const auto& each) { return each.node() == node; }),
                masters.end());
  return ok_status();
}

Status set_members(pb::PartitionMap& map, const pb::GroupInfo& wanted) {
  pb::GroupInfo* const group = find_group(map, wanted.group());
  if (group == nullptr) {
    return Error(Code::kNotFound, fmt::format("there is no group {}", wanted.group()));
  }
  std::set<u64> nodes;
  for (const u64 node : wanted.nodes()) {
    if (find_master(map, node) == nullptr) {
      return Error(Code::kNotFound, fmt::format("no master has node number {}", node));
    }
    nodes.insert(node);
  }
  if (nodes.empty()) {
    return Error(Code::kInvalidArgument, "a group has at least one member");
  }
  group->mutable_nodes()->Assign(nodes.begin(), nodes.end());
  return ok_status();
}

Status add_subtree(pb::PartitionMap& map, pb::Subtree subtree) {
  if (subtree.number() == 0 || subtree.number() >= wire::kPartitionsMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a subtree has a number from 1 to {}", wire::kPartitionsMax - 1));
  }
  TRY_VOID(wire::check_name(subtree.name()));
  const bool known =
      std::any_of(map.subtrees().begin(), map.subtrees().end(),
                  [&](const pb::Subtree& each) { return each.number() == subtree.number(); });
  if (known) {
    return Error(Code::kAlreadyExists, fmt::format("there is a subtree {}", subtree.number()));
  }
  std::set<u32> partitions;
  for (const u32 index : subtree.partitions()) {
    if (find_group(map, wire::kFirstNamespaceGroup + index) == nullptr ||
        !partitions.insert(index).second) {
      return Error(Code::kInvalidArgument,
                   fmt::format("namespace group {} is not there, or named twice", index));
    }
  }
  if (partitions.empty() || subtree.parent() == 0) {
    return Error(Code::kInvalidArgument, "a subtree has partitions and a parent");
  }
  // No other directory can have the subtree's number in its id yet: version 0 is free.
  subtree.set_directory(wire::directory_id(subtree.number(), subtree.parent(), subtree.name(), 0));
  *map.add_subtrees() = std::move(subtree);
  std::sort(map.mutable_subtrees()->begin(), map.mutable_subtrees()->end(),
            [](const auto& a, const auto& b) { return a.number() < b.number(); });
  return ok_status();
}

// A new cluster's first leader, or a restored one's, tells who the masters are and where the groups
// began.
Status found(pb::PartitionMap& map, const pb::PartitionMap& founders) {
  if (!map.masters().empty()) {
    return Error(Code::kConflict, "the cluster's first partition map was written before");
  }
  for (const pb::MasterNode& master : founders.masters()) {
    TRY_VOID(add_master(map, master));
  }
  for (const pb::GroupInfo& group : founders.groups()) {
    if (!group.nodes().empty()) {
      TRY_VOID(set_members(map, group));
    }
  }
  return ok_status();
}

void store(Txn& txn, const pb::PartitionMap& map) {
  for (auto& [key, value] : partition_map_rows(map)) {
    txn.put(key, std::move(*value));
  }
  txn.meta().set_map_version(map.version());
}

}  // namespace

KvBatch partition_map_rows(const pb::PartitionMap& map) {
  pb::PartitionMap kept = map;
  for (pb::GroupInfo& group : *kept.mutable_groups()) {
    group.clear_leader();
  }
  record::Map record;
  record.set_map(kept.SerializeAsString());
  KvBatch rows;
  rows.emplace(keys::partition_map(), record.SerializeAsString());
  for (const pb::Subtree& subtree : kept.subtrees()) {
    std::string partitions;
    for (const u32 index : subtree.partitions()) {
      partitions += keys::encode_u32(index);
    }
    rows.emplace(keys::subtree(subtree.number()), std::move(partitions));
  }
  return rows;
}

u64 own_group(const record::Meta& meta) {
  switch (static_cast<pb::GroupKind>(meta.kind())) {
    case pb::GROUP_NAMESPACE:
      return wire::kFirstNamespaceGroup + meta.index();
    case pb::GROUP_STREAM:
      return wire::kFirstStreamGroup + meta.index();
    default:
      return wire::kRootGroup;
  }
}

Result<pb::PartitionMap> partition_map(Txn& txn) {
  record::Map record;
  if (!txn.get(keys::partition_map(), record)) {
    return Error(Code::kNotFound, "this group has no partition map");
  }
  pb::PartitionMap map;
  if (!map.ParseFromString(record.map())) {
    return Error(Code::kCorrupt, "the record of the partition map does not parse");
  }
  return map;
}

Result<pb::ChangeMapReply> change_map(Txn& txn, const ApplyContext&,
                                      const pb::ChangeMapRequest& request) {
  TRY(map, partition_map(txn));
  if (request.has_found()) {
    TRY_VOID(found(map, request.found()));
  }
  if (request.has_add_master()) {
    TRY_VOID(add_master(map, request.add_master()));
  }
  if (request.has_set_members()) {
    TRY_VOID(set_members(map, request.set_members()));
  }
  if (request.remove_master() != 0) {
    TRY_VOID(remove_master(map, request.remove_master()));
  }
  if (request.has_add_subtree()) {
    TRY_VOID(add_subtree(map, request.add_subtree()));
  }
  map.set_version(map.version() + 1);
  store(txn, map);
  pb::ChangeMapReply reply;
  *reply.mutable_map() = std::move(map);
  return reply;
}

Status update_map(Txn& txn, const pb::PartitionMap& map) {
  const auto known = partition_map(txn);
  if (known.ok() && known->version() >= map.version()) {
    REACHED("master: an old partition map came");
    return ok_status();
  }
  if (!known.ok() && known.code() != Code::kNotFound) {
    return known.error();
  }
  store(txn, map);
  return ok_status();
}

std::optional<u64> group_of_directory(Txn& txn, u64 directory) {
  const auto partitions = txn.get(keys::subtree(wire::subtree_of(directory)));
  if (!partitions || partitions->size() < sizeof(u32)) {
    return std::nullopt;
  }
  const auto count = static_cast<u32>(partitions->size() / sizeof(u32));
  const size_t at = wire::directory_slot(directory, count) * sizeof(u32);
  return wire::kFirstNamespaceGroup +
         keys::decode_u32(std::string_view(*partitions).substr(at, sizeof(u32)));
}

}  // namespace pangu::master
