#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "env/env.h"
#include "wire/control.pb.h"
#include "wire/partition.h"

// What this process knows of the partition map: never older than what it knew before.
namespace pangu::master {

// The map of a new cluster: its groups, without members, and one subtree that all namespace groups
// share. A pure function: every first state of a group begins with it.
pb::PartitionMap founding_map(const Uuid& cluster, u32 namespace_groups, u32 stream_groups);

class ClusterMap {
 public:
  const pb::PartitionMap& get() const { return map_; }
  // Takes over a newer one; false: it is not newer.
  bool adopt(pb::PartitionMap map);

  const pb::GroupInfo* find(u64 group) const;
  std::optional<env::Address> address(u64 node) const;
  // Every namespace group, ascending.
  std::vector<u64> namespace_groups() const;
  // The group that has the entries of a directory.
  u64 group_of_directory(u64 directory) const;
  // The subtree whose root stands there, if one does.
  const pb::Subtree* subtree_at(u64 parent, std::string_view name) const;

 private:
  pb::PartitionMap map_;
};

}  // namespace pangu::master
