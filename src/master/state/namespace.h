#pragma once
#include <optional>
#include <span>

#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// The namespace of one group: directories, and entries keyed by (directory, name). Paths are the
// client's business; a request brings directory ids, the chain of them from the root, and the tree
// epoch `seen` at which that was the way (docs/design/0006-partitions.md).
//
// Errors of all functions that return one:
//   kBusy             something that is needed is locked by a transaction: wait for it, ask again
//   kStale            a directory of the chain was moved after `seen`, or is not there any more
//   kInvalidArgument  a name, a chain or an option that cannot be
// An error of a function that takes an ApplyContext means that what it did to the Txn must be rolled
// back.
namespace pangu::master {

// Answers for all places, of one moment. A directory that is not there is an answer, not an error.
Result<pb::LookupReply> lookup(Txn& txn, const pb::LookupRequest& request);
// A page may be shorter than its limit; `more` says whether names follow.
Result<pb::ListReply> list(Txn& txn, const pb::ListRequest& request);

// AlreadyExists if exclusive and there; IsDirectory if a directory has the name.
Result<pb::CreateFileReply> create_file(Txn& txn, const ApplyContext& context,
                                        const pb::CreateFileRequest& request);

// Without a look at locks: whoever makes the steps of a transaction from what these say has every
// condition checked again when it is applied.
std::optional<record::Entry> find_entry(Txn& txn, u64 directory, std::string_view name);
std::optional<record::Directory> find_directory(Txn& txn, u64 id);
bool directory_exists(Txn& txn, u64 id);
// A directory has the id, is about to get it, or is still being freed.
bool directory_id_taken(Txn& txn, u64 id);

// Ok if `chain` was the way to its last directory at tree epoch `seen` and still is, as far as this
// group knows; and the last one is there, if it is one of this group's. kBusy: a directory of it is
// prepared to be moved, or the last one to be made or removed.
Status check_way(Txn& txn, std::span<const u64> chain, u64 seen);
inline Status check_way(Txn& txn, const google::protobuf::RepeatedField<u64>& chain, u64 seen) {
  return check_way(txn, std::span(chain.data(), static_cast<size_t>(chain.size())), seen);
}

// The entry as clients see it.
void describe_entry(pb::Entry& out, std::string_view name, const record::Entry& entry);

}  // namespace pangu::master
