#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "raft/driver/shared_log.h"
#include "runtime/await.h"

// Deletes segments of the shared log from the front. What somebody still needs of the first one is
// written again at the end, as soon as less than half of the log is needed: then every byte that is
// copied frees at least one, however the groups behave.
namespace pangu::raft {
namespace {

constexpr u64 kPieceBytes = kMiB;

}  // namespace

// The table of the next segment says all about the groups that the first one did.
bool SharedLog::may_remove_first() const {
  const auto& list = segments_.list();
  return list.size() > 1 && list[0].live_entries == 0 && list[1].table_end > 0;
}

bool SharedLog::should_copy_first() const {
  const auto& list = segments_.list();
  return list.size() > 1 && list[1].table_end > 0 &&
         segments_.record_bytes() > 2 * segments_.live_bytes() + 2 * options_.segment_bytes;
}

bool SharedLog::lives_at(GroupId group, LogId id, const Place& place) const {
  const GroupLog* log = groups_.find(group);
  return log != nullptr && log->holds(id.index) && log->summary.holds(id) &&
         log->place_of(id.index) == place;
}

Task<void> SharedLog::reclaim_loop() {
  constexpr Duration kRetryAfter = seconds(1);
  while (!closed()) {
    Status outcome = ok_status();
    if (may_remove_first()) {
      outcome = remove_first();
      co_await yield_now();
    } else if (should_copy_first()) {
      const u32 first = segments_.list().front().number;
      outcome = co_await copy_live(first);
    } else {
      co_await reclaim_due_.wait();
      continue;
    }
    if (!outcome.ok() && !closed()) {
      // Nothing is lost by it: the log only stays larger than it should be.
      LOG_WARN("{}: an old Raft log segment could not be given up: {}", options_.directory,
               outcome.error().message());
      co_await stopping_.wait(reactor_.now() + kRetryAfter);
    }
  }
}

Status SharedLog::remove_first() {
  const LogSegment& first = segments_.list().front();
  readers_.erase(first.number);
  TRY_VOID(reactor_.env().files().remove(first.path));
  segments_.list().pop_front();
  ++counters_.segments_removed;
  return ok_status();
}

Task<Status> SharedLog::copy_live(u32 segment) {
  REACHED("raft log: entries of idle groups copied out of an old segment");
  const u64 end = segments_.at(segment).bytes;
  u64 offset = segments_.at(segment).table_end;
  u64 piece_bytes = kPieceBytes;
  const auto damaged = [this, segment](u64 at) {
    return Error(Code::kCorrupt, fmt::format("Raft log segment {}: the record at offset {} is "
                                             "damaged; restore this file, or take this member out "
                                             "of its groups",
                                             segments_.at(segment).path, at));
  };
  while (offset < end && segments_.list().front().live_entries > 0) {
    auto read = co_await read_at(segment, offset, std::min(piece_bytes, end - offset));
    CO_TRY(piece, std::move(read));
    u64 next = offset;
    auto copied = co_await copy_piece(segment, piece, offset, next);
    CO_TRY_VOID(std::move(copied));
    if (next == offset) {  // a record larger than the piece
      const bool header = piece.size() >= sizeof(RecordHeader);
      const u64 needs =
          header ? record_bytes(load_le<RecordHeader>(piece.data()).length) : piece.size();
      if (needs <= piece.size() || offset + needs > end) {
        co_return damaged(offset);
      }
      piece_bytes = needs;
      continue;
    }
    piece_bytes = kPieceBytes;
    offset = next;
  }
  co_return segments_.list().front().live_entries == 0 ? ok_status() : Status(damaged(end));
}

// Copies what lives of the whole records in `piece`, which stands at offset `at`. Sets `next` to
// where they end.
Task<Status> SharedLog::copy_piece(u32 segment, Bytes piece, u64 at, u64& next) {
  Request request(Request::Kind::copy, GroupId{});
  const u32 salt = make_segment_header(options_.log, segment).crc32c;
  u64 offset = 0;
  while (const auto record = record_at(piece, offset, salt)) {
    const Place place{segment, static_cast<u32>(at + offset),
                      static_cast<u32>(record->end - record->offset)};
    const bool is_entry =
        record->header.type == RecordType::entry || record->header.type == RecordType::copy;
    if (is_entry && lives_at(record->group(), record->id(), place)) {
      CO_TRY(entry, decode_entry(*record));
      request.bytes += place.bytes;
      request.copies.push_back({std::move(entry), record->group(), place});
    }
    offset = record->end;
  }
  next = at + offset;
  if (request.copies.empty()) {
    co_return ok_status();
  }
  CO_TRY_VOID(usable());
  auto done = co_await carry_out(request);
  co_return done;
}

}  // namespace pangu::raft
