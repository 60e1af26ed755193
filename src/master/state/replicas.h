#pragma once
#include <optional>

#include "base/result.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"

// Where the copies of settled chunks stand, and how they come and go (PROTOCOL 31). Chunks that are
// OPEN are never touched here: a takeover or their writer settles them first.
//
// Every change of a chunk's list raises its version, and an order to erase a replica names that
// version: a copy made later has a greater one, so no order hits it however late it comes.
namespace pangu::master {

// A settled chunk with what its file wants.
struct SettledChunk {
  record::Chunk chunk;
  u32 wanted = 0;  // copies
  bool in_tail = false;
};
// Nothing: the chunk is not SEALED, or its file is removed.
std::optional<SettledChunk> find_settled(Txn& txn, FileId file, u32 sequence);

// Conflict: the chunk is not SEALED, has another version, does not stand where the change says, would
// have two copies on one server, a copy on a place that is still being erased, or no good copy left.
// NotFound: no such file. InvalidArgument: the change contradicts itself.
Status change_replicas(Txn& txn, const record::ChangeReplicas& request);

// Marks of replicas that are not there, or of another version than the mark says, are passed over.
// A replica that is good after all gets an order to finalize, in case it was not done.
// InvalidArgument: more than kMarksMax.
Status mark_replicas(Txn& txn, const record::MarkReplicas& request);

// Whether what stands there is nobody's: its file is removed, or the chunk is settled elsewhere, or
// was dropped or given back. Never a chunk that is OPEN, could still be listed or created, or of a
// file that this group knows nothing of.
bool is_orphan(Txn& txn, const Location& location, const ChunkId& chunk);
// Orders to erase those that are orphans at this moment. InvalidArgument: more than kMarksMax.
Status erase_orphans(Txn& txn, const record::EraseOrphans& request);

}  // namespace pangu::master
