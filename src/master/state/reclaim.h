#pragma once
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// What is removed from the namespace is freed afterwards, a bounded number of records a command:
// entries of removed directories, then chunks of removed files. Chunks leave as orders to their
// servers. A removed file has no Stream any more, so a late writer is answered NotFound from the
// commit of the removal on; file ids are never given out again.
namespace pangu::master {

// In the file's stream group, when a namespace group says that the file is removed. Idempotent, and
// for ever: no stream of it is made afterwards. Files of other groups are passed over.
void remove_file(Txn& txn, FileId file);
// Frees up to `budget` records of removed files; returns how many.
u32 reclaim_files(Txn& txn, u32 budget);
// Likewise for a directory. `request`: whose reply gets the counts when everything is freed.
void bury_directory(Txn& txn, u64 directory, const pb::RequestId& request);
// Frees up to `budget` records.
void reclaim(Txn& txn, u32 budget);

}  // namespace pangu::master
