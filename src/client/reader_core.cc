#include "client/reader_core.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "client/stream_refresh.h"
#include "client/unit_reader.h"
#include "runtime/await.h"
#include "wire/unit.h"

namespace pangu::client {

namespace {

// The units of one piece fit into one frame even when it begins inside a unit.
constexpr u32 kPieceBytes = (wire::kRunUnitsMax - 1) * wire::kUnitDataMax;
constexpr size_t kPiecesAtOnce = 4;
constexpr u32 kAheadMax = 8;
constexpr Duration kRoundPause = milliseconds(20);
constexpr Duration kRoundPauseMax = milliseconds(500);
constexpr Duration kWatchFirst = milliseconds(20);
constexpr Duration kWatchMax = milliseconds(500);

}  // namespace

ReaderCore::ReaderCore(std::shared_ptr<ClientCore> core, std::string path, FileId file)
    : core_(std::move(core)), path_(std::move(path)), view_(core_->streams->get(file)) {}

Status ReaderCore::check_usable() const {
  if (core_->stopping) {
    return Error(Code::kClosed, path_ + ": the client was stopped");
  }
  return ok_status();
}

u64 ReaderCore::see() {
  seen_ = std::max(seen_, view_->length());
  return seen_;
}

Task<Result<u64>> ReaderCore::length() {
  const auto self = shared_from_this();
  CO_TRY_VOID(co_await refresh(view_->settled_length()));
  co_return see();
}

// How long the file is, and by the way where its chunks from `from` on are.
Task<Status> ReaderCore::refresh(u64 from) {
  CO_TRY_VOID(check_usable());
  if (view_->sealed()) {
    co_return ok_status();
  }
  auto done = co_await refresh_length(*core_, view_, from, ahead_, core_->op_deadline());
  if (!done.ok()) {
    co_return std::move(done).error().within(path_);
  }
  co_return ok_status();
}

Task<Result<u64>> ReaderCore::read(u64 offset, MutableBytes into) {
  const auto self = shared_from_this();
  CO_TRY_VOID(check_usable());
  if (into.empty()) {
    co_return u64{0};
  }
  const bool sequential = offset == sequential_next_;
  if (!sequential) {
    ahead_ = 1;
  }
  if (offset + into.size() > see() || offset + into.size() < offset) {
    const u64 from = view_->find(offset) ? view_->settled_length() : offset;
    CO_TRY_VOID(co_await refresh(from));
    see();
  }
  if (offset >= seen_) {
    co_return u64{0};
  }
  const u64 count = std::min<u64>(into.size(), seen_ - offset);
  const MutableBytes wanted = into.first(count);
  sequential_next_ = offset + count;
  auto done = count <= kPieceBytes ? read_piece(offset, wanted) : read_long(offset, wanted);
  auto status = co_await std::move(done);
  if (!status.ok()) {
    co_return std::move(status).error().within(path_);
  }
  core_->counters.read_bytes += count;
  if (sequential) {
    prefetch(offset + count);
  }
  co_return count;
}

Task<Status> ReaderCore::read_long(u64 offset, MutableBytes into) {
  const size_t pieces = (into.size() + kPieceBytes - 1) / kPieceBytes;
  const size_t tasks = std::min(pieces, kPiecesAtOnce);
  const auto work = std::make_shared<LongRead>(LongRead{.offset = offset, .into = into});
  const auto batch = std::make_shared<Batch>(tasks);
  for (size_t i = 0; i < tasks; ++i) {
    if (!core_->gate.spawn(core_->reactor, "read pieces", TaskClass::foreground,
                           read_pieces(shared_from_this(), work, batch))) {
      batch->finish(Error(Code::kClosed, "the client was stopped"));
    }
  }
  co_return co_await batch->wait();
}

Task<void> ReaderCore::read_pieces(std::shared_ptr<ReaderCore> keep, std::shared_ptr<LongRead> work,
                                   std::shared_ptr<Batch> batch) {
  Status status;
  while (status.ok() && !work->failed && !work->into.empty()) {
    const u64 offset = work->offset;
    const MutableBytes piece = work->into.first(std::min<size_t>(work->into.size(), kPieceBytes));
    work->into = work->into.subspan(piece.size());
    work->offset += piece.size();
    status = co_await keep->read_piece(offset, piece);
  }
  work->failed = work->failed || !status.ok();
  batch->finish(std::move(status));
}

Task<Status> ReaderCore::read_piece(u64 offset, MutableBytes into) {
  Attempt attempt{.deadline = core_->op_deadline(), .pause = kRoundPause};
  while (!into.empty()) {
    CO_TRY_VOID(check_usable());
    const auto span = view_->find(offset);
    if (!span) {
      CO_TRY_VOID(co_await find_span(offset, attempt));
      continue;
    }
    const size_t part = std::min<u64>(into.size(), span->end - offset);
    auto count = co_await read_span(*span, offset, into.first(part), attempt);
    if (!count.ok()) {
      co_return std::move(count).error();
    }
    offset += *count;
    into = into.subspan(*count);
  }
  co_return ok_status();
}

// Nothing here says where these bytes are, though they are below a length that was seen.
Task<Status> ReaderCore::find_span(u64 offset, Attempt& attempt) {
  const u32 chunks = ahead_;
  ahead_ = std::min(ahead_ * 2, kAheadMax);
  auto fetched = co_await fetch_stream(*core_, view_, offset, chunks, attempt.deadline);
  if (!fetched.ok()) {
    co_return fetched;
  }
  if (view_->find(offset)) {
    co_return ok_status();
  }
  co_await ask_replicas(*core_, view_);
  if (view_->find(offset)) {
    co_return ok_status();
  }
  if (core_->now() + kRoundPause >= attempt.deadline) {
    co_return Error(Code::kUnavailable,
                    fmt::format("no replica that answers knows the chunk at offset {}", offset));
  }
  co_await sleep_for(kRoundPause);
  co_return ok_status();
}

std::vector<size_t> ReaderCore::replicas_by_cost(const ChunkPlace& chunk) {
  struct Rank {
    i64 cost;
    size_t turn;  // equals take turns by chunk
    size_t replica;
    auto operator<=>(const Rank&) const = default;
  };
  const Instant now = core_->now();
  const size_t n = chunk.replicas.size();
  std::vector<Rank> ranks;
  for (size_t i = 0; i < n; ++i) {
    const size_t replica = (i + chunk.id.sequence) % n;
    const i64 penalty = chunk.replicas[replica].suspect ? seconds(1).ns : 0;
    const ServerId server = chunk.replicas[replica].location.server;
    ranks.push_back({core_->servers.read_cost(server, now) + penalty, i, replica});
  }
  std::sort(ranks.begin(), ranks.end());
  std::vector<size_t> out;
  for (const Rank& rank : ranks) {
    out.push_back(rank.replica);
  }
  return out;
}

Task<Result<u32>> ReaderCore::read_span(StreamView::Span span, u64 offset, MutableBytes into,
                                        Attempt& attempt) {
  attempt.troubles.clear();
  bool first = true;
  for (const size_t replica : replicas_by_cost(span.place)) {
    CO_TRY_VOID(check_usable());
    if (!first) {
      ++core_->counters.read_retries;
    }
    first = false;
    auto count = co_await read_replica(span, replica, offset, into);
    if (count.ok()) {
      co_return count;
    }
    const Code code = count.code();
    attempt.troubles += fmt::format("{}server {}: {}", attempt.troubles.empty() ? "" : "; ",
                                    to_string(span.place.replicas[replica].location.server),
                                    count.error().message());
    if (retry_class(code) == Retry::refresh_route && !attempt.refreshed) {
      REACHED("client: chunk list refreshed because a chunk was not there");
      attempt.refreshed = true;
      CO_TRY(look_again,
             co_await relocate(*core_, view_, span.place, offset, attempt.deadline));
      if (look_again) {
        co_return u32{0};
      }
    }
  }
  if (core_->now() + attempt.pause >= attempt.deadline) {
    co_return Error(Code::kUnavailable,
                    fmt::format("chunk {} cannot be read at {}: {}", to_string(span.place.id),
                                offset - span.base, attempt.troubles));
  }
  REACHED("client: a read found no replica and tries again");
  co_await sleep_for(attempt.pause);
  attempt.pause = std::min(attempt.pause * 2, kRoundPauseMax);
  co_return u32{0};
}

Task<Result<u32>> ReaderCore::read_replica(StreamView::Span span, size_t replica, u64 offset,
                                           MutableBytes into) {
  const Location location = span.place.replicas[replica].location;
  const u32 at = static_cast<u32>(offset - span.base);
  // Of an open chunk: what is known to be committed there, never more than where the next begins.
  const wire::ReadRequest request{
      .chunk = wire::to_wire(span.place.id),
      .device = location.device,
      .offset = at,
      .length = static_cast<u32>(into.size()),
      .settled_length = span.settled ? span.place.length : wire::kUnsettled,
      .epoch = 0,
      .known_committed = span.end,
      .flags = 0,
      .reserved = {}};
  const Instant start = core_->now();
  const rpc::CallOptions options{.deadline = start + core_->options.read_timeout};
  ++core_->counters.reads;
  auto reply = co_await core_->call_data<wire::ReadReply>(location.server, wire::Method::read,
                                                          request, options);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  core_->counters.read_us.add(static_cast<u64>((core_->now() - start).us()));
  if (reply->code != Code::kOk) {
    if (reply->code == Code::kCorrupt) {
      ++core_->counters.read_corrupt;
      core_->servers.note_failure(location.server, core_->now());
    }
    co_return reply->error();
  }
  auto count = copy_units(span.place, *reply->body, reply->payload.bytes(), at, into);
  if (!count.ok()) {
    REACHED("client: a reader found a damaged unit");
    ++core_->counters.read_corrupt;
    core_->servers.note_failure(location.server, core_->now());
    if (std::has_single_bit(core_->counters.read_corrupt)) {  // a warning must not become a flood
      LOG_WARN("{}: server {}: {} ({} so far)", path_, to_string(location.server),
               count.error().message(), core_->counters.read_corrupt);
    }
    co_return count;
  }
  if (*count == 0) {
    co_return Error(Code::kShort, "it has none of the bytes yet");
  }
  co_return count;
}

// A sequential reader is about to need the places of the chunks that follow.
void ReaderCore::prefetch(u64 offset) {
  const auto known = view_->known_ahead(offset);
  const u64 from = known ? known->end : offset;
  const bool enough = known && known->chunks > ahead_ / 2;
  if (fetching_ahead_ || enough || from >= view_->settled_length()) {
    return;
  }
  ahead_ = std::min(ahead_ * 2, kAheadMax);
  fetching_ahead_ = core_->gate.spawn(core_->reactor, "prefetch chunk list", TaskClass::foreground,
                                      fetch_ahead(shared_from_this(), from, ahead_));
}

Task<void> ReaderCore::fetch_ahead(std::shared_ptr<ReaderCore> keep, u64 from, u32 chunks) {
  ++core_->counters.prefetches;
  auto done = co_await fetch_stream(*core_, view_, from, chunks, core_->op_deadline());
  (void)done;  // the read that needs it will ask again, and report
  keep->fetching_ahead_ = false;
}

Task<Result<u64>> ReaderCore::read_wait(u64 offset, Instant deadline) {
  const auto self = shared_from_this();
  Duration slice = kWatchFirst;
  while (see() <= offset) {
    CO_TRY_VOID(check_usable());
    // The master tells of chunks that did not exist when the list was fetched last.
    CO_TRY_VOID(co_await length());
    const Instant now = core_->now();
    if (seen_ > offset || view_->sealed() || now >= deadline) {
      break;
    }
    co_await watch_tail(offset, std::min(slice, deadline - now));
    slice = std::min(slice * 2, kWatchMax);
  }
  co_return see();
}

// Waits at the chunk that is being written, if there is one, for `slice` at most.
Task<void> ReaderCore::watch_tail(u64 beyond, Duration slice) {
  const auto& open = view_->open();
  const auto last =
      std::find_if(open.rbegin(), open.rend(), [](const OpenChunk& chunk) { return chunk.exists; });
  if (last == open.rend() || last->ended) {
    co_await sleep_for(slice);
    co_return;
  }
  const ChunkPlace chunk = last->place;
  const size_t replica = replicas_by_cost(chunk).front();
  auto done = co_await watch_replica(*core_, view_, chunk, replica, beyond, slice);
  if (!done.ok() && !core_->stopping) {
    co_await sleep_for(std::min(slice, kRoundPause));
  }
}

}  // namespace pangu::client
