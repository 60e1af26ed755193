#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "chunk/store/ops.h"
#include "runtime/await.h"

// READ: whole units, every one checked before it leaves.
namespace pangu::chunk {

namespace {

constexpr u32 kReadUnitsMax = 272;  // kRunUnitsMax and the way to an inexact place, 1 MiB + 64 KiB
constexpr int kReadAttempts = 3;

ReadOutcome refuse(Code code, u32 readable = 0, u32 valid = 0) {
  ReadOutcome out;
  out.code = code;
  out.readable = readable;
  out.valid = valid;
  return out;
}

// How much of the chunk this reader may see; or, in `code`, that it may see nothing.
ReadOutcome readable_part(Chunk* chunk, const ReadArgs& args) {
  if (chunk == nullptr || chunk->removing || chunk->copying()) {
    return refuse(Code::kNotHere);
  }
  u32 readable = chunk->length;
  bool settled = chunk->finalized;
  if (args.recovers) {
    if (args.epoch != chunk->fence) {
      return refuse(args.epoch < chunk->fence ? Code::kFenced : Code::kStale);
    }
    settled = true;
  } else if (args.settled_length != wire::kUnsettled) {
    settled = true;
    if (args.offset >= args.settled_length) {
      return refuse(Code::kOk, args.settled_length);
    }
    readable = std::min(readable, args.settled_length);
    if (args.offset >= readable && !chunk->damaged) {
      return refuse(Code::kShort, readable);
    }
  } else if (!chunk->finalized) {
    Live& live = *chunk->live;
    const u64 relative = args.known_committed > chunk->base ? args.known_committed - chunk->base : 0;
    if (relative > live.committed && relative <= chunk->length) {
      live.committed = static_cast<u32>(relative);
      live.watchers.wake_all();
    }
    readable = std::min(readable, live.committed);
  }
  if (args.offset < readable) {
    return refuse(Code::kOk, readable);
  }
  if (chunk->damaged && (settled || args.offset < chunk->known_committed)) {
    return refuse(Code::kCorrupt, std::max(readable, chunk->known_committed), chunk->valid);
  }
  return refuse(settled ? Code::kOk : Code::kNotCommitted, readable);
}

// Fills in the outcome from units that are known good. `units` begins with unit `first`.
bool take_units(ReadOutcome& out, const ReadArgs& args, const ChunkId& id, const Slice& units,
                u32 first, u32& bad_unit, u32& bad_offset) {
  const u32 wanted_end = static_cast<u32>(
      std::min<u64>(u64{args.offset} + args.length, out.readable));
  const auto count = static_cast<u32>(units.size() / kSectorBytes);
  u32 from = count;
  u32 end = 0;
  u32 to = 0;
  bad_unit = count;
  for (u32 i = 0; i < count; ++i) {
    const std::byte* unit = units.data() + size_t{i} * kSectorBytes;
    if (wire::check_unit(id, first + i, unit) != wire::UnitFault::ok) {
      bad_unit = i;
      bad_offset = end;
      break;
    }
    const wire::UnitFooter footer = wire::footer_of(unit);
    const u32 start = footer.end_offset - footer.data_len;
    end = footer.end_offset;
    if (end <= args.offset) {
      continue;
    }
    if (from == count) {
      if (start > args.offset) {
        return false;  // the place was wrong
      }
      from = i;
      out.unit_offset = start;
    }
    to = i + 1;
    if (end >= wanted_end || to - from == wire::kRunUnitsMax) {
      break;
    }
  }
  if (from == count || to == 0) {
    return false;
  }
  out.units = units.part(size_t{from} * kSectorBytes, size_t{to - from} * kSectorBytes);
  out.unit_index = first + from;
  out.unit_count = to - from;
  out.length = std::min(end, wanted_end) - args.offset;
  return true;
}

// From the runs in memory: a reader at the tail wants what was just written.
bool read_tail(Shard& shard, Chunk& chunk, const ReadArgs& args, ReadOutcome& out) {
  Live& live = *chunk.live;
  for (const Live::TailRun& run : live.tail) {
    const auto units = static_cast<u32>(run.units.size() / kSectorBytes);
    const wire::UnitFooter last =
        wire::footer_of(run.units.data() + run.units.size() - kSectorBytes);
    if (args.offset < run.offset || args.offset >= last.end_offset ||
        run.unit + units > chunk.unit_count) {
      continue;
    }
    u32 bad = 0;
    u32 bad_offset = 0;
    if (take_units(out, args, chunk.id, run.units, run.unit, bad, bad_offset)) {
      ++shard.counters.tail_hits;
      return true;
    }
    return false;
  }
  return false;
}

u32 units_to_read(const Chunk& chunk, const UnitPlace& place, const ReadArgs& args, u32 readable) {
  const u64 end = std::min<u64>(u64{args.offset} + args.length, readable);
  u64 units = (end - place.start + wire::kUnitDataMax - 1) / wire::kUnitDataMax +
              (place.exact ? 0 : kSampleEvery);
  // Small units: the index knows where the last one is.
  const ChunkIndex* index = chunk.open() ? &chunk.live->index
                            : chunk.index != nullptr ? &chunk.index->index
                                                     : nullptr;
  const auto hit = index != nullptr ? index->find(static_cast<u32>(end - 1)) : std::nullopt;
  if (hit && hit->unit >= place.unit) {
    units = u64{hit->unit} - place.unit + (hit->exact ? 1 : kSampleEvery);
  }
  units = std::min<u64>(units, kReadUnitsMax);
  return std::min(static_cast<u32>(units), chunk.unit_count - std::min(place.unit, chunk.unit_count));
}

// One try at reading from the device. kStale inside: the place was wrong or the chunk has changed
// meanwhile; try again.
Task<Code> read_device(Shard& shard, ChunkRef chunk, const ReadArgs& args, ReadOutcome& out,
                       bool search) {
  Result<UnitPlace> found = Error(Code::kInternal);
  if (search) {
    found = co_await search_footers(shard, chunk, args.offset);
  } else {
    found = co_await locate(shard, chunk, args.offset);
  }
  if (!found.ok()) {
    co_return found.code();
  }
  const UnitPlace place = *found;
  const u32 count = units_to_read(*chunk, place, args, out.readable);
  if (count == 0 || place.start > args.offset) {
    co_return Code::kStale;
  }
  const Slice units = shard.buffers.take(size_t{count} * kSectorBytes);
  if (units.empty()) {
    co_return Code::kBusy;
  }
  const Code code = co_await read_sectors(shard, chunk, chunk->header_sectors + place.unit, count,
                                          units.mutable_bytes());
  if (code != Code::kOk) {
    co_return code;
  }
  u32 bad = count;
  u32 bad_offset = 0;
  const bool got = take_units(out, args, chunk->id, units, place.unit, bad, bad_offset);
  if (bad < count) {
    out.valid = bad == 0 ? place.start : bad_offset;
    if (!got) {
      co_return Code::kCorrupt;
    }
  }
  co_return got ? Code::kOk : Code::kStale;
}

}  // namespace

void mark_damaged(Shard& shard, Chunk& chunk, u32 valid) {
  ++shard.counters.bad_units;
  if (!chunk.damaged) {
    LOG_ERROR("device {}: chunk {} has a bad unit behind payload offset {}",
              to_string(shard.device()), to_string(chunk.id), valid);
  }
  if (!chunk.damaged) {
    shard.changes.note(chunk.id);
  }
  chunk.valid = chunk.damaged ? std::min(chunk.valid, valid) : std::min(valid, chunk.length);
  chunk.damaged = true;
  const u32 committed = chunk.open() ? std::min(chunk.live->committed, chunk.length) : chunk.length;
  chunk.known_committed = std::max(chunk.known_committed, committed);
}

Task<ReadOutcome> do_read(Shard& shard, ReadArgs args) {
  Stopwatch watch(shard.reactor);
  ReadOutcome out;
  if (args.length == 0) {
    out.code = Code::kInvalidArgument;
    co_return out;
  }
  ++shard.counters.reads;
  u32 valid = 0;
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    ChunkRef chunk(shard.table.find(args.chunk));
    out = readable_part(chunk.get(), args);
    if (out.code != Code::kOk || args.offset >= out.readable) {
      break;
    }
    if (chunk->headless) {
      out = refuse(Code::kCorrupt, chunk->known_committed);
      break;
    }
    if (chunk->open() && read_tail(shard, *chunk, args, out)) {
      break;
    }
    // First by the index; then again, for what was cut or misread meanwhile; then by the footers.
    const bool search = attempt + 1 == kReadAttempts;
    shard.begin_io(*chunk);
    out.code = co_await read_device(shard, chunk, args, out, search);
    shard.end_io(*chunk);
    valid = out.valid = std::max(valid, out.valid);
    const bool last = attempt + 1 == kReadAttempts;
    if (out.code == Code::kCorrupt && last && !chunk->removing) {
      mark_damaged(shard, *chunk, out.valid);
    }
    if (out.code == Code::kStale && last) {
      out.code = Code::kCorrupt;
    }
    if (out.code != Code::kCorrupt && out.code != Code::kStale) {
      break;
    }
  }
  if (out.code == Code::kOk) {
    shard.counters.read_bytes += out.length;
  }
  out.timing.media_us = watch.lap();
  out.timing.total_us = watch.total();
  co_return out;
}

// Checks units one after another, for scrub. A bad one does not end it.
Task<Result<ChunkStore::Checked>> do_verify(Shard& shard, ChunkRef chunk, u32 first,
                                            u32 units_max) {
  ChunkStore::Checked out;
  if (chunk->removing || chunk->headless) {
    co_return Error(chunk->headless ? Code::kCorrupt : Code::kNotHere);
  }
  const u32 end = static_cast<u32>(std::min<u64>(u64{first} + units_max, chunk->unit_count));
  bool prefix_good = true;
  for (u32 unit = first; unit < end;) {
    const u32 count = std::min(end - unit, wire::kRunUnitsMax);
    const Slice units = shard.buffers.take(size_t{count} * kSectorBytes);
    if (units.empty()) {
      co_return Error(Code::kBusy);
    }
    shard.begin_io(*chunk);
    const Code code = co_await read_sectors(shard, chunk, chunk->header_sectors + unit, count,
                                            units.mutable_bytes());
    shard.end_io(*chunk);
    if (code != Code::kOk) {
      co_return Error(code);
    }
    if (chunk->removing) {
      co_return Error(Code::kNotHere);
    }
    for (u32 i = 0; i < count && unit + i < chunk->unit_count; ++i) {
      const std::byte* at = units.data() + size_t{i} * kSectorBytes;
      ++out.units;
      if (wire::check_unit(chunk->id, unit + i, at) != wire::UnitFault::ok) {
        ++out.bad_units;
        if (prefix_good) {
          mark_damaged(shard, *chunk, out.end_offset);
        }
        prefix_good = false;
      } else if (prefix_good) {
        out.end_offset = wire::footer_of(at).end_offset;
        out.digest = crc32c_extend(out.digest, {at + kSectorBodyMax, sizeof(u32)});
      }
      co_await yield_if_expired();
    }
    unit += count;
  }
  out.at_end = end >= chunk->unit_count;
  co_return out;
}

}  // namespace pangu::chunk
