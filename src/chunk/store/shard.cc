#include "chunk/store/shard.h"

#include <algorithm>

#include "base/reached.h"

namespace pangu::chunk {

namespace {
// Memory of all tails together.
constexpr u64 kTailBytesMax = 4 * kMiB;
constexpr u64 kRecordBytes = 136;  // a chunk record with one extent, rounded up
}  // namespace

Shard::Shard(Reactor& on, env::File& medium, Buffers& memory, const StoreOptions& how,
             const Superblock& head)
    : reactor(on),
      file(medium),
      buffers(memory),
      options(how),
      superblock(head),
      layout(layout_of(head, how.shard)),
      identity{.cluster = head.cluster,
               .server = head.server,
               .device = head.device,
               .capacity = head.capacity,
               .shards = head.shards,
               .unit_bytes = head.block_bytes,
               .version = kFormatVersion},
      writer(medium, how.writes_are_durable, counters),
      log(writer, layout, head.device, how.shard, counters),
      blocks(layout.blocks),
      changes(hash64(on.env().random()) >> 2),
      room(*this),
      checkpointer(*this) {}

u32 Shard::used_blocks(const Chunk& chunk) const {
  if (chunk.headless || chunk.lost_units()) {
    return chunk.block_count();
  }
  u64 sectors = u64{chunk.sectors_used()} + chunk.index_sectors;
  if (chunk.live != nullptr && chunk.live->dirty_tail_end > 0) {
    sectors = std::max<u64>(sectors, u64{chunk.header_sectors} + chunk.live->dirty_tail_end);
  }
  return std::min(blocks_for(sectors), chunk.block_count());
}

std::vector<Shard::Piece> Shard::pieces_of(const Chunk& chunk, u32 first_sector, u32 count) const {
  std::vector<Piece> out;
  const u32 per_block = sectors_per_block();
  u64 at = 0;  // sector ordinal at which the extent begins
  for (const Extent& extent : chunk.extents) {
    const u64 end = at + u64{extent.count} * per_block;
    const u64 from = std::max<u64>(first_sector, at);
    const u64 to = std::min<u64>(u64{first_sector} + count, end);
    if (from < to) {
      out.push_back({layout.offset_of(extent.start) + (from - at) * kSectorBytes,
                     (to - from) * kSectorBytes});
    }
    at = end;
  }
  return out;
}

ChunkRecord record_of(const Shard& shard, const Chunk& chunk) {
  ChunkRecord record{.chunk = chunk.id,
                     .base = chunk.base,
                     .owner_epoch = chunk.owner_epoch,
                     .fence = chunk.fence,
                     .limit = chunk.limit,
                     .length = chunk.length,
                     .unit_count = chunk.unit_count,
                     .version = chunk.version,
                     .finalized = chunk.finalized,
                     .closed = chunk.closed,
                     .reborn = chunk.reborn,
                     .regular = chunk.regular,
                     .headless = chunk.headless,
                     .damaged = chunk.damaged,
                     .known_committed = chunk.known_committed,
                     .valid = chunk.valid,
                     .copies_max = chunk.copies_max,
                     .copies_min = chunk.copies_min,
                     .header_sectors = chunk.header_sectors,
                     .index_sectors = chunk.index_sectors,
                     .history = {},
                     .extents = {},
                     .released = {}};
  if (chunk.live != nullptr && !chunk.finalized) {
    record.history = chunk.live->history;
  }
  record.extents = slice_extents(chunk.extents, 0, shard.used_blocks(chunk));
  return record;
}

u64 Shard::log_chunk(Chunk& chunk, std::vector<Extent> released) {
  // A record behind the tombstone would bring the chunk back.
  CHECK(table.find(chunk.id) == &chunk);
  ChunkRecord record = record_of(*this, chunk);
  const u32 used = used_blocks(chunk);
  record.blocks_before = std::min(chunk.logged_blocks, used);
  record.extents = slice_extents(chunk.extents, record.blocks_before, used);
  record.released = std::move(released);
  for (const Extent& extent : record.extents) {
    blocks.reserved.clear(extent);
  }
  for (const Extent& extent : record.released) {
    blocks.reserved.clear(extent);
  }
  chunk.logged_blocks = used;
  chunk.lsn = log.append(std::move(record));
  return chunk.lsn;
}

void Shard::mark_unlogged(Chunk& chunk) {
  if (!chunk.unlogged) {
    chunk.unlogged = true;
    unlogged.emplace_back(&chunk);
  }
}

void Shard::log_unlogged() {
  for (const ChunkRef& chunk : unlogged) {
    chunk->unlogged = false;
    if (!chunk->removing && used_blocks(*chunk) > chunk->logged_blocks) {
      log_chunk(*chunk);
    }
  }
  unlogged.clear();
}

u64 Shard::log_tombstone(const ChunkId& id, std::vector<Extent> released) {
  Tombstone& tombstone = table.tombstone(id);
  for (const Extent& extent : released) {
    blocks.reserved.clear(extent);
  }
  tombstone.lsn = log.append(TombstoneRecord{.chunk = id,
                                             .fence = tombstone.fence,
                                             .deleted = tombstone.deleted,
                                             .closed = tombstone.closed,
                                             .released = std::move(released)});
  return tombstone.lsn;
}

void Shard::return_spare(Chunk& chunk) {
  const u32 used = used_blocks(chunk);
  const u32 all = chunk.block_count();
  if (used < all) {
    room.give_back(slice_extents(chunk.extents, used, all));
    chunk.extents = slice_extents(chunk.extents, 0, used);
  }
}

// Without what only a checkpoint tells: chunks in many pieces, and the extents of the block map.
u64 Shard::estimate_checkpoint() const {
  return table.chunks() * kRecordBytes + table.tombstones().size() * kTombstoneBytes +
         table.forgotten_ranges().size() * kForgetBytes + history_bytes;
}

bool Shard::metadata_full(Entry entry) const {
  // In hundredths of a slot. What creates leave is for takeovers, what those leave for fences, closes
  // and deletes of chunks that are not here; the rest for what gathers until the next checkpoint.
  u64 share = 80;
  switch (entry) {
    case Entry::chunk:
      break;
    case Entry::recovered_chunk:
      share = 85;
      break;
    case Entry::tombstone:
      share = 90;
      break;
  }
  return estimate_checkpoint() + checkpoint_extra > layout.slot_bytes / 100 * share;
}

void Shard::note_checkpoint_bytes(u64 bytes) {
  const u64 expected = estimate_checkpoint();
  checkpoint_extra = bytes > expected ? bytes - expected : 0;
}

void Shard::keep_tail(Live& live, u32 unit, u32 offset, const Slice& units) {
  if (options.tail_bytes_max == 0 || buffers.pressed()) {
    drop_tail(live);
    trim_tails();
    return;
  }
  const u64 held = units.block()->capacity;
  live.tail.push_back({unit, offset, units});
  live.tail_bytes += held;
  tail_bytes += held;
  while (live.tail_bytes > options.tail_bytes_max && live.tail.size() > 1) {
    const u64 oldest = live.tail.front().units.block()->capacity;
    live.tail_bytes -= oldest;
    tail_bytes -= oldest;
    live.tail.pop_front();
  }
  live.unlink();
  open_chunks.push_back(live);
  trim_tails();
}

void Shard::drop_tail(Live& live) {
  live.tail.clear();
  tail_bytes -= live.tail_bytes;
  live.tail_bytes = 0;
}

void Shard::trim_tails() {
  const u64 goal = buffers.pressed() ? 0 : kTailBytesMax;
  for (Live* live = open_chunks.front(); live != nullptr && tail_bytes > goal;
       live = open_chunks.next(*live)) {
    drop_tail(*live);
  }
}

void Shard::close_live(Chunk& chunk) {
  Live& live = *chunk.live;
  CHECK(chunk.finalized && live.in_flight.empty() && live.writing == 0);
  CHECK(!live.progress.has_waiters() && !live.watchers.has_waiters());
  drop_tail(live);
  history_bytes -= live.history_bytes();
  live.unlink();
  chunk.live.reset();
}

void Shard::keep_index(Chunk& chunk, ChunkIndex index) {
  drop_index(chunk);
  chunk.index = std::make_unique<CachedIndex>();
  chunk.index->chunk = &chunk;
  chunk.index->index = std::move(index);
  indexes.push_back(*chunk.index);
  index_bytes += chunk.index->index.memory_bytes();
  while (index_bytes > options.index_bytes_max && indexes.front() != nullptr) {
    REACHED("chunk: an index was dropped for memory");
    drop_index(*indexes.front()->chunk);
  }
}

void Shard::drop_index(Chunk& chunk) {
  if (chunk.index != nullptr) {
    index_bytes -= chunk.index->index.memory_bytes();
    chunk.index.reset();
  }
}

ChunkInfo info_of(const Shard& shard, const Chunk& chunk) {
  ChunkInfo info{.chunk = chunk.id,
                 .exists = true,
                 .finalized = chunk.finalized,
                 .closed = chunk.closed,
                 .copying = chunk.copying(),
                 .damaged = chunk.damaged,
                 .base = chunk.base,
                 .owner_epoch = chunk.owner_epoch,
                 .fence = chunk.fence,
                 .length = chunk.length,
                 .accepted = chunk.length,
                 .committed = chunk.finalized ? chunk.length : 0,
                 .valid = chunk.damaged ? chunk.valid : chunk.length,
                 .unit_count = chunk.unit_count,
                 .chunk_limit = chunk.limit,
                 .version = chunk.version,
                 .copies_max = chunk.copies_max,
                 .copies_min = chunk.copies_min,
                 .allocated_bytes = u64{chunk.block_count()} * shard.layout.block_bytes};
  if (chunk.open()) {
    info.accepted = chunk.live->accepted;
    info.committed = std::min(chunk.live->committed, chunk.length);
  }
  return info;
}

}  // namespace pangu::chunk
