#include "client/replica_link.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "client/chunk_writer.h"
#include "wire/unit.h"

namespace pangu::client {

namespace {

constexpr size_t kFlightsMax = 16;
constexpr u32 kGapsMax = 3;
constexpr Duration kPauseFirst = milliseconds(5);
constexpr Duration kPauseMax = milliseconds(500);

// Errors after which the very same bytes may be sent to the same replica again.
bool may_recover(Code code) {
  return code == Code::kConnectionLost || code == Code::kConnectFailed || code == Code::kTimeout ||
         code == Code::kBusy || code == Code::kGap;
}

}  // namespace

ReplicaLink::Alarm::Alarm(ReplicaLink* o)
    : Timer([](Timer* timer) noexcept {
        ReplicaLink& link = *static_cast<Alarm*>(timer)->owner;
        if (link.state_ == State::resting) {
          link.state_ = State::active;
        }
        link.pump();
      }),
      owner(o) {}

ReplicaLink::ReplicaLink(ChunkWriter& chunk, size_t index)
    : chunk_(chunk), index_(index), pause_(kPauseFirst) {}

void ReplicaLink::stop() {
  stopped_ = true;
  alarm_.cancel();
}

void ReplicaLink::give_up() {
  state_ = State::lost;
  alarm_.cancel();
}

void ReplicaLink::pump() {
  if (stopped_ || state_ != State::active || alarm_.armed()) {
    return;
  }
  while (next_ < chunk_.cut_length_ && flights_.size() < kFlightsMax) {
    const Run* run = chunk_.run_at(next_);
    if (run == nullptr) {
      fail(Error(Code::kGap, "it needs bytes that are not kept any longer"), State::lost);
      return;
    }
    if (run->offset == next_) {
      send(*run);
      continue;
    }
    // It has a part of the run: the rest from a unit boundary on.
    const u32 skip = next_ - run->offset;
    if (skip % wire::kUnitDataMax != 0) {
      fail(Error(Code::kConflict, fmt::format("it stands at {}, inside a unit", next_)),
           State::lost);
      return;
    }
    REACHED("client: run resent from its middle");
    const u32 units = skip / wire::kUnitDataMax;
    const size_t bytes = size_t{units} * wire::kUnitBytes;
    send(Run{.offset = next_,
             .length = run->length - skip,
             .unit_index = run->unit_index + units,
             .unit_count = run->unit_count - units,
             .units = run->units.part(bytes, run->units.size() - bytes)});
  }
}

void ReplicaLink::send(const Run& run) {
  const u64 number = next_flight_++;
  flights_.push_back({.number = number, .offset = run.offset, .end = run.end()});
  next_ = run.end();
  ClientCore& core = chunk_.core_;
  ++core.counters.run_sends;
  if (run.offset < sent_end_) {
    ++core.counters.resends;
  }
  sent_end_ = std::max(sent_end_, run.end());
  core.gate.spawn(core.reactor, "append run", TaskClass::foreground,
                  exchange(chunk_.shared_from_this(), run, number));
}

Task<void> ReplicaLink::exchange(std::shared_ptr<ChunkWriter> chunk, Run run, u64 number) {
  if (stopped_) {
    co_return;  // the chunk was left before this went out
  }
  ClientCore& core = chunk->core_;
  const wire::AppendRequest request = chunk->request_of(run, index_);
  const bool longer = request.history_count > 0;
  const std::string long_body = longer ? chunk->with_history(request) : std::string();
  const Bytes body = longer ? as_bytes_of(std::string_view(long_body)) : as_bytes_of(request);
  const wire::WirePieces wire_pieces = wire::wire_pieces_of(run.units.bytes());
  rpc::Payload payload{
      .owner = run.units, .pieces = wire_pieces.pieces, .count = wire_pieces.count};
  const rpc::CallOptions options{.deadline = core.now() + core.options.append_timeout};
  const ServerId server = chunk->place_.replicas[index_].location.server;
  auto response =
      co_await core.call_server(server, wire::Method::append, body, std::move(payload), options);
  if (!stopped_) {
    on_answer(number, std::move(response));
  }
}

void ReplicaLink::on_answer(u64 number, Result<rpc::Response> response) {
  auto reply = ClientCore::read_reply<wire::AppendReply>(std::move(response));
  const Code code = reply.ok() ? reply->code : reply.code();
  if (code == Code::kFenced) {
    chunk_.on_fenced(reply.ok() && reply->body ? reply->body->fence : 0);
    return;  // the chunk is left now
  }
  const bool stored = code == Code::kOk || code == Code::kDuplicate;
  // Durable is durable, even if this flight was given up meanwhile.
  const bool advanced = stored && reply->body && take_durable(reply->body->length);
  const auto flight = std::find_if(flights_.begin(), flights_.end(),
                                   [&](const Flight& each) { return each.number == number; });
  if (flight != flights_.end()) {
    flight->answered = true;
    if (!stored) {
      flight->error.emplace(reply.ok() ? reply->error() : std::move(reply).error());
      flight->length = reply.ok() && reply->body ? reply->body->length : 0;
    } else if (durable_ < flight->end) {
      flight->error.emplace(Code::kBadFrame, "it accepted a run but not all of its bytes");
    }
    settle_flights();
  }
  if (stopped_) {
    return;
  }
  pump();
  if (advanced) {
    chunk_.on_durable();  // last: it may leave the chunk
  }
}

bool ReplicaLink::take_durable(u32 length) {
  const u32 before = durable_;
  durable_ = std::max(durable_, std::min(length, sent_end_));
  if (durable_ == before) {
    return false;
  }
  troubled_ = false;
  gaps_in_a_row_ = 0;
  pause_ = kPauseFirst;
  busy_since_ = Instant::never();
  return true;
}

void ReplicaLink::settle_flights() {
  while (!flights_.empty() && flights_.front().answered) {
    if (flights_.front().error) {
      const Flight flight = std::move(flights_.front());
      on_refused(flight);
      return;
    }
    flights_.pop_front();
  }
}

void ReplicaLink::on_refused(const Flight& flight) {
  const Code code = flight.error->code();
  const Instant now = chunk_.core_.now();
  // Behind the run's start, or inside it after a crash kept only its beginning.
  const bool elsewhere = flight.length != flight.offset && flight.length < flight.end;
  if (code == Code::kGap && elsewhere && ++gaps_in_a_row_ <= kGapsMax) {
    REACHED("client: replica answered GAP");
    resend_from(std::max(flight.length, durable_), Duration{});
    return;
  }
  if (code == Code::kBusy) {
    REACHED("client: replica answered BUSY");
    busy_since_ = std::min(busy_since_, now);
    if (now - busy_since_ < chunk_.core_.options.append_timeout) {
      resend_from(std::max(flight.offset, durable_), pause_);
      pause_ = std::min(pause_ * 2, kPauseMax);
      return;
    }
  }
  fail(*flight.error, may_recover(code) ? State::resting : State::lost);
}

// Flights that are still out belong to the past: only what their answers say about durable bytes
// will count.
void ReplicaLink::resend_from(u32 offset, Duration pause) {
  flights_.clear();
  next_ = offset;
  if (pause.ns > 0) {
    alarm_.arm(chunk_.core_.reactor, chunk_.core_.now() + pause);
  }
}

void ReplicaLink::fail(const Error& error, State into) {
  if (!troubled_) {
    const ServerId server = chunk_.place_.replicas[index_].location.server;
    LOG_INFO("chunk {}: replica on server {} failed: {}", to_string(chunk_.place_.id),
             to_string(server), error.message());
  }
  state_ = into;
  troubled_ = true;
  ++chunk_.core_.counters.replica_failures;
  if (into == State::resting) {
    resend_from(durable_, pause_);
    pause_ = std::min(pause_ * 2, kPauseMax);
    busy_since_ = Instant::never();
    gaps_in_a_row_ = 0;
  } else {
    flights_.clear();
    alarm_.cancel();
  }
  chunk_.on_trouble(*this, error);  // last: it may leave the chunk
}

}  // namespace pangu::client
