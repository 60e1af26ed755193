#include "wire/unit.h"

#include <fmt/format.h>

#include "base/crc32c.h"

namespace pangu::wire {

namespace {

u32 crc_of_unit(const std::byte* unit) {
  return crc32c({unit, kUnitBytes - sizeof(u32)});
}

// Comparing the range with itself one byte on runs at the speed of memcmp.
bool all_zero(Bytes bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// Hands out the concatenation of some pieces, byte range by byte range.
class PieceReader {
 public:
  explicit PieceReader(std::span<const Bytes> pieces) : pieces_(pieces) {}
  void read(MutableBytes into) {
    while (!into.empty()) {
      const Bytes rest = pieces_[piece_].subspan(at_);
      const size_t step = std::min(rest.size(), into.size());
      if (step > 0) {
        std::memcpy(into.data(), rest.data(), step);
      }
      into = into.subspan(step);
      at_ += step;
      if (at_ == pieces_[piece_].size() && piece_ + 1 < pieces_.size()) {
        ++piece_;
        at_ = 0;
      }
    }
  }

 private:
  std::span<const Bytes> pieces_;
  size_t piece_ = 0;
  size_t at_ = 0;
};

}  // namespace

u32 cut_run(const RunStart& start, std::span<const Bytes> data, MutableBytes into) {
  u64 total = 0;
  for (const Bytes piece : data) {
    total += piece.size();
  }
  CHECK(total > 0 && total <= kRunDataMax);
  CHECK(start.committed <= start.offset);
  const u32 count = units_for(total);
  CHECK(into.size() == u64{count} * kUnitBytes);
  PieceReader reader(data);
  u32 end = start.offset;
  for (u32 i = 0; i < count; ++i) {
    std::byte* unit = into.data() + u64{i} * kUnitBytes;
    const u32 length = static_cast<u32>(std::min<u64>(total, kUnitDataMax));
    reader.read({unit, length});
    std::memset(unit + length, 0, kUnitDataMax - length);
    total -= length;
    end += length;
    UnitFooter footer{.magic = kUnitMagic,
                      .version = kUnitVersion,
                      .flags = 0,
                      .data_len = static_cast<u16>(length),
                      .file = start.chunk.file.number,
                      .sequence = start.chunk.sequence,
                      .shard = start.chunk.shard,
                      .reserved = 0,
                      .unit_index = start.unit_index + i,
                      .epoch = start.epoch.number,
                      .end_offset = end,
                      .committed_lag = end - start.committed,
                      .generation = start.generation,
                      .crc32c = 0};
    store_le(unit + kUnitDataMax, footer);
    store_le(unit + kUnitBytes - sizeof(u32), crc_of_unit(unit));
  }
  return count;
}

WirePieces wire_pieces_of(Bytes run) {
  CHECK(!run.empty() && run.size() % kUnitBytes == 0);
  const std::byte* last = run.data() + run.size() - kUnitBytes;
  const UnitFooter footer = footer_of(last);
  CHECK(footer.data_len <= kUnitDataMax);
  WirePieces out;
  if (footer.data_len == kUnitDataMax) {
    out.pieces[0] = run;
    out.count = 1;
    out.bytes = run.size();
    return out;
  }
  out.pieces[0] = run.first(run.size() - kUnitBytes + footer.data_len);
  out.pieces[1] = run.last(kFooterBytes);
  out.count = 2;
  out.bytes = out.pieces[0].size() + kFooterBytes;
  return out;
}

Result<u64> wire_bytes_of(u32 unit_count, u32 data_len) {
  if (unit_count == 0 || unit_count > kRunUnitsMax || data_len == 0 ||
      units_for(data_len) != unit_count) {
    return Error(
        Code::kInvalidArgument,
        fmt::format("a run of {} units with {} payload bytes cannot exist (1 to {} units of "
                    "{} bytes, only the last one partial)",
                    unit_count, data_len, kRunUnitsMax, kUnitDataMax));
  }
  return u64{data_len} + u64{unit_count} * kFooterBytes;
}

std::string_view to_string(UnitFault fault) {
  switch (fault) {
    case UnitFault::ok:
      return "ok";
    case UnitFault::blank:
      return "blank";
    case UnitFault::not_a_unit:
      return "not a unit";
    case UnitFault::bad_crc:
      return "checksum mismatch";
    case UnitFault::other_chunk:
      return "unit of another chunk";
    case UnitFault::other_place:
      return "unit of another place in the chunk";
    case UnitFault::malformed:
      return "malformed footer";
  }
  return "?";
}

UnitFault check_unit(const ChunkId& chunk, u32 unit_index, const std::byte* unit) {
  const UnitFooter footer = footer_of(unit);
  if (footer.magic != kUnitMagic) {
    return all_zero({unit, kUnitBytes}) ? UnitFault::blank : UnitFault::not_a_unit;
  }
  if (footer.crc32c != crc_of_unit(unit)) {
    return UnitFault::bad_crc;
  }
  if (footer.version != kUnitVersion || footer.flags != 0 || footer.reserved != 0 ||
      footer.data_len == 0 || footer.data_len > kUnitDataMax ||
      footer.end_offset < footer.data_len || footer.committed_lag > footer.end_offset) {
    return UnitFault::malformed;
  }
  if (chunk_of(footer) != chunk) {
    return UnitFault::other_chunk;
  }
  return footer.unit_index == unit_index ? UnitFault::ok : UnitFault::other_place;
}

Status check_run(const RunStart& start, u32 data_len, Bytes run) {
  const auto fail = [&](u32 unit, std::string_view why) {
    return Error(Code::kCorrupt, fmt::format("chunk {} unit {}: {}", to_string(start.chunk),
                                             start.unit_index + unit, why));
  };
  const u32 count = static_cast<u32>(run.size() / kUnitBytes);
  if (run.size() % kUnitBytes != 0 || !wire_bytes_of(count, data_len).ok()) {
    return fail(0, "the run's size does not fit its payload length");
  }
  u64 end = start.offset;
  for (u32 i = 0; i < count; ++i) {
    const std::byte* unit = run.data() + u64{i} * kUnitBytes;
    const UnitFault fault = check_unit(start.chunk, start.unit_index + i, unit);
    if (fault != UnitFault::ok) {
      return fail(i, to_string(fault));
    }
    const UnitFooter footer = footer_of(unit);
    const u32 expected = i + 1 < count ? kUnitDataMax : data_len - i * kUnitDataMax;
    end += footer.data_len;
    if (footer.data_len != expected || footer.end_offset != end) {
      return fail(i, "lengths do not join");
    }
    if (footer.epoch != start.epoch.number || footer.generation != start.generation) {
      return fail(i, "another epoch or generation");
    }
    if (!all_zero({unit + footer.data_len, kUnitDataMax - footer.data_len})) {
      return fail(i, "padding is not zero");
    }
  }
  return ok_status();
}

}  // namespace pangu::wire
