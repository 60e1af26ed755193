#include <algorithm>

#include "base/reached.h"
#include "chunk/store/ops.h"

// FENCE and CLOSE, the committed length, and WATCH.
namespace pangu::chunk {

Task<void> drain_appends(ChunkRef chunk) {
  while (chunk->live != nullptr && (!chunk->live->in_flight.empty() || chunk->live->writing > 0)) {
    co_await chunk->live->progress.wait();
  }
}

Task<Code> cut_failed_tail(Shard& shard, ChunkRef chunk) {
  if (chunk->live == nullptr || !chunk->live->failed) {
    co_return Code::kOk;
  }
  const u32 first = chunk->unit_count;
  const u32 end = chunk->live->dirty_tail_end;
  if (end > first) {
    REACHED("chunk: a failed append's tail was cut");
    const Code code =
        co_await zero_sectors(shard, chunk, chunk->header_sectors + first, end - first);
    if (code != Code::kOk) {
      co_return code;
    }
  }
  if (chunk->live != nullptr && chunk->live->writing == 0) {
    chunk->live->failed = false;
  }
  co_return Code::kOk;
}

bool may_add_tombstone(const Shard& shard, const ChunkId& id) {
  const bool may = shard.table.find_tombstone(id) != nullptr ||
                   !shard.metadata_full(Shard::Entry::tombstone);
  if (!may) {
    REACHED("chunk: no room for another tombstone");
  }
  return may;
}

Task<ChunkRef> find_settled(Shard& shard, ChunkId id) {
  Chunk* chunk = shard.table.find(id);
  while (chunk != nullptr && chunk->removing) {
    co_await shard.io_ended.wait();
    chunk = shard.table.find(id);
  }
  co_return ChunkRef(chunk);
}

// FENCE of a chunk that is not here.
Task<FenceOutcome> fence_absent(Shard& shard, ChunkId id, Epoch epoch) {
  FenceOutcome out;
  if (!may_add_tombstone(shard, id)) {
    out.code = Code::kNoSpace;
    co_return out;
  }
  Tombstone& tombstone = shard.table.tombstone(id);
  if (tombstone.fence > epoch) {
    out.code = Code::kFenced;
    out.fence = tombstone.fence;
    co_return out;
  }
  u64 lsn = tombstone.lsn;
  if (tombstone.fence < epoch || lsn == 0) {
    tombstone.fence = epoch;
    lsn = shard.log_tombstone(id);
  }
  out.fence = epoch;
  out.code = co_await shard.log.wait(lsn);
  co_return out;
}

namespace {

void describe(const Chunk& chunk, FenceOutcome& out) {
  out.exists = true;
  out.finalized = chunk.finalized;
  out.base = chunk.base;
  out.length = chunk.length;
  out.unit_count = chunk.unit_count;
  out.owner_epoch = chunk.owner_epoch;
  out.fence = chunk.fence;
  out.chunk_limit = chunk.limit;
  out.copies_max = chunk.copies_max;
  out.copies_min = chunk.copies_min;
  out.valid = chunk.damaged ? chunk.valid : chunk.length;
  out.committed = chunk.known_committed;
  if (chunk.open()) {
    out.history = chunk.live->history;
    out.committed = std::max(out.committed, chunk.live->committed);
  }
}

Task<FenceOutcome> fence_chunk(Shard& shard, ChunkRef chunk, Epoch epoch) {
  FenceOutcome out;
  // In memory first: no append of an older epoch is accepted from here on.
  chunk->fence = epoch;
  if (chunk->live != nullptr) {
    chunk->live->watchers.wake_all();
  }
  co_await drain_appends(chunk);
  out.code = co_await cut_failed_tail(shard, chunk);
  if (out.code == Code::kOk && !chunk->removing) {
    const u64 lsn = shard.log_chunk(*chunk);
    out.code = co_await shard.log.wait(lsn);
  }
  describe(*chunk, out);
  if (out.code != Code::kOk) {
    co_return out;
  }
  if (chunk->fence > epoch) {
    REACHED("chunk: a fence was overtaken by a later one");
    out.code = Code::kFenced;
  } else if (chunk->damaged) {
    out.code = Code::kCorrupt;
  }
  co_return out;
}

}  // namespace

Task<FenceOutcome> do_fence(Shard& shard, ChunkId id, Epoch epoch) {
  Stopwatch watch(shard.reactor);
  FenceOutcome out;
  ChunkRef chunk = co_await find_settled(shard, id);
  if (!chunk) {
    out = co_await fence_absent(shard, id, epoch);
  } else if (chunk->copying()) {
    REACHED("chunk: a fence met an unfinished copy");
    out.fence = chunk->fence;
    out.code = Code::kFenced;
  } else if (chunk->fence > epoch) {
    describe(*chunk, out);
    out.code = Code::kFenced;
  } else {
    out = co_await fence_chunk(shard, chunk, epoch);
    if (chunk->removing) {
      REACHED("chunk: a chunk was removed while it was being fenced");
      chunk = co_await find_settled(shard, id);
      out = co_await fence_absent(shard, id, epoch);
    }
  }
  out.timing.total_us = watch.total();
  co_return out;
}

namespace {

// CLOSE of a chunk that is not here. The owner's create may still be under way: it must find the
// door closed. Returns the lsn to wait for.
u64 close_absent(Shard& shard, ChunkId id, Epoch epoch, LengthOutcome& out) {
  if (shard.table.find_tombstone(id) == nullptr && shard.table.forgotten(id)) {
    return shard.forget_lsn;  // it does
  }
  if (!may_add_tombstone(shard, id)) {
    out.code = Code::kNoSpace;
    return 0;
  }
  Tombstone& tombstone = shard.table.tombstone(id);
  out.fence = tombstone.fence;
  if (epoch < tombstone.fence) {
    out.code = Code::kFenced;
    return 0;
  }
  if (!tombstone.closed || tombstone.lsn == 0) {
    tombstone.closed = true;
    return shard.log_tombstone(id);
  }
  return tombstone.lsn;
}

// Whether the owner's CLOSE may go on.
Code may_close(const Chunk& chunk, Epoch epoch) {
  if (epoch < chunk.fence) {
    return Code::kFenced;
  }
  return epoch == chunk.owner_epoch ? Code::kOk : Code::kStale;
}

}  // namespace

Task<LengthOutcome> do_close(Shard& shard, ChunkId id, Epoch epoch) {
  Stopwatch watch(shard.reactor);
  LengthOutcome out;
  ChunkRef chunk = co_await find_settled(shard, id);
  if (chunk) {
    out.code = may_close(*chunk, epoch);
    if (out.code == Code::kOk && !chunk->finalized) {
      chunk->closed = true;
      chunk->live->watchers.wake_all();
      co_await drain_appends(chunk);
    }
    if (chunk->removing) {
      REACHED("chunk: a chunk was removed while it was being closed");
      chunk = co_await find_settled(shard, id);
    }
  }
  u64 lsn = 0;
  if (!chunk) {
    out.code = Code::kOk;
    lsn = close_absent(shard, id, epoch, out);
  } else if (out.code == Code::kOk) {
    lsn = chunk->finalized ? chunk->lsn : shard.log_chunk(*chunk);
  }
  if (out.code == Code::kOk) {
    out.code = co_await shard.log.wait(lsn);
  }
  if (chunk) {
    out.length = chunk->length;
    out.fence = chunk->fence;
  }
  out.timing.total_us = watch.total();
  co_return out;
}

void do_set_committed(Shard& shard, ChunkId id, Epoch epoch, u64 committed) {
  Chunk* chunk = shard.table.find(id);
  if (chunk == nullptr || !chunk->open() || epoch != chunk->owner_epoch ||
      committed <= chunk->base) {
    return;
  }
  const auto relative = static_cast<u32>(std::min<u64>(committed - chunk->base, 0xfffffffe));
  if (relative > chunk->live->committed) {
    chunk->live->committed = relative;
    chunk->live->watchers.wake_all();
  }
}

Task<WatchOutcome> do_watch(Shard& shard, WatchArgs args) {
  WatchOutcome out;
  for (;;) {
    ChunkRef chunk(shard.table.find(args.chunk));
    if (shard.stopping) {
      out.code = Code::kClosed;
      co_return out;
    }
    if (!chunk || chunk->removing || chunk->copying()) {
      out.exists = false;
      out.fenced_or_closed = true;
      if (shard.table.find_tombstone(args.chunk) == nullptr && !chunk) {
        // Not created yet, perhaps: there is nobody to wake us.
        out.fenced_or_closed = false;
      }
      co_return out;
    }
    out.exists = true;
    out.finalized = chunk->finalized;
    out.base = chunk->base;
    out.length = chunk->length;
    out.fenced_or_closed = chunk->closed || chunk->fence > chunk->owner_epoch;
    u32 committed = chunk->length;
    if (chunk->open()) {
      Live& live = *chunk->live;
      const u64 known =
          args.known_committed > chunk->base ? args.known_committed - chunk->base : 0;
      if (known > live.committed && known <= chunk->length) {
        live.committed = static_cast<u32>(known);
      }
      committed = std::min(live.committed, chunk->length);
    }
    out.committed = chunk->base + committed;
    const bool news = out.committed > args.beyond || out.finalized || out.fenced_or_closed;
    if (news || shard.reactor.now() >= args.deadline) {
      co_return out;
    }
    co_await chunk->live->watchers.wait(args.deadline);
  }
}

}  // namespace pangu::chunk
