#pragma once
#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// The namespace: directories, and entries keyed by (directory, name). The functions that take an
// ApplyContext change it; an error means that whatever they did to the Txn must be rolled back.
//
// Errors of all of them: InvalidArgument (the path breaks a rule, options out of range), NotFound (a
// part of the path is missing), NotDirectory (a part that is not the last is a file).
namespace pangu::master {

Result<pb::LookupReply> lookup(Txn& txn, const pb::LookupRequest& request);
// A page may be shorter than its limit; `more` says whether names follow.
Result<pb::ListReply> list(Txn& txn, const pb::ListRequest& request);

// AlreadyExists if exclusive and there; IsDirectory if a directory has the name.
Result<pb::CreateFileReply> create_file(Txn& txn, const ApplyContext& context,
                                        const pb::CreateFileRequest& request);
// AlreadyExists: a file has the name, or a directory and not `parents`.
Result<pb::MakeDirectoryReply> make_directory(Txn& txn, const ApplyContext& context,
                                              const pb::MakeDirectoryRequest& request);
// AlreadyExists: `to` is there. A directory cannot move into itself or below.
Result<pb::RenameReply> rename(Txn& txn, const ApplyContext& context,
                               const pb::RenameRequest& request);

// What a removal leaves to do: the entries of a directory are freed later (state/reclaim.h).
struct Removal {
  pb::RemoveReply reply;  // final unless `purge` is set
  u64 purge = 0;
};
// NotEmpty unless recursive. A recursive removal takes the whole tree out of the namespace at once.
Result<Removal> remove(Txn& txn, const ApplyContext& context, const pb::RemoveRequest& request);

// The id of the directory made as `name` in `parent`; `version` counts the makings that found lower
// ones taken.
u64 directory_id(u64 parent, std::string_view name, u64 version);

}  // namespace pangu::master
