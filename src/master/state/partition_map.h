#pragma once
#include <optional>

#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// Table A: where everything is. The root group's is the truth; the others keep copies, because they
// must know to whom a directory belongs whose parent goes.
namespace pangu::master {

// The number of the group that has this state.
u64 own_group(const record::Meta& meta);

// Without leaders. kNotFound: this group has none yet.
Result<pb::PartitionMap> partition_map(Txn& txn);
// The root group's: one version more. kInvalidArgument; kNotFound: no such group or master; kConflict:
// a master that still has members, or a cluster that was founded before; kAlreadyExists: the subtree.
// `add_subtree` only registers it: its directory, whose id is that of version 0, is made by whoever
// asked.
Result<pb::ChangeMapReply> change_map(Txn& txn, const ApplyContext& context,
                                      const pb::ChangeMapRequest& request);
// Takes a newer map over from the root.
Status update_map(Txn& txn, const pb::PartitionMap& map);

// The rows of table A for a map.
KvBatch partition_map_rows(const pb::PartitionMap& map);

// The namespace group that has the entries of `directory`; nothing if this group's map does not know
// its subtree.
std::optional<u64> group_of_directory(Txn& txn, u64 directory);

}  // namespace pangu::master
