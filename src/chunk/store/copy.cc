#include "base/reached.h"
#include "chunk/store/ops.h"

// The beginning of a copy (PROTOCOL 31). A tombstone with kCopyEpoch comes first, durably: whatever a
// crash leaves of the copy can then never pass for a replica, and its owner's creates and fences of
// takeovers are refused. Appends (append.cc) and FINALIZE do the rest.
namespace pangu::chunk {

Task<CopyStart> do_begin_copy(Shard& shard, ChunkId id) {
  CopyStart out;
  ChunkRef chunk = co_await find_settled(shard, id);
  if (!chunk) {
    const FenceOutcome fenced = co_await fence_absent(shard, id, kCopyEpoch);
    out.code = fenced.code;
    co_return out;
  }
  out.damaged = chunk->damaged;
  out.length = chunk->length;
  out.unit_count = chunk->unit_count;
  out.base = chunk->base;
  out.owner_epoch = chunk->owner_epoch;
  if (chunk->finalized) {
    out.code = Code::kSealed;
  } else if (!chunk->copying()) {
    out.code = Code::kAlreadyExists;
  } else {
    REACHED("chunk: a copy goes on where an earlier one ended");
    // Of the attempt before, nothing is under way any more.
    co_await drain_appends(chunk);
    out.code = co_await cut_failed_tail(shard, chunk);
    out.damaged = chunk->damaged;
    out.length = chunk->length;
    out.unit_count = chunk->unit_count;
  }
  co_return out;
}

}  // namespace pangu::chunk
