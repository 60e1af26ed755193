#include <algorithm>

#include "base/reached.h"
#include "chunk/format/block_sectors.h"
#include "chunk/store/ops.h"

// APPEND and RECOVER_APPEND: check, take a place in the order, write, acknowledge in order.
namespace pangu::chunk {

namespace {

// What is to be done with an append as things stand. No wait lies between decide() and acting on it.
struct Decision {
  enum class What : u8 { answer, overlap, wait_for_room, accept } what = What::answer;
  Code code = Code::kOk;
  u32 length = 0;
  Epoch fence;
  u32 blocks = 0;  // wait_for_room: how many more
};

Decision answer(Code code, u32 length = 0, Epoch fence = {}) {
  return {.what = Decision::What::answer, .code = code, .length = length, .fence = fence};
}

// One append on its way.
struct Attempt {
  AppendArgs args;
  Slice run;
  std::vector<Extent> fresh;  // cleared blocks for a reborn chunk
  bool trimmed = false;       // the front was stored already
};

bool well_formed(const AppendArgs& args, const Slice& run) {
  return args.unit_count > 0 && args.unit_count <= wire::kRunUnitsMax &&
         run.size() == size_t{args.unit_count} * kSectorBytes &&
         args.history.size() <= wire::kHistoryMax && u64{args.offset} + args.data_len <= 0xfffffffe &&
         u64{args.unit_index} + args.unit_count <= 0xfffffff0;
}

bool is_copy(const AppendArgs& args) { return args.recovers && args.epoch == kCopyEpoch; }

// A piece of a copy: whole units of the chunk that join, however they were cut into runs once.
bool copied_units_ok(const AppendArgs& args, Bytes run) {
  u64 end = args.offset;
  for (u32 i = 0; i < args.unit_count; ++i) {
    const std::byte* unit = run.data() + size_t{i} * kSectorBytes;
    if (wire::check_unit(args.chunk, args.unit_index + i, unit) != wire::UnitFault::ok) {
      return false;
    }
    const wire::UnitFooter footer = wire::footer_of(unit);
    end += footer.data_len;
    if (footer.end_offset != end || footer.epoch != args.owner_epoch.number) {
      return false;
    }
  }
  return end == u64{args.offset} + args.data_len;
}

bool run_ok(const AppendArgs& args, Bytes run) {
  if (is_copy(args)) {
    return copied_units_ok(args, run);
  }
  const wire::RunStart start{.chunk = args.chunk,
                             .epoch = args.owner_epoch,
                             .unit_index = args.unit_index,
                             .offset = args.offset,
                             .generation = wire::footer_of(run.data()).generation};
  return wire::check_run(start, args.data_len, run).ok();
}

// Blocks a chunk must have in all to hold `units` units.
u32 blocks_for_units(const Shard& shard, u32 header_sectors, u64 units) {
  return shard.blocks_for(header_sectors + units);
}

// Blocks to give it if there is plenty: room for the run and what may follow.
u32 wanted_blocks(const Shard& shard, const AppendArgs& args, u32 limit, u32 needed) {
  const u64 left = limit > args.offset ? limit - args.offset : 0;
  const u32 useful = shard.blocks_for(left / wire::kUnitDataMax + 4);
  return std::max(needed, std::min(shard.room.stretch(), useful));
}

Decision decide_new(Shard& shard, Attempt& attempt) {
  const AppendArgs& args = attempt.args;
  const Tombstone* tombstone = shard.table.find_tombstone(args.chunk);
  const Epoch fence = tombstone != nullptr ? tombstone->fence : Epoch{};
  if (args.epoch < fence) {
    return answer(Code::kFenced, 0, fence);
  }
  const bool known = tombstone != nullptr || shard.table.forgotten(args.chunk);
  if (!args.recovers && known) {
    return answer(Code::kSealed);
  }
  if (args.recovers ? args.epoch != fence : args.epoch != args.owner_epoch) {
    return answer(Code::kStale);
  }
  if (args.offset != 0 || !args.creates) {
    return answer(Code::kGap);
  }
  if (args.unit_index != 0) {
    return answer(Code::kConflict);
  }
  if (args.data_len > args.chunk_limit) {
    return answer(Code::kInvalidArgument);
  }
  const auto entry = args.recovers && !is_copy(args) ? Shard::Entry::recovered_chunk
                                                     : Shard::Entry::chunk;
  if (shard.metadata_full(entry)) {
    REACHED("chunk: no room for the record of another chunk");
    return answer(Code::kNoSpace);
  }
  const u32 header = header_sectors_for(args.history.size());
  const u32 needed = blocks_for_units(shard, header, args.unit_count);
  const u32 have = count_blocks(attempt.fresh);
  const bool reborn = (tombstone != nullptr && tombstone->deleted) ||
                      shard.table.forgotten(args.chunk);
  const u32 wanted = wanted_blocks(shard, args, args.chunk_limit, needed);
  if (have < needed &&
      (reborn || !shard.room.extend(attempt.fresh, needed - have, wanted - have))) {
    return {.what = Decision::What::wait_for_room, .blocks = needed - have};
  }
  return {.what = Decision::What::accept};
}

Decision decide_room(Shard& shard, Attempt& attempt, Chunk& chunk) {
  for (const Extent& extent : attempt.fresh) {
    append_extent(chunk.extents, extent);
  }
  attempt.fresh.clear();
  const u32 needed = blocks_for_units(
      shard, chunk.header_sectors, u64{chunk.live->accepted_units} + attempt.args.unit_count);
  const u32 have = chunk.block_count();
  if (needed <= have) {
    return {.what = Decision::What::accept};
  }
  const u32 missing = needed - have;
  const u32 wanted = wanted_blocks(shard, attempt.args, chunk.limit, missing);
  if (chunk.reborn || !shard.room.extend(chunk.extents, missing, wanted)) {
    return {.what = Decision::What::wait_for_room, .blocks = missing};
  }
  chunk.live->growth_asked = false;
  return {.what = Decision::What::accept};
}

Decision decide(Shard& shard, Attempt& attempt) {
  const AppendArgs& args = attempt.args;
  Chunk* chunk = shard.table.find(args.chunk);
  if (chunk == nullptr) {
    return decide_new(shard, attempt);
  }
  if (args.epoch < chunk->fence) {
    return answer(Code::kFenced, chunk->length, chunk->fence);
  }
  if (chunk->finalized || chunk->removing || chunk->live->final_pending ||
      (chunk->closed && !args.recovers)) {
    return answer(Code::kSealed, chunk->length);
  }
  if (chunk->damaged) {
    return answer(Code::kCorrupt, chunk->valid);
  }
  const Epoch expected = args.recovers ? chunk->fence : chunk->owner_epoch;
  if (args.epoch != expected || args.owner_epoch != chunk->owner_epoch ||
      args.base != chunk->base) {
    return answer(Code::kStale, chunk->length);
  }
  const Live& live = *chunk->live;
  if (args.offset > live.accepted) {
    return answer(Code::kGap, live.accepted);
  }
  if (args.offset < live.accepted) {
    return {.what = Decision::What::overlap};
  }
  if (live.failed) {
    return answer(shard.writer.failed() ? Code::kDeviceFailed : Code::kIoError, chunk->length);
  }
  if (args.unit_index != live.accepted_units) {
    return answer(Code::kConflict, chunk->length);
  }
  if (u64{args.offset} + args.data_len > chunk->limit) {
    return answer(Code::kInvalidArgument, chunk->length);
  }
  return decide_room(shard, attempt, *chunk);
}

// A run whose front is stored already. kOk: the front is the same and durable, and the attempt is
// trimmed to the rest; kDuplicate: nothing is left of it.
Task<Code> compare_front(Shard& shard, Attempt& attempt) {
  ChunkRef chunk(shard.table.find(attempt.args.chunk));
  const AppendArgs args = attempt.args;
  u32 same = 0;  // units of the run that end at or below what is accepted
  u32 end = args.offset;
  for (; same < args.unit_count; ++same) {
    const u32 unit_end = wire::footer_of(attempt.run.data() + size_t{same} * kSectorBytes).end_offset;
    if (unit_end > chunk->live->accepted) {
      break;
    }
    end = unit_end;
  }
  const bool joins = same == args.unit_count || end == chunk->live->accepted;
  if (same == 0 || !joins || args.unit_index + same > chunk->live->accepted_units) {
    co_return Code::kConflict;
  }
  while (chunk->live != nullptr && chunk->length < end && !chunk->live->failed) {
    co_await chunk->live->progress.wait();
  }
  if (chunk->length < end || chunk->removing) {
    co_return chunk->live == nullptr || chunk->removing ? Code::kSealed : Code::kIoError;
  }
  const Slice sector = shard.scratch.take(kSectorBytes);
  const u32 ends[2] = {0, same - 1};
  for (const u32 unit : ends) {
    shard.begin_io(*chunk);
    const Code code = co_await read_sectors(
        shard, chunk, chunk->header_sectors + args.unit_index + unit, 1, sector.mutable_bytes());
    shard.end_io(*chunk);
    if (code != Code::kOk) {
      co_return code;
    }
    if (wire::check_unit(args.chunk, args.unit_index + unit, sector.data()) !=
        wire::UnitFault::ok) {
      REACHED("chunk: a retried append found its unit damaged");
      mark_damaged(shard, *chunk, args.offset);
      co_return Code::kCorrupt;
    }
    const std::byte* mine = attempt.run.data() + size_t{unit} * kSectorBytes;
    if (wire::footer_of(sector.data()).crc32c != wire::footer_of(mine).crc32c) {
      co_return Code::kConflict;
    }
  }
  if (same == args.unit_count) {
    co_return Code::kDuplicate;
  }
  REACHED("chunk: a retried append was stored in part");
  attempt.run = attempt.run.part(size_t{same} * kSectorBytes,
                                 size_t{args.unit_count - same} * kSectorBytes);
  attempt.args.offset = end;
  attempt.args.data_len -= end - args.offset;
  attempt.args.unit_index += same;
  attempt.args.unit_count -= same;
  attempt.trimmed = true;
  co_return Code::kOk;
}

// Waits until there may be room; for a reborn chunk takes it and clears it.
Task<Code> make_room(Shard& shard, Attempt& attempt, u32 blocks) {
  ++shard.counters.append_waits;
  const bool privileged = attempt.args.recovers && !is_copy(attempt.args);
  const Code code = co_await shard.room.wait(blocks, privileged, attempt.args.deadline);
  if (code != Code::kOk) {
    co_return code;
  }
  const Chunk* chunk = shard.table.find(attempt.args.chunk);
  const Tombstone* tombstone = shard.table.find_tombstone(attempt.args.chunk);
  const bool reborn = chunk != nullptr ? chunk->reborn
                                       : (tombstone != nullptr && tombstone->deleted) ||
                                             shard.table.forgotten(attempt.args.chunk);
  std::vector<Extent> taken;
  if (!reborn || !shard.room.extend(taken, blocks, blocks)) {
    co_return Code::kOk;
  }
  REACHED("chunk: blocks were cleared for a chunk that had been deleted here");
  const Code cleared = co_await zero_blocks(shard, taken);
  if (cleared != Code::kOk) {
    shard.room.give_back(taken);
    co_return cleared;
  }
  for (const Extent& extent : taken) {
    append_extent(attempt.fresh, extent);
  }
  co_return Code::kOk;
}

Chunk& create(Shard& shard, Attempt& attempt) {
  AppendArgs& args = attempt.args;
  const Tombstone* tombstone = shard.table.find_tombstone(args.chunk);
  const Tombstone before = tombstone != nullptr ? *tombstone : Tombstone{};
  const bool over_tombstone = tombstone != nullptr;
  Chunk& chunk = shard.table.insert(args.chunk);
  chunk.base = args.base;
  chunk.owner_epoch = args.owner_epoch;
  chunk.fence = std::max(args.owner_epoch, before.fence);
  chunk.closed = before.closed;
  chunk.limit = args.chunk_limit;
  chunk.copies_max = args.copies_max;
  chunk.copies_min = args.copies_min;
  chunk.header_sectors = static_cast<u8>(header_sectors_for(args.history.size()));
  chunk.reborn = before.deleted || shard.table.forgotten(args.chunk);
  chunk.extents = std::move(attempt.fresh);
  attempt.fresh.clear();
  chunk.live = std::make_unique<Live>(chunk);
  chunk.live->history = std::move(args.history);
  shard.history_bytes += chunk.live->history_bytes();
  shard.open_chunks.push_back(*chunk.live);
  if (over_tombstone) {
    shard.log_chunk(chunk);  // its fence must not go with the tombstone
  }
  shard.changes.note(chunk.id);
  return chunk;
}

// The bytes that go to the medium: the run, with the chunk's header in front if it creates it.
Slice with_header(Shard& shard, const Chunk& chunk, const Slice& run) {
  const ChunkHeader header{.device = shard.device(),
                           .shard = shard.options.shard,
                           .block = chunk.extents.front().start,
                           .chunk = chunk.id,
                           .base = chunk.base,
                           .owner_epoch = chunk.owner_epoch,
                           .limit = chunk.limit,
                           .copies_max = chunk.copies_max,
                           .copies_min = chunk.copies_min,
                           .reborn = chunk.reborn,
                           .history = chunk.live->history};
  const size_t size = size_t{chunk.header_sectors} * kSectorBytes;
  const auto in_front = static_cast<size_t>(run.data() - run.block()->data);
  if (in_front >= size) {
    encode_header(header, run.data() - size);
    return Slice(*run.block(), run.data() - size, size + run.size());
  }
  ++shard.counters.payload_copies;
  Slice copy = shard.scratch.take(size + run.size());
  encode_header(header, copy.data());
  std::memcpy(copy.data() + size, run.data(), run.size());
  return copy;
}

// An accepted append: what is to be written, and its place in the order.
struct Accepted {
  ChunkRef chunk;
  Slice bytes;
  std::vector<Shard::Piece> pieces;
  u64 ticket = 0;
  u32 end_offset = 0;
};

void raise_committed(Live& live, u64 base, u64 committed) {
  const u64 relative = committed > base ? committed - base : 0;
  live.committed = std::max(live.committed, static_cast<u32>(std::min<u64>(relative, 0xfffffffe)));
}

Accepted accept(Shard& shard, Attempt& attempt) {
  Chunk* found = shard.table.find(attempt.args.chunk);
  Chunk& chunk = found != nullptr ? *found : create(shard, attempt);
  Live& live = *chunk.live;
  const AppendArgs& args = attempt.args;
  Accepted out;
  out.chunk = ChunkRef(&chunk);
  const bool with_head = live.accepted_units == 0 && found == nullptr;
  out.bytes = with_head ? with_header(shard, chunk, attempt.run) : attempt.run;
  const u32 first = with_head ? 0 : chunk.header_sectors + live.accepted_units;
  out.pieces = shard.pieces_of(chunk, first, static_cast<u32>(out.bytes.size() / kSectorBytes));
  for (u32 i = 0; i < args.unit_count; ++i) {
    live.index.add(wire::footer_of(attempt.run.data() + size_t{i} * kSectorBytes).data_len);
  }
  if (!chunk.copying()) {
    shard.keep_tail(live, live.accepted_units, live.accepted, attempt.run);
  }
  live.accepted += args.data_len;
  live.accepted_units += args.unit_count;
  out.end_offset = live.accepted;
  out.ticket = live.first_ticket + live.in_flight.size();
  live.in_flight.push_back({.end_offset = live.accepted, .end_unit = live.accepted_units});
  ++live.writing;
  if (!args.recovers) {
    raise_committed(live, chunk.base, args.committed);
  }
  if (shard.used_blocks(chunk) > chunk.logged_blocks) {
    shard.mark_unlogged(chunk);
  }
  const u64 room = u64{chunk.block_count()} * shard.sectors_per_block() - chunk.sectors_used();
  if (room < shard.room.low_water() && live.accepted < chunk.limit && !chunk.reborn) {
    shard.room.ask_growth(chunk);
  }
  ++shard.counters.appends;
  shard.counters.append_bytes += args.data_len;
  return out;
}

// A write has returned: moves the durable end, or notes the failure.
void finish_write(Shard& shard, Chunk& chunk, u64 ticket, Code code) {
  Live& live = *chunk.live;
  --live.writing;
  if (code == Code::kOk) {
    live.in_flight[ticket - live.first_ticket].finished = true;
  } else {
    REACHED("chunk: an append's write failed");
    live.failed = true;
    live.dirty_tail_end = std::max(live.dirty_tail_end, live.accepted_units);
  }
  while (!live.in_flight.empty() && live.in_flight.front().finished) {
    chunk.length = live.in_flight.front().end_offset;
    chunk.unit_count = live.in_flight.front().end_unit;
    live.in_flight.pop_front();
    ++live.first_ticket;
  }
  if (!chunk.damaged) {
    chunk.valid = chunk.length;
  }
  if (live.failed && live.writing == 0) {
    // Nothing behind the durable end will ever be acknowledged.
    live.first_ticket += live.in_flight.size();
    live.in_flight.clear();
    live.accepted = chunk.length;
    live.accepted_units = chunk.unit_count;
    live.index.truncate(chunk.unit_count, chunk.length);
    shard.drop_tail(live);
  }
  live.progress.wake_all();
  live.watchers.wake_all();
}

Task<Code> write_pieces(Shard& shard, Accepted& accepted) {
  if (reinterpret_cast<std::uintptr_t>(accepted.bytes.data()) % shard.file.alignment() != 0) {
    ++shard.counters.payload_copies;
    accepted.bytes = Slice::copy_of(accepted.bytes.bytes());
  }
  const i32 slot = accepted.bytes.block()->registered_slot;
  Bytes rest = accepted.bytes.bytes();
  for (const Shard::Piece& piece : accepted.pieces) {
    ++shard.counters.append_writes;
    shard.counters.chunk_bytes_written += piece.bytes;
    const Code code = co_await shard.writer.write_durable(piece.offset, rest.first(piece.bytes), slot);
    if (code != Code::kOk) {
      co_return code;
    }
    rest = rest.subspan(piece.bytes);
  }
  co_return Code::kOk;
}

// Writes, and returns when the append is durable in its place: kOk; or will never be.
Task<Code> carry_out(Shard& shard, Accepted accepted) {
  Chunk& chunk = *accepted.chunk;
  shard.begin_io(chunk);
  const Code code = co_await write_pieces(shard, accepted);
  finish_write(shard, chunk, accepted.ticket, code);
  shard.end_io(chunk);
  // The chunk stays open until its appends are drained.
  while (chunk.live != nullptr && chunk.length < accepted.end_offset &&
         chunk.live->first_ticket <= accepted.ticket) {
    co_await chunk.live->progress.wait();
  }
  if (code != Code::kOk) {
    co_return code;
  }
  if (chunk.length >= accepted.end_offset) {
    co_return Code::kOk;
  }
  // Durable, then cut by a decided length; or one before it failed.
  co_return chunk.live == nullptr || !chunk.live->failed ? Code::kSealed : Code::kIoError;
}

AppendOutcome outcome(const Shard& shard, const AppendArgs& args, Code code) {
  AppendOutcome out{.code = code};
  if (const Chunk* chunk = shard.table.find(args.chunk)) {
    out.length = chunk->length;
    out.fence = chunk->fence;
  }
  if (code == Code::kOk || code == Code::kDuplicate) {
    // It was durable up to there, also if it is being deleted or cut by now.
    out.length = std::max(out.length, args.offset + args.data_len);
  }
  return out;
}

Task<AppendOutcome> run_attempt(Shard& shard, Attempt& attempt, wire::ReplyTiming& timing,
                                Stopwatch& watch) {
  for (;;) {
    const Decision decision = decide(shard, attempt);
    if (decision.what == Decision::What::answer) {
      AppendOutcome out{.code = decision.code, .length = decision.length, .fence = decision.fence};
      co_return out;
    }
    if (decision.what == Decision::What::overlap) {
      const Code code = co_await compare_front(shard, attempt);
      if (code != Code::kOk) {
        shard.counters.duplicates += code == Code::kDuplicate ? 1 : 0;
        co_return outcome(shard, attempt.args, code);
      }
      continue;
    }
    if (decision.what == Decision::What::wait_for_room) {
      const Code code = co_await make_room(shard, attempt, decision.blocks);
      if (code != Code::kOk) {
        co_return outcome(shard, attempt.args, code);
      }
      continue;
    }
    timing.queue_us = watch.lap();
    Accepted accepted = accept(shard, attempt);
    const Code code = co_await carry_out(shard, std::move(accepted));
    timing.media_us = watch.lap();
    co_return outcome(shard, attempt.args, code);
  }
}

}  // namespace

Task<AppendOutcome> do_append(Shard& shard, AppendArgs args, Slice run) {
  Stopwatch watch(shard.reactor);
  AppendOutcome out;
  if (!well_formed(args, run)) {
    out.code = Code::kInvalidArgument;
    co_return out;
  }
  if (!run_ok(args, run.bytes())) {
    REACHED("chunk: a run arrived damaged");
    out.code = Code::kCorrupt;
    co_return out;
  }
  wire::ReplyTiming timing{};
  timing.verify_us = watch.lap();
  Attempt attempt{.args = std::move(args), .run = std::move(run)};
  out = co_await run_attempt(shard, attempt, timing, watch);
  if (!attempt.fresh.empty()) {
    shard.room.give_back(attempt.fresh);
  }
  timing.total_us = watch.total();
  out.timing = timing;
  co_return out;
}

}  // namespace pangu::chunk
