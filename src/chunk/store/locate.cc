#include <algorithm>

#include "base/reached.h"
#include "chunk/store/device_read.h"
#include "chunk/store/ops.h"
#include "runtime/await.h"

// From a payload offset to the unit that holds it, and the plain reading and clearing of sectors.
namespace pangu::chunk {

Task<Code> read_sectors(Shard& shard, ChunkRef chunk, u32 first_sector, u32 count,
                        MutableBytes into) {
  const auto pieces = shard.pieces_of(*chunk, first_sector, count);
  for (const Shard::Piece& piece : pieces) {
    ++shard.counters.device_reads;
    shard.counters.device_read_bytes += piece.bytes;
    const MutableBytes part = into.first(piece.bytes);
    const Status status = co_await read_exactly(shard.file, piece.offset, part);
    if (!status.ok()) {
      ++shard.counters.io_errors;
      co_return Code::kIoError;
    }
    into = into.subspan(piece.bytes);
  }
  // A chunk always has the blocks that its units need; but the medium may have said otherwise.
  co_return into.empty() ? Code::kOk : Code::kIoError;
}

namespace {
constexpr u64 kZeroBytes = 256 * kKiB;

Task<Code> zero_pieces(Shard& shard, std::vector<Shard::Piece> pieces) {
  const Slice zero = shard.scratch.take(kZeroBytes);
  std::memset(zero.data(), 0, kZeroBytes);
  for (const Shard::Piece& piece : pieces) {
    for (u64 done = 0; done < piece.bytes; done += kZeroBytes) {
      const Bytes part = zero.bytes().first(std::min(kZeroBytes, piece.bytes - done));
      const Code code = co_await shard.writer.write_plain(piece.offset + done, part);
      if (code != Code::kOk) {
        co_return code;
      }
      shard.counters.zero_bytes_written += part.size();
    }
  }
  const Code code = co_await shard.writer.sync();
  co_return code;
}
}  // namespace

Task<Code> zero_sectors(Shard& shard, ChunkRef chunk, u32 first_sector, u32 count) {
  auto pieces = shard.pieces_of(*chunk, first_sector, count);
  const Code code = co_await zero_pieces(shard, std::move(pieces));
  co_return code;
}

// All but the first sectors: these say that the blocks are prepared.
Task<Code> zero_blocks(Shard& shard, std::vector<Extent> blocks) {
  std::vector<Shard::Piece> pieces;
  for (const Extent& extent : blocks) {
    for (u32 block = extent.start; block < extent.end(); ++block) {
      pieces.push_back({shard.layout.offset_of(block) + kSectorBytes,
                        shard.layout.block_bytes - kSectorBytes});
    }
  }
  const Code code = co_await zero_pieces(shard, std::move(pieces));
  co_return code;
}

namespace {

// One unit's place, read from its footer.
struct Probe {
  Code code = Code::kOk;
  u32 start = 0;
  u32 end = 0;
};

Task<Probe> probe_unit(Shard& shard, ChunkRef chunk, u32 unit, Slice sector) {
  Probe probe;
  probe.code = co_await read_sectors(shard, chunk, chunk->header_sectors + unit, 1,
                                     sector.mutable_bytes());
  if (probe.code != Code::kOk) {
    co_return probe;
  }
  if (wire::check_unit(chunk->id, unit, sector.data()) != wire::UnitFault::ok) {
    probe.code = Code::kCorrupt;
    co_return probe;
  }
  const wire::UnitFooter footer = wire::footer_of(sector.data());
  probe.start = footer.end_offset - footer.data_len;
  probe.end = footer.end_offset;
  co_return probe;
}

// The stretch of units in which the search still looks, and the payload offsets of its ends.
struct Range {
  u32 low = 0;
  u32 low_offset = 0;
  u32 high = 0;  // behind the last
  u32 high_offset = 0;
};

u32 guess(const Range& range, u32 offset, u32 step) {
  const u32 units = range.high - range.low;
  // A few steps by proportion, then by halves: units of very different sizes must not make it slow.
  if (step >= 6 || range.high_offset <= range.low_offset) {
    return range.low + units / 2;
  }
  const u64 into = u64{offset - range.low_offset} * units / (range.high_offset - range.low_offset);
  return range.low + static_cast<u32>(std::min<u64>(into, units - 1));
}

}  // namespace

Task<Result<UnitPlace>> search_footers(Shard& shard, ChunkRef chunk, u32 offset) {
  REACHED("chunk: a unit was found by searching footers");
  ++shard.counters.index_searches;
  const Slice sector = shard.scratch.take(kSectorBytes);
  Range range{.high = chunk->unit_count, .high_offset = chunk->length};
  u32 bad_in_a_row = 0;
  for (u32 step = 0; range.low < range.high && step < 128; ++step) {
    u32 unit = guess(range, offset, step);
    if (bad_in_a_row > 0) {
      // Step around damage: one behind, else one in front of it.
      const u32 next = unit + bad_in_a_row;
      unit = next < range.high ? next : range.high - 1 - std::min(bad_in_a_row, range.high - 1);
      unit = std::max(unit, range.low);
    }
    const Probe probe = co_await probe_unit(shard, chunk, unit, sector);
    if (probe.code == Code::kIoError || (probe.code == Code::kCorrupt && ++bad_in_a_row > 8)) {
      co_return Error(probe.code);
    }
    if (probe.code == Code::kCorrupt) {
      continue;
    }
    bad_in_a_row = 0;
    if (offset < probe.start) {
      range.high = unit;
      range.high_offset = probe.start;
    } else if (offset >= probe.end) {
      range.low = unit + 1;
      range.low_offset = probe.end;
    } else {
      co_return UnitPlace{.unit = unit, .start = probe.start};
    }
  }
  co_return Error(Code::kCorrupt, "no unit holds that offset");
}

namespace {

std::optional<UnitPlace> look_up(const ChunkIndex& index, u32 offset, bool certain) {
  const auto hit = index.find(offset);
  if (!hit) {
    return std::nullopt;
  }
  return UnitPlace{.unit = hit->unit, .start = hit->start, .exact = hit->exact, .certain = certain};
}

// Reads the index behind a sealed chunk's last unit into memory.
Task<void> load_index(Shard& shard, ChunkRef chunk) {
  const u32 count = chunk->index_sectors;
  const Slice sectors = shard.scratch.take(size_t{count} * kSectorBytes);
  const Code code = co_await read_sectors(shard, chunk, chunk->header_sectors + chunk->unit_count,
                                          count, sectors.mutable_bytes());
  if (code != Code::kOk || chunk->index != nullptr) {
    co_return;
  }
  const auto image = decode_index(chunk->id, sectors.data(), count);
  if (!image || image->unit_count != chunk->unit_count || image->length < chunk->length) {
    REACHED("chunk: a sealed chunk's index is damaged");
    co_return;
  }
  auto index = ChunkIndex::from_image(*image);
  if (index) {
    shard.keep_index(*chunk, std::move(*index));
  }
}

}  // namespace

Task<Result<UnitPlace>> locate(Shard& shard, ChunkRef chunk, u32 offset) {
  if (chunk->finalized && chunk->regular) {
    const u32 unit = offset / wire::kUnitDataMax;
    co_return UnitPlace{.unit = unit, .start = unit * wire::kUnitDataMax, .certain = false};
  }
  if (chunk->open()) {
    const auto place = look_up(chunk->live->index, offset, true);
    if (place) {
      co_return *place;
    }
  }
  if (chunk->index == nullptr && chunk->index_sectors > 0) {
    co_await load_index(shard, chunk);
  }
  if (chunk->index != nullptr) {
    chunk->index->unlink();
    shard.indexes.push_back(*chunk->index);
    const auto place = look_up(chunk->index->index, offset, false);
    if (place) {
      co_return *place;
    }
  }
  auto found = co_await search_footers(shard, chunk, offset);
  co_return found;
}

}  // namespace pangu::chunk
