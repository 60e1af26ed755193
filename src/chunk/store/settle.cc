#include <algorithm>

#include "base/reached.h"
#include "chunk/store/ops.h"
#include "runtime/await.h"

// FINALIZE and DELETE: the end of a chunk's growth, and of the chunk.
namespace pangu::chunk {

namespace {

// Every unit but the last is full.
bool is_regular(const ChunkIndex& index) {
  if (index.first_unit() != 0 || !index.exact()) {
    return false;
  }
  const IndexImage image = index.to_image({});
  if (image.patterns.size() != 1) {
    return image.patterns.empty();
  }
  const Pattern& only = image.patterns.front();
  return only.partial == 0 || only.units == u32{only.full} + 1;
}

// Units that hold the first `length` bytes.
Task<Result<u32>> units_below(Shard& shard, ChunkRef chunk, u32 length) {
  if (length == chunk->length) {
    co_return chunk->unit_count;
  }
  if (length == 0) {
    co_return 0u;
  }
  shard.begin_io(*chunk);
  auto place = co_await locate(shard, chunk, length - 1);
  if (place.ok() && !place->exact) {
    place = co_await search_footers(shard, chunk, length - 1);
  }
  shard.end_io(*chunk);
  if (!place.ok()) {
    co_return std::move(place).error();
  }
  co_return place->unit + 1;
}

// Makes the decision in memory and in the log's queue. Returns the blocks that held more than what
// was decided, to be freed when the log record is durable.
std::vector<Extent> decide_length(Shard& shard, Chunk& chunk, u32 length, u32 unit_count,
                                  u32 version, ChunkIndex& index) {
  shard.return_spare(chunk);
  if (chunk.copying() || chunk.damaged) {
    shard.changes.note(chunk.id);
  }
  const u32 before = chunk.block_count();
  Live& live = *chunk.live;
  if (length < chunk.length) {
    REACHED("chunk: a decided length cut a chunk");
    live.index.truncate(unit_count, length);
  }
  index = std::move(live.index);
  chunk.length = length;
  chunk.unit_count = unit_count;
  chunk.version = version;
  chunk.finalized = true;
  chunk.regular = is_regular(index);
  chunk.damaged = chunk.damaged && chunk.valid < length;
  if (!chunk.damaged) {
    chunk.valid = length;
    chunk.known_committed = 0;
  }
  const u32 after = shard.used_blocks(chunk);
  std::vector<Extent> released = slice_extents(chunk.extents, after, before);
  chunk.extents = slice_extents(chunk.extents, 0, after);
  live.progress.wake_all();
  live.watchers.wake_all();
  shard.close_live(chunk);
  shard.log_chunk(chunk, released);
  return released;
}

Task<Code> finalize_open(Shard& shard, ChunkRef chunk, u32 length, u32 version) {
  chunk->live->final_pending = true;
  co_await drain_appends(chunk);
  Code code = Code::kOk;
  u32 unit_count = 0;
  if (chunk->removing) {
    code = Code::kShort;
  } else if (chunk->damaged && chunk->valid < length) {
    code = Code::kCorrupt;
  } else if (chunk->length < length) {
    code = Code::kShort;
  } else {
    const auto units = co_await units_below(shard, chunk, length);
    code = units.code();
    unit_count = units.ok() ? *units : 0;
    // Nobody may be reading what is cut off now.
    while (code == Code::kOk && length < chunk->length && chunk->io > 0 && !chunk->removing) {
      co_await shard.io_ended.wait();
    }
    code = chunk->removing ? Code::kShort : code;
  }
  if (code != Code::kOk) {
    if (chunk->live != nullptr) {
      chunk->live->final_pending = false;
      chunk->live->progress.wake_all();
    }
    co_return code;
  }
  ChunkIndex index;
  const std::vector<Extent> released =
      decide_length(shard, *chunk, length, unit_count, version, index);
  code = co_await shard.log.wait(chunk->lsn);
  if (code == Code::kOk) {
    shard.room.free(released);
    if (!chunk->regular && length > 0) {
      shard.background.spawn(shard.reactor, "chunk index", TaskClass::background,
                             write_index(shard, chunk, std::move(index)));
    }
  }
  co_return code;
}

}  // namespace

Task<LengthOutcome> do_finalize(Shard& shard, ChunkId id, u32 length, u32 version) {
  Stopwatch watch(shard.reactor);
  LengthOutcome out;
  ChunkRef chunk = co_await find_settled(shard, id);
  while (chunk && chunk->open() && chunk->live->final_pending) {
    REACHED("chunk: two finalizes met");
    co_await chunk->live->progress.wait();
    chunk = co_await find_settled(shard, id);
  }
  if (!chunk) {
    out.code = length == 0 ? Code::kOk : Code::kShort;
  } else if (chunk->finalized) {
    out.code = length == chunk->length ? Code::kOk : Code::kConflict;
    if (out.code == Code::kOk && version > chunk->version && !chunk->removing) {
      REACHED("chunk: a finalized chunk got a later version");
      chunk->version = version;  // orders to delete an earlier one are void from now on
      shard.log_chunk(*chunk);
    }
    if (out.code == Code::kOk) {
      out.code = co_await shard.log.wait(chunk->lsn);
    }
  } else {
    out.code = co_await finalize_open(shard, chunk, length, version);
  }
  if (out.code == Code::kOk) {
    out.length = length;  // also if it is being deleted by now
  } else if (chunk && !chunk->removing) {
    out.length = chunk->length;
  }
  out.timing.total_us = watch.total();
  co_return out;
}

namespace {

// Nothing reads or writes the chunk any more, and nobody new will.
Task<void> drain_all(Shard& shard, ChunkRef chunk) {
  if (chunk->live != nullptr) {
    chunk->live->progress.wake_all();
    chunk->live->watchers.wake_all();
  }
  shard.io_ended.wake_all();
  co_await drain_appends(chunk);
  while (chunk->io > 0) {
    co_await shard.io_ended.wait();
  }
}

// The chunk leaves memory and becomes a tombstone, with a record of it in the log's queue.
void bury(Shard& shard, Chunk& chunk, std::vector<Extent>& freed) {
  if (!chunk.finalized) {
    shard.return_spare(chunk);
  }
  freed = chunk.extents;
  const Epoch fence = std::max(chunk.fence, chunk.owner_epoch);
  const ChunkId id = chunk.id;
  shard.drop_index(chunk);
  if (chunk.live != nullptr) {
    shard.drop_tail(*chunk.live);
    shard.history_bytes -= chunk.live->history_bytes();
    chunk.live->progress.wake_all();
    chunk.live->watchers.wake_all();
    chunk.live.reset();
  }
  chunk.finalized = true;  // whoever still holds it finds it closed
  chunk.extents.clear();
  shard.table.erase(chunk);
  shard.changes.note(id);
  shard.table.tombstone(id) = {.fence = fence, .deleted = true};
  shard.log_tombstone(id, freed);
}

// A chunk that had been forgotten while it was here needs none once the log says that it is gone.
void drop_needless_tombstone(Shard& shard, const ChunkId& id, u64 lsn) {
  const Tombstone* tombstone = shard.table.find_tombstone(id);
  if (tombstone != nullptr && tombstone->lsn == lsn && shard.table.forgotten(id) &&
      !shard.checkpointer.writing()) {
    REACHED("chunk: a forgotten chunk was removed");
    shard.table.erase_tombstone(id);
  }
}

}  // namespace

Task<LengthOutcome> do_remove(Shard& shard, ChunkId id, u32 version) {
  Stopwatch watch(shard.reactor);
  LengthOutcome out;
  ChunkRef chunk = co_await find_settled(shard, id);
  std::vector<Extent> freed;
  if (chunk && version != 0 && chunk->finalized && chunk->version > version) {
    REACHED("chunk: an order to delete met a later copy");
    co_return out;
  }
  if (chunk) {
    chunk->removing = true;
    co_await drain_all(shard, chunk);
    bury(shard, *chunk, freed);
    shard.io_ended.wake_all();
  } else if (shard.table.find_tombstone(id) == nullptr && shard.table.forgotten(id)) {
    // Its owner's creates are refused for ever without one.
    out.code = co_await shard.log.wait(shard.forget_lsn);
    co_return out;
  } else if (!may_add_tombstone(shard, id)) {
    out.code = Code::kNoSpace;
    co_return out;
  } else if (Tombstone& tombstone = shard.table.tombstone(id);
             !tombstone.deleted || tombstone.lsn == 0) {
    tombstone.deleted = true;
    shard.log_tombstone(id);
  }
  const Tombstone* tombstone = shard.table.find_tombstone(id);
  const u64 lsn = tombstone != nullptr ? tombstone->lsn : 0;
  out.code = co_await shard.log.wait(lsn);
  if (out.code == Code::kOk) {
    shard.room.free(freed);
    drop_needless_tombstone(shard, id, lsn);
  }
  out.timing.total_us = watch.total();
  co_return out;
}

Task<Status> do_forget(Shard& shard, std::vector<ChunkRange> ranges) {
  while (shard.checkpointer.writing()) {
    REACHED("chunk: forgetting waits for a checkpoint");
    co_await shard.checkpointer.ended().wait();
  }
  for (const ChunkRange& range : ranges) {
    if (shard.table.worth_forgetting(range)) {
      shard.table.forget(range);
      shard.forget_lsn = shard.log.append(ForgetRecord{.from = range.from, .until = range.until});
    }
  }
  const Code code = co_await shard.log.wait(shard.forget_lsn);
  co_return Status(code);
}

namespace {

// The index of a chunk whose beginning recovery did not read.
Task<bool> rebuild_index(Shard& shard, ChunkRef chunk, ChunkIndex& index) {
  index = ChunkIndex();
  for (u32 unit = 0; unit < chunk->unit_count;) {
    const u32 count = std::min(chunk->unit_count - unit, wire::kRunUnitsMax);
    const Slice units = shard.buffers.take(size_t{count} * kSectorBytes);
    if (units.empty() || chunk->removing || shard.stopping) {
      co_return false;
    }
    const Code code = co_await read_sectors(shard, chunk, chunk->header_sectors + unit, count,
                                            units.mutable_bytes());
    if (code != Code::kOk) {
      co_return false;
    }
    for (u32 i = 0; i < count; ++i) {
      const std::byte* at = units.data() + size_t{i} * kSectorBytes;
      if (wire::check_unit(chunk->id, unit + i, at) != wire::UnitFault::ok) {
        mark_damaged(shard, *chunk, index.offset_end());
        co_return false;
      }
      index.add(wire::footer_of(at).data_len);
      co_await yield_if_expired();
    }
    unit += count;
  }
  co_return true;
}

// Room for the index behind the last unit; false if there is none.
bool extend_for_index(Shard& shard, Chunk& chunk, u32 sectors) {
  const u64 needed = u64{chunk.header_sectors} + chunk.unit_count + sectors;
  const u32 blocks = shard.blocks_for(needed);
  const u32 have = chunk.block_count();
  return blocks <= have || shard.room.extend(chunk.extents, blocks - have, blocks - have);
}

}  // namespace

Task<void> write_index(Shard& shard, ChunkRef chunk, ChunkIndex index) {
  shard.begin_io(*chunk);
  bool usable = !chunk->removing;
  if (usable && index.first_unit() != 0) {
    usable = co_await rebuild_index(shard, chunk, index);
    chunk->regular = usable && is_regular(index);
  }
  usable = usable && !chunk->removing && index.unit_end() == chunk->unit_count;
  if (usable && !chunk->regular) {
    IndexImage image = index.to_image(chunk->id);
    const u32 count = index_sectors_for(image);
    if (count <= kIndexSectorsMax && extend_for_index(shard, *chunk, count)) {
      const Slice sectors = shard.scratch.take(size_t{count} * kSectorBytes);
      encode_index(image, sectors.data());
      const auto pieces =
          shard.pieces_of(*chunk, chunk->header_sectors + chunk->unit_count, count);
      Bytes rest = sectors.bytes();
      Code code = Code::kOk;
      for (const Shard::Piece& piece : pieces) {
        const Bytes part = rest.first(piece.bytes);
        if (code == Code::kOk) {
          code = co_await shard.writer.write_durable(piece.offset, part, -1);
        }
        rest = rest.subspan(piece.bytes);
      }
      if (code == Code::kOk) {
        chunk->index_sectors = static_cast<u16>(count);
      }
      shard.keep_index(*chunk, std::move(index));
    }
  }
  if (usable && !chunk->removing && !shard.writer.failed()) {
    shard.log_chunk(*chunk);
  }
  shard.end_io(*chunk);
}

}  // namespace pangu::chunk
