#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "client/append_pipeline.h"
#include "runtime/await.h"

// How a writer moves from chunk to chunk without telling anybody first (PROTOCOL 12, 13), and how
// it keeps a spare listed ahead.
namespace pangu::client {

namespace {
constexpr Duration kRefillPauseFirst = milliseconds(50);
constexpr Duration kRefillPauseMax = seconds(1);
constexpr size_t kSparesMax = 4;
}  // namespace

u32 AppendPipeline::suspects_in(const ChunkPlace& place) {
  const Instant now = core_.now();
  return static_cast<u32>(
      std::count_if(place.replicas.begin(), place.replicas.end(), [&](const Replica& replica) {
        return core_.servers.is_suspect(replica.location.server, now);
      }));
}

// The first spare with at most that many suspect servers; those before it are skipped for ever.
std::optional<ChunkPlace> AppendPipeline::take_spare(u32 suspects_max) {
  const auto good = std::find_if(spares_.begin(), spares_.end(), [&](const ChunkPlace& place) {
    return suspects_in(place) <= suspects_max;
  });
  if (good == spares_.end()) {
    return std::nullopt;
  }
  const auto skipped = good - spares_.begin();
  for (std::ptrdiff_t i = 0; i < skipped; ++i) {
    REACHED("client: spare skipped");
    chores_.add({.kind = Chore::Kind::release, .sequence = spares_.front().id.sequence});
    spares_.pop_front();
  }
  ChunkPlace out = std::move(spares_.front());
  spares_.pop_front();
  return out;
}

std::optional<ChunkPlace> AppendPipeline::choose_spare(Move why) {
  if (spares_.empty()) {
    return std::nullopt;
  }
  const u32 n = spares_.front().copies_max;
  const u32 a = spares_.front().copies_min;
  if (why == Move::failure) {
    // Moving must gain something: with as many suspects in the next chunk as have failed in this
    // one, staying with the others is as good.
    const ChunkPlace& place = current_->place();
    const u32 failing = current_->failing_links();
    const bool still_acknowledges = failing + place.copies_min <= place.copies_max;
    return take_spare(still_acknowledges ? failing - 1 : n - a);
  }
  for (u32 suspects = 0; suspects <= n; ++suspects) {
    if (auto spare = take_spare(suspects)) {
      return spare;
    }
  }
  return std::nullopt;
}

void AppendPipeline::leave_current() {
  const u64 base = current_->base();
  const u64 end = queue_.acked();
  const ChunkPlace& place = current_->place();
  CHECK(end >= base);
  history_.push_back({.sequence = place.id.sequence, .base = base});
  core_.committed.note(place, end);
  chores_.add({.kind = Chore::Kind::report,
               .sequence = place.id.sequence,
               .base = base,
               .length = static_cast<u32>(end - base),
               .suspects = current_->lagging_servers()});
  current_->leave();
  current_.reset();
}

// Goes to the next listed chunk if there is one worth going to.
bool AppendPipeline::move_on(Move why) {
  if (closing_ && why == Move::failure && queue_.empty()) {
    return false;  // nothing more will be written
  }
  auto next = history_.size() < wire::kHistoryMax ? choose_spare(why) : std::nullopt;
  if (!next) {
    refill_spares();
    return false;
  }
  if (current_ != nullptr) {
    if (why == Move::failure) {
      REACHED("client: moved to another chunk after a failure");
      ++core_.counters.switches;
    } else {
      ++core_.counters.chunks_filled;
    }
    leave_current();
  }
  // Base = acknowledged, exactly, at this instant; nothing below was or will be sent again.
  queue_.uncut();
  current_ =
      std::make_shared<ChunkWriter>(core_, *this, std::move(*next), queue_.acked(), history_);
  acknowledged_since_cut_ = true;
  refill_spares();
  return true;
}

void AppendPipeline::on_trouble(const Error& error) {
  last_trouble_ = error;
  if (trouble_since_ == Instant::never()) {
    trouble_since_ = core_.now();
  }
  core_.refresh_servers_soon();
  pump();
  waiters_.wake_all();
}

void AppendPipeline::on_settled(u32 sequence) {
  std::erase_if(history_, [&](const ChunkUse& use) { return use.sequence == sequence; });
}

void AppendPipeline::refill_spares() {
  if (failure_ || closing_ || allocating_ || spares_.size() >= kSparesMax ||
      (!spares_.empty() && core_.now() < refill_not_before_)) {
    return;
  }
  const auto clean = std::count_if(spares_.begin(), spares_.end(), [&](const ChunkPlace& place) {
    return suspects_in(place) == 0;
  });
  const u32 wanted = std::max<u32>(core_.options.spare_chunks, 1);
  if (static_cast<u64>(clean) >= wanted) {
    return;
  }
  allocating_ = core_.gate.spawn(core_.reactor, "allocate spare", TaskClass::control,
                                 allocate(shared_from_this(), wanted - static_cast<u32>(clean)));
}

// `keep` holds this.
Task<void> AppendPipeline::allocate(std::shared_ptr<AppendPipeline> keep, u32 count) {
  Duration pause = kRefillPauseFirst;
  while (!failure_ && !core_.stopping) {
    auto done = co_await keep->allocate_once(count);
    if (done.ok() || failure_ || closing_) {
      break;
    }
    if (done.code() == Code::kWrongEpoch) {
      on_wrong_epoch();
      break;
    }
    LOG_INFO("{}: no spare chunk yet: {}", path_, done.error().message());
    last_trouble_ = std::move(done).error();
    co_await sleep_for(pause);
    pause = std::min(pause * 2, kRefillPauseMax);
  }
  allocating_ = false;
  waiters_.wake_all();
  pump();
}

Task<Status> AppendPipeline::allocate_once(u32 count) {
  pb::AllocateChunksRequest request;
  request.set_epoch(epoch_.number);
  request.set_count(count);
  const std::vector<ServerId> excluded = core_.servers.suspects(core_.now());
  for (const ServerId server : excluded) {
    request.add_exclude_servers(server.number);
  }
  auto reply = co_await core_.change_stream<pb::AllocateChunksReply>(
      file_, wire::Method::allocate_chunks, std::move(request), core_.op_deadline());
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  core_.servers.learn_all(reply->servers());
  CO_TRY(chunks, read_chunks(reply->chunks(), file_));
  co_await core_.locate(chunks);
  const bool clean = adopt_spares(std::move(chunks));
  if (!clean && excluded == core_.servers.suspects(core_.now())) {
    // Nowhere better to go for the moment: ask again, but not in a circle.
    refill_not_before_ = core_.now() + kRefillPauseMax;
  }
  co_return ok_status();
}

// Whether one of them stands on good servers only.
bool AppendPipeline::adopt_spares(std::vector<ChunkPlace> chunks) {
  bool clean = false;
  for (ChunkPlace& chunk : chunks) {
    if (chunk.state != ChunkState::open || chunk.owner != epoch_ || chunk.limit == 0 ||
        chunk.id.sequence <= last_sequence_) {
      LOG_WARN("{}: the master listed chunk {}, which is not ours to write to", path_,
               to_string(chunk.id));
      continue;
    }
    last_sequence_ = chunk.id.sequence;
    clean = clean || suspects_in(chunk) == 0;
    spares_.push_back(std::move(chunk));
  }
  // A spare on a server that failed would only stand in a takeover's way.
  while (clean && spares_.size() > 1 && suspects_in(spares_.front()) > 0) {
    chores_.add({.kind = Chore::Kind::release, .sequence = spares_.front().id.sequence});
    spares_.pop_front();
  }
  return clean;
}

}  // namespace pangu::client
