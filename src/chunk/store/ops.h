#pragma once
#include "chunk/store/shard.h"

// The operations of the store, each in a file of its own. They are tasks of Shard::operations: the
// shard outlives them.
namespace pangu::chunk {

Task<AppendOutcome> do_append(Shard& shard, AppendArgs args, Slice run);
Task<ReadOutcome> do_read(Shard& shard, ReadArgs args);
Task<FenceOutcome> do_fence(Shard& shard, ChunkId id, Epoch epoch);
Task<LengthOutcome> do_finalize(Shard& shard, ChunkId id, u32 length, u32 version);
Task<LengthOutcome> do_close(Shard& shard, ChunkId id, Epoch epoch);
Task<LengthOutcome> do_remove(Shard& shard, ChunkId id, u32 version);
Task<CopyStart> do_begin_copy(Shard& shard, ChunkId id);
void do_set_committed(Shard& shard, ChunkId id, Epoch epoch, u64 committed);
Task<WatchOutcome> do_watch(Shard& shard, WatchArgs args);
Task<Result<ChunkStore::Checked>> do_verify(Shard& shard, ChunkRef chunk, u32 first,
                                            u32 units_max);
Task<Status> do_forget(Shard& shard, std::vector<ChunkRange> ranges);

// The rest is for the operations themselves.

// Where the unit that holds payload `offset` stands. REQUIRES: offset < chunk->length; its I/O is
// counted (begin_io). Corrupt, IoError, Busy.
struct UnitPlace {
  u32 unit = 0;
  u32 start = 0;
  bool exact = true;   // false: this one or one of the next 15
  bool certain = true; // false: an index on the medium says so; check before trusting it
};
Task<Result<UnitPlace>> locate(Shard& shard, ChunkRef chunk, u32 offset);
// Without any index, by the footers.
Task<Result<UnitPlace>> search_footers(Shard& shard, ChunkRef chunk, u32 offset);
// Reads `count` sectors of the chunk into `into`. kOk, kIoError.
Task<Code> read_sectors(Shard& shard, ChunkRef chunk, u32 first_sector, u32 count,
                        MutableBytes into);
// Writes zeroes over them, durably.
Task<Code> zero_sectors(Shard& shard, ChunkRef chunk, u32 first_sector, u32 count);
Task<Code> zero_blocks(Shard& shard, std::vector<Extent> blocks);

// Returns when no append of the chunk is in flight. New ones are the caller's to refuse.
Task<void> drain_appends(ChunkRef chunk);
// After drain_appends: clears what a failed append may have left behind the durable end.
Task<Code> cut_failed_tail(Shard& shard, ChunkRef chunk);
// The chunk with this id, when no removal of it is going on any more; or nothing.
Task<ChunkRef> find_settled(Shard& shard, ChunkId id);
// False: a checkpoint has no room for a tombstone of a chunk that is not here and has none.
bool may_add_tombstone(const Shard& shard, const ChunkId& id);
// FENCE of a chunk that is not here.
Task<FenceOutcome> fence_absent(Shard& shard, ChunkId id, Epoch epoch);
// Remembers that a unit of the chunk is bad, `valid` being where the good payload ends.
void mark_damaged(Shard& shard, Chunk& chunk, u32 valid);
// In the background, after FINALIZE: writes the index behind the last unit.
Task<void> write_index(Shard& shard, ChunkRef chunk, ChunkIndex index);

// Measures the parts of an operation.
class Stopwatch {
 public:
  explicit Stopwatch(Reactor& reactor) : reactor_(reactor), start_(reactor.now()), last_(start_) {}
  // Microseconds since the last lap.
  u32 lap() {
    const Instant now = reactor_.now();
    const auto us = static_cast<u32>((now - last_).us());
    last_ = now;
    return us;
  }
  u32 total() const { return static_cast<u32>((reactor_.now() - start_).us()); }

 private:
  Reactor& reactor_;
  Instant start_;
  Instant last_;
};

}  // namespace pangu::chunk
