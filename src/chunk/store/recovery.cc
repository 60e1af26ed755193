#include "chunk/store/recovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "chunk/store/device_read.h"
#include "runtime/await.h"

namespace pangu::chunk {

Task<Status> Recovery::look() {
  CO_TRY_VOID(mark_used());
  for (const Extent& extent : shard_.blocks.reserved.extents()) {
    for (u32 number = extent.start; number < extent.end(); ++number) {
      CO_TRY_VOID(co_await look_at_block(number));
    }
  }
  create_found_chunks();
  drop_remains();
  attach_growth();
  find_headless();
  for (size_t slot = 0; slot < shard_.table.slots(); ++slot) {
    Chunk* chunk = shard_.table.at_slot(slot);
    if (chunk != nullptr && chunk->open() && !chunk->headless) {
      co_await scan_chunk(ChunkRef(chunk));
    }
  }
  forget_stale_units();
  sort_out_blocks();
  co_return ok_status();
}

// Blocks of chunks are used and not free for anything else; each has one owner.
Status Recovery::mark_used() {
  for (size_t slot = 0; slot < shard_.table.slots(); ++slot) {
    const Chunk* chunk = shard_.table.at_slot(slot);
    if (chunk == nullptr) {
      continue;
    }
    for (const Extent& extent : chunk->extents) {
      if (shard_.blocks.used.test_any(extent)) {
        return Error(Code::kCorrupt, fmt::format("chunk {} shares a block with another one",
                                                 to_string(chunk->id)));
      }
      shard_.blocks.used.set(extent);
      // A checkpoint that was written while the chunk grew has them as both.
      shard_.blocks.reserved.clear(extent);
    }
  }
  return ok_status();
}

void Recovery::see_unit(Block& block, u32 sector, const std::byte* bytes) {
  const wire::UnitFooter footer = wire::footer_of(bytes);
  if (footer.magic != wire::kUnitMagic) {
    return;
  }
  const ChunkId id = wire::chunk_of(footer);
  if (wire::check_unit(id, footer.unit_index, bytes) == wire::UnitFault::ok) {
    block.seen.push_back({.chunk = id,
                          .epoch = {footer.epoch},
                          .sector = sector,
                          .unit_index = footer.unit_index,
                          .committed = footer.end_offset - footer.committed_lag});
  }
}

// Whether units of this chunk in a prepared block can be more than remains of the past.
bool Recovery::may_be_owned(const ChunkId& id) const {
  if (const Chunk* chunk = shard_.table.find(id)) {
    return chunk->open() && !chunk->headless;
  }
  const Tombstone* tombstone = shard_.table.find_tombstone(id);
  if (tombstone != nullptr) {
    return !tombstone->deleted;
  }
  return !shard_.table.forgotten(id);
}

// Forgets the units of chunks that are sealed or were deleted. What a reborn chunk says is left to
// its own blocks: others may hold units of its earlier life.
void Recovery::drop_remains() {
  for (Block& block : blocks_) {
    std::erase_if(block.seen, [&](const Seen& seen) { return !may_be_owned(seen.chunk); });
    for (const Seen& seen : block.seen) {
      const Chunk* chunk = shard_.table.find(seen.chunk);
      if (chunk == nullptr || !chunk->reborn) {
        u32& committed = committed_[seen.chunk];
        committed = std::max(committed, seen.committed);
      }
    }
  }
}

Task<Status> Recovery::look_at_block(u32 number) {
  Block block{.number = number};
  const Slice first = Slice::allocate(kHeaderSectorsMax * kSectorBytes);
  SectorReader reader(shard_.file, shard_.scratch);
  reader.start(shard_.layout.offset_of(number), shard_.layout.block_bytes);
  for (u32 sector = 0; sector < shard_.sectors_per_block(); ++sector) {
    const Bytes bytes = co_await reader.next();
    ++shard_.report.units_scanned;
    if (sector < kHeaderSectorsMax && !bytes.empty()) {
      std::memcpy(first.data() + size_t{sector} * kSectorBytes, bytes.data(), kSectorBytes);
    }
    if (sector + 1 == kHeaderSectorsMax) {
      auto header = decode_header(first.data(), kHeaderSectorsMax);
      if (header && header->device == shard_.device() && header->shard == shard_.options.shard &&
          header->block == number) {
        block.header = std::move(header);
      }
      const auto reserved = decode_reserved(first.data());
      block.reserved = reserved && reserved->device == shard_.device() &&
                       reserved->shard == shard_.options.shard && reserved->block == number;
      for (u32 i = 0; i < kHeaderSectorsMax; ++i) {
        see_unit(block, i, first.data() + size_t{i} * kSectorBytes);
      }
    } else if (sector >= kHeaderSectorsMax && !bytes.empty()) {
      see_unit(block, sector, bytes.data());
    }
    block.unreadable = block.unreadable || (sector == 0 && bytes.empty());
    co_await yield_if_expired();
  }
  block_index_[number] = blocks_.size();
  blocks_.push_back(std::move(block));
  co_return ok_status();
}

// Creates that no log record tells of: their header stands in a prepared block.
void Recovery::create_found_chunks() {
  for (Block& block : blocks_) {
    if (!block.header || shard_.table.find(block.header->chunk) != nullptr) {
      continue;
    }
    REACHED("chunk: recovery found a chunk by its header alone");
    const ChunkHeader& header = *block.header;
    const Tombstone* tombstone = shard_.table.find_tombstone(header.chunk);
    const Tombstone before = tombstone != nullptr ? *tombstone : Tombstone{};
    Chunk& chunk = shard_.table.insert(header.chunk);
    chunk.base = header.base;
    chunk.owner_epoch = header.owner_epoch;
    chunk.fence = std::max(header.owner_epoch, before.fence);
    chunk.closed = before.closed;
    chunk.limit = header.limit;
    chunk.copies_max = header.copies_max;
    chunk.copies_min = header.copies_min;
    chunk.reborn = header.reborn;
    chunk.header_sectors = static_cast<u8>(header_sectors_for(header.history.size()));
    chunk.extents = {{block.number, 1}};
    chunk.live = std::make_unique<Live>(chunk);
    chunk.live->history = header.history;
    // Later than the tombstone's, and earlier than any record to come.
    chunk.lsn = before.lsn;
    block.owned = true;
    ++shard_.report.chunks_adopted;
  }
}

// Growth that no log record tells of: the units in a prepared block say where in the chunk it is.
void Recovery::attach_growth() {
  std::map<std::pair<ChunkId, u32>, u32> places;  // (chunk, ordinal) -> block
  for (const Block& block : blocks_) {
    if (block.owned || block.seen.empty()) {
      continue;
    }
    const Seen& seen = block.seen.front();
    const Chunk* chunk = shard_.table.find(seen.chunk);
    // A reborn chunk's blocks were cleared before use: one that is its own begins with its unit.
    if (chunk == nullptr || !chunk->open() || (chunk->reborn && seen.sector != 0)) {
      continue;
    }
    const u64 sector = u64{chunk->header_sectors} + seen.unit_index;
    if (sector % shard_.sectors_per_block() == seen.sector) {
      const auto ordinal = static_cast<u32>(sector / shard_.sectors_per_block());
      places.emplace(std::pair(seen.chunk, ordinal), block.number);
    }
  }
  // In order of chunk and ordinal: a chunk grows block by block.
  for (const auto& [place, number] : places) {
    Chunk& chunk = *shard_.table.find(place.first);
    if (chunk.block_count() != place.second) {
      continue;
    }
    REACHED("chunk: recovery found growth by the units alone");
    append_extent(chunk.extents, {number, 1});
    blocks_[block_index_[number]].owned = true;
  }
}

// A block whose first sector is damaged, with units that say that bytes of them were committed: a
// chunk that may have been acknowledged, without its header.
void Recovery::find_headless() {
  for (Block& block : blocks_) {
    if (block.owned || block.reserved || block.header || block.seen.empty()) {
      continue;
    }
    const ChunkId id = block.seen.front().chunk;
    const u32 committed = committed_[id];
    const bool first_block = block.seen.front().unit_index < shard_.sectors_per_block();
    const Tombstone* tombstone = shard_.table.find_tombstone(id);
    const Epoch fence = tombstone != nullptr ? tombstone->fence : Epoch{};
    // Of a copy that had just begun nothing counts yet.
    if (shard_.table.find(id) != nullptr || committed == 0 || !first_block || fence == kCopyEpoch) {
      continue;
    }
    REACHED("chunk: recovery found a chunk whose header is lost");
    LOG_ERROR("device {}: the header of chunk {} is damaged", to_string(shard_.device()),
              to_string(id));
    Chunk& chunk = shard_.table.insert(id);
    chunk.owner_epoch = block.seen.front().epoch;
    chunk.fence = std::max(chunk.owner_epoch, fence);
    chunk.headless = true;
    chunk.damaged = true;
    chunk.known_committed = committed;
    chunk.extents = {{block.number, 1}};
    chunk.live = std::make_unique<Live>(chunk);
    block.owned = true;
  }
}

// Where an open chunk ends.
Task<void> Recovery::scan_chunk(ChunkRef chunk) {
  Live& live = *chunk->live;
  const u32 first = chunk->unit_count;
  const u64 sectors = u64{chunk->block_count()} * shard_.sectors_per_block();
  live.index = ChunkIndex(first, chunk->length);
  u32 known = std::max(committed_[chunk->id], chunk->known_committed);
  bool ended = false;
  bool unreadable = false;
  u32 unit = first;
  std::vector<u64> behind;
  const auto count = static_cast<u32>(
      sectors > chunk->header_sectors + u64{first} ? sectors - chunk->header_sectors - first : 0);
  const auto pieces = shard_.pieces_of(*chunk, chunk->header_sectors + first, count);
  SectorReader reader(shard_.file, shard_.scratch);
  for (const Shard::Piece& piece : pieces) {
    reader.start(piece.offset, piece.bytes);
    while (!reader.at_end()) {
      const u64 offset = reader.position();
      const Bytes bytes = co_await reader.next();
      ++shard_.report.units_scanned;
      const bool mine = !bytes.empty() &&
                        wire::check_unit(chunk->id, unit, bytes.data()) == wire::UnitFault::ok;
      unreadable = unreadable || (bytes.empty() && !ended);
      ended = ended || !mine;
      if (mine) {
        const wire::UnitFooter footer = wire::footer_of(bytes.data());
        known = std::max(known, footer.end_offset - footer.committed_lag);
        ended = ended || footer.epoch != chunk->owner_epoch.number ||
                footer.end_offset != live.index.offset_end() + footer.data_len ||
                footer.end_offset > chunk->limit;
        if (ended) {
          behind.push_back(offset);
        } else {
          live.index.add(footer.data_len);
        }
      }
      ++unit;
      co_await yield_if_expired();
    }
  }
  chunk->length = live.index.offset_end();
  chunk->unit_count = live.index.unit_end();
  chunk->valid = chunk->length;
  live.accepted = chunk->length;
  live.accepted_units = chunk->unit_count;
  live.committed = known;
  // The units of a copy say what was committed elsewhere: it ends where they end.
  if ((known > chunk->length || unreadable) && !chunk->copying()) {
    REACHED("chunk: recovery found a bad unit below what is committed");
    LOG_ERROR("device {}: chunk {} is good up to {}, but {} bytes of it are known to be committed",
              to_string(shard_.device()), to_string(chunk->id), chunk->length, known);
    chunk->damaged = true;
    chunk->known_committed = known;
  } else if (!behind.empty()) {
    REACHED("chunk: recovery cut units behind a torn tail");
    stale_.insert(stale_.end(), behind.begin(), behind.end());
  }
  detach_unused(*chunk);
}

// Blocks behind the last unit are not the chunk's.
void Recovery::detach_unused(Chunk& chunk) {
  const u32 all = chunk.block_count();
  const u32 used = std::max(shard_.used_blocks(chunk), all > 0 ? 1u : 0u);
  for (const Extent& extent : slice_extents(chunk.extents, used, all)) {
    for (u32 number = extent.start; number < extent.end(); ++number) {
      const auto found = block_index_.find(number);
      if (found != block_index_.end()) {
        blocks_[found->second].owned = false;
      } else {
        shard_.blocks.used.clear({number, 1});  // the log gave it to the chunk: free now
      }
    }
  }
  chunk.extents = slice_extents(chunk.extents, 0, used);
}

// Units of open or unknown chunks in blocks that stay or become nobody's.
void Recovery::forget_stale_units() {
  for (const Block& block : blocks_) {
    if (block.owned) {
      continue;
    }
    for (const Seen& seen : block.seen) {
      stale_.push_back(shard_.layout.offset_of(block.number) + u64{seen.sector} * kSectorBytes);
    }
    if (block.header) {
      stale_.push_back(shard_.layout.offset_of(block.number));
    }
  }
  std::sort(stale_.begin(), stale_.end());
  stale_.erase(std::unique(stale_.begin(), stale_.end()), stale_.end());
}

void Recovery::sort_out_blocks() {
  std::vector<Extent> pool;
  for (const Block& block : blocks_) {
    const Extent extent{block.number, 1};
    if (block.unreadable) {
      shard_.blocks.used.set(extent);  // left alone until the next open
      continue;
    }
    if (block.owned || !block.reserved) {
      shard_.blocks.reserved.clear(extent);
    }
    if (block.owned || block.reserved) {
      shard_.blocks.used.set(extent);
    }
    if (!block.owned && block.reserved) {
      append_extent(pool, extent);
    }
  }
  shard_.room.give_back(pool);
  for (size_t slot = 0; slot < shard_.table.slots(); ++slot) {
    Chunk* chunk = shard_.table.at_slot(slot);
    if (chunk == nullptr) {
      continue;
    }
    chunk->logged_blocks = shard_.used_blocks(*chunk);
    ++shard_.report.chunks;
    shard_.report.chunks_damaged += chunk->damaged ? 1 : 0;
    if (chunk->open()) {
      ++shard_.report.open_chunks;
      shard_.history_bytes += chunk->live->history_bytes();
      shard_.open_chunks.push_back(*chunk->live);
    }
  }
  shard_.report.tombstones = shard_.table.tombstones().size();
  shard_.report.units_cut = stale_.size();
}

Error Recovery::write_error(Code code, std::string_view doing) const {
  const std::string& reason = shard_.writer.reason();
  return Error(code, reason.empty() ? std::string(doing) : fmt::format("{}: {}", doing, reason));
}

Task<Status> Recovery::write_zeroes() {
  constexpr u64 kPiece = 256 * kKiB;
  const Slice zero = shard_.scratch.take(kPiece);
  std::memset(zero.data(), 0, kPiece);
  for (size_t i = 0; i < stale_.size();) {
    u64 size = kSectorBytes;
    size_t next = i + 1;
    while (next < stale_.size() && stale_[next] == stale_[i] + size && size < kPiece) {
      size += kSectorBytes;
      ++next;
    }
    const Code code = co_await shard_.writer.write_plain(stale_[i], zero.bytes().first(size));
    if (code != Code::kOk) {
      co_return write_error(code, "clearing what a crash left behind");
    }
    i = next;
  }
  co_return ok_status();
}

Task<Status> Recovery::settle(const Loaded& loaded) {
  CO_TRY_VOID(co_await write_zeroes());
  // What was read may still sit in a volatile cache, from before a crash of this process alone.
  const Code synced = co_await shard_.writer.sync();
  if (synced != Code::kOk) {
    co_return write_error(synced, "flushing the device before the first answer");
  }
  shard_.log.start(loaded.log_end, loaded.next_lsn, loaded.used_position);
  shard_.checkpointer.start(loaded.newest_number, loaded.used_slot, loaded.used_position);
  const Code written = co_await shard_.checkpointer.write();
  if (written != Code::kOk) {
    co_return write_error(written, "writing a checkpoint");
  }
  co_return ok_status();
}

}  // namespace pangu::chunk
