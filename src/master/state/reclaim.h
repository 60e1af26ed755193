#pragma once
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// What is removed from the namespace is freed afterwards, a bounded number of records a command:
// entries of removed directories, then chunks of removed files. Chunks leave as orders to their
// servers. A removed file has no Stream any more, so a late writer is answered NotFound from the
// commit of the removal on; file ids are never given out again.
namespace pangu::master {

// REQUIRES: the entry of `file` is erased by the caller.
void bury_file(Txn& txn, FileId file);
// Likewise for a directory. `request`: whose reply gets the counts when everything is freed.
void bury_directory(Txn& txn, u64 directory, const pb::RequestId& request);
// Frees up to `budget` records.
void reclaim(Txn& txn, u32 budget);

// Orders for every replica of a chunk; an order to erase replaces one to finalize.
void order_erase(Txn& txn, FileId file, const record::Chunk& chunk);
void order_finalize(Txn& txn, FileId file, const record::Chunk& chunk);

}  // namespace pangu::master
