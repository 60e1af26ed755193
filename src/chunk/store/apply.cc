#include <fmt/format.h>

#include "chunk/format/index_image.h"
#include "chunk/store/load.h"

// What each record does to a shard that is being loaded.
namespace pangu::chunk {

namespace {

Error contradiction(const ChunkId& id, std::string_view what) {
  return Error(Code::kCorrupt, fmt::format("chunk {}: {}", to_string(id), what));
}

Status check_extents(const Shard& shard, const std::vector<Extent>& extents) {
  for (const Extent& extent : extents) {
    if (!extent_fits(extent, shard.layout.blocks)) {
      return Error(Code::kCorrupt, fmt::format("blocks {}+{} lie outside the device", extent.start,
                                               extent.count));
    }
  }
  return ok_status();
}

void no_longer_reserved(Shard& shard, const std::vector<Extent>& extents) {
  for (const Extent& extent : extents) {
    shard.blocks.reserved.clear(extent);
  }
}

void copy_fields(const ChunkRecord& from, Chunk& to) {
  to.base = from.base;
  to.owner_epoch = from.owner_epoch;
  to.fence = from.fence;
  to.limit = from.limit;
  to.length = from.length;
  to.unit_count = from.unit_count;
  to.version = from.version;
  to.finalized = from.finalized;
  to.closed = from.closed;
  to.reborn = from.reborn;
  to.regular = from.regular;
  to.headless = from.headless;
  to.damaged = from.damaged;
  to.valid = from.valid;
  to.known_committed = from.known_committed;
  to.copies_max = from.copies_max;
  to.copies_min = from.copies_min;
  to.header_sectors = from.header_sectors;
  to.index_sectors = from.index_sectors;
}

Status apply(Shard& shard, ChunkRecord record, u64 lsn) {
  TRY_VOID(check_extents(shard, record.extents));
  TRY_VOID(check_extents(shard, record.released));
  no_longer_reserved(shard, record.extents);
  no_longer_reserved(shard, record.released);
  const Tombstone* tombstone = shard.table.find_tombstone(record.chunk);
  if (tombstone != nullptr && tombstone->lsn >= lsn) {
    return ok_status();
  }
  Chunk* chunk = shard.table.find(record.chunk);
  if (chunk != nullptr && chunk->lsn >= lsn) {
    return ok_status();
  }
  std::vector<Extent> extents;
  if (chunk != nullptr) {
    extents = slice_extents(chunk->extents, 0, record.blocks_before);
  }
  if (count_blocks(extents) != record.blocks_before) {
    return contradiction(record.chunk, "a record continues blocks that are not known");
  }
  u64 count = record.blocks_before;
  for (const Extent& extent : record.extents) {
    append_extent(extents, extent);
    count += extent.count;
  }
  if (record.index_sectors > kIndexSectorsMax) {
    return contradiction(record.chunk, "its index is too large");
  }
  const u64 sectors = u64{record.header_sectors} + record.unit_count + record.index_sectors;
  if (count > shard.layout.blocks || record.length < record.unit_count ||
      record.length > u64{record.unit_count} * wire::kUnitDataMax ||
      (!record.headless && record.unit_count > 0 && sectors > count * shard.sectors_per_block())) {
    return contradiction(record.chunk, "a record contradicts itself");
  }
  if (chunk == nullptr) {
    chunk = &shard.table.insert(record.chunk);
  }
  copy_fields(record, *chunk);
  chunk->extents = std::move(extents);
  chunk->logged_blocks = static_cast<u32>(count);
  chunk->lsn = lsn;
  if (record.finalized) {
    chunk->live.reset();
  } else {
    chunk->live = std::make_unique<Live>(*chunk);
    chunk->live->history = std::move(record.history);
  }
  return ok_status();
}

Status apply(Shard& shard, const TombstoneRecord& record, u64 lsn) {
  TRY_VOID(check_extents(shard, record.released));
  no_longer_reserved(shard, record.released);
  if (Chunk* chunk = shard.table.find(record.chunk)) {
    if (chunk->lsn >= lsn) {
      return ok_status();
    }
    shard.table.erase(*chunk);
  }
  Tombstone& tombstone = shard.table.tombstone(record.chunk);
  if (tombstone.lsn <= lsn) {
    tombstone = {.fence = record.fence,
                 .deleted = record.deleted,
                 .closed = record.closed,
                 .lsn = lsn};
  }
  return ok_status();
}

Status apply(Shard& shard, const ReserveRecord& record, u64) {
  TRY_VOID(check_extents(shard, record.extents));
  for (const Extent& extent : record.extents) {
    shard.blocks.reserved.set(extent);
    shard.blocks.prewritten.set(extent);
  }
  shard.next_reservation = std::max(shard.next_reservation, record.sequence + 1);
  return ok_status();
}

Status apply(Shard& shard, const ReleaseRecord& record, u64) {
  TRY_VOID(check_extents(shard, record.extents));
  no_longer_reserved(shard, record.extents);
  return ok_status();
}

Status apply(Shard& shard, const PrewrittenRecord& record, u64) {
  TRY_VOID(check_extents(shard, record.extents));
  for (const Extent& extent : record.extents) {
    shard.blocks.prewritten.set(extent);
  }
  return ok_status();
}

Status apply(Shard& shard, const ForgetFilesRecord& record, u64) {
  shard.table.forget({.from = {.file = record.first}, .until = {.file = {record.last.number + 1}}});
  return ok_status();
}

Status apply(Shard& shard, const ForgetRecord& record, u64) {
  shard.table.forget({.from = record.from, .until = record.until});
  return ok_status();
}

}  // namespace

Status apply_record(Shard& shard, DecodedRecord decoded) {
  const u64 lsn = decoded.lsn;
  return std::visit(
      [&](auto&& record) { return apply(shard, std::forward<decltype(record)>(record), lsn); },
      std::move(decoded.record));
}

}  // namespace pangu::chunk
