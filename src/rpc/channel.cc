#include "rpc/channel.h"

#include <fmt/format.h>

#include "base/reached.h"
#include "rpc/channel_core.h"
#include "runtime/await.h"

namespace pangu::rpc {

Channel::Channel(Reactor& reactor, BufferPool& pool, const env::Address& address,
                 const ChannelOptions& options)
    : core_(std::make_shared<ChannelCore>(reactor, pool, address, options)) {}

Channel::~Channel() {
  CHECK_NOTE(core_->stopped || core_->counters.calls == 0 || core_->reactor.abandoned(),
             "a Channel was destroyed before stop() returned");
}

Task<Result<Response>> Channel::call(wire::Method method, Bytes body, Payload payload,
                                     CallOptions options) {
  OutFrame frame{.head = {}, .payload = std::move(payload)};
  if (body.size() <= wire::kBodyBytesMax) {
    frame.head = make_head(core_->small, core_->options.kind, body.size());
    if (!body.empty()) {
      std::memcpy(frame.head.data() + wire::kHeaderBytes, body.data(), body.size());
    }
  }
  return ChannelCore::run_call(*core_, method, static_cast<u32>(body.size()), std::move(frame),
                               options);
}

bool Channel::connected() const {
  return core_->link != nullptr && core_->link->established;
}
Uuid Channel::cluster() const {
  return core_->cluster;
}
ServerId Channel::server() const {
  return core_->server;
}
const env::Address& Channel::address() const {
  return core_->address;
}
const ChannelCounters& Channel::counters() const {
  return core_->counters;
}
Duration Channel::round_trip() const {
  return core_->round_trip;
}

Task<void> Channel::stop() {
  ChannelCore& core = *core_;
  core.closed = true;
  const Error error(Code::kClosed, "the channel was stopped");
  core.fail_queued(error);
  if (core.link != nullptr) {
    core.break_link(*core.link, error);
  }
  core.changed.wake_all();
  co_await core.gate.close();
  core.stopped = true;
}

Call::Alarm::Alarm(Call* c)
    : Timer([](Timer* timer) noexcept {
        Call* late = static_cast<Alarm*>(timer)->call;
        late->core.time_out(*late);
      }),
      call(c) {}

ChannelCore::ChannelCore(Reactor& r, BufferPool& p, const env::Address& a, const ChannelOptions& o)
    : reactor(r), pool(p), address(a), options(o) {}

Task<Result<Response>> ChannelCore::run_call(ChannelCore& core, wire::Method method, u32 body_len,
                                             OutFrame frame, CallOptions options) {
  CHECK_NOTE(options.deadline != Instant::never(), "every call needs a deadline");
  CHECK_NOTE(frame.payload.count == 0 || !frame.payload.owner.empty(),
             "a payload needs a Slice that keeps it alive");
  Call call(core);
  call.method = method;
  call.options = options;
  call.body_len = body_len;
  call.payload_len =
      static_cast<u32>(frame.payload.pieces[0].size() + frame.payload.pieces[1].size());
  call.frame = std::move(frame);
  CO_TRY_VOID(core.admit(call));
  co_await call;
  co_return std::move(*call.result);
}

Status ChannelCore::admit(Call& call) {
  if (closed) {
    return Error(Code::kClosed, "the channel was stopped");
  }
  if (call.frame.head.empty() || call.payload_len > wire::kPayloadBytesMax) {
    return Error(Code::kTooLarge, fmt::format("a request of {} bytes and {} of payload",
                                              call.body_len, call.payload_len));
  }
  const Instant now = reactor.now();
  if (call.options.deadline <= now) {
    return Error(Code::kTimeout, "the deadline had passed before the call began");
  }
  const u64 bytes = call.frame.bytes();
  if (counters.calls_open >= options.calls_max ||
      counters.bytes_queued + bytes > options.queued_bytes_max) {
    REACHED("rpc: too much queued on a channel");
    return Error(Code::kBusy,
                 fmt::format("{} calls and {} bytes are queued for {}", counters.calls_open,
                             counters.bytes_queued, env::to_string(address)));
  }
  if (free_places.empty()) {
    free_places.push_back(static_cast<u32>(places.size()));
    places.emplace_back();
  }
  const u32 place = free_places.back();
  free_places.pop_back();
  Place& mine = places[place];
  mine.call = &call;
  call.id = (u64{++mine.generation} << 32) | place;
  ++counters.calls_open;
  ++counters.calls;
  counters.bytes_queued += bytes;
  queues[static_cast<size_t>(call.options.task_class)].push_back(call);
  call.alarm.arm(reactor, call.options.deadline);
  if (link != nullptr && link->established) {
    wake_sender();
  } else {
    want_link();
  }
  return ok_status();
}

Call* ChannelCore::find(u64 id) {
  const u64 place = id & 0xffffffff;
  if (place >= places.size() || places[place].call == nullptr || places[place].call->id != id) {
    return nullptr;
  }
  return places[place].call;
}

void ChannelCore::finish(Call& call, Result<Response> result) {
  call.unlink();
  call.alarm.cancel();
  if (call.link != nullptr) {
    Link& carrier = *std::exchange(call.link, nullptr);
    carrier.payload_in_flight -= call.payload_len;
    if (carrier.starved) {
      carrier.sender_wake.wake_one();
    }
  } else {
    counters.bytes_queued -= call.frame.bytes();
    call.frame = OutFrame{};
  }
  const u32 place = static_cast<u32>(call.id & 0xffffffff);
  places[place].call = nullptr;
  free_places.push_back(place);
  --counters.calls_open;
  call.result.emplace(std::move(result));
  call.context->reactor->schedule(call);
}

void ChannelCore::time_out(Call& call) {
  ++counters.timeouts;
  const std::shared_ptr<Link> carrier = call.link == nullptr ? nullptr : link;
  Error error(Code::kTimeout,
              fmt::format("{} at {}: {}", wire::to_string(call.method), env::to_string(address),
                          carrier == nullptr ? "it was not sent" : "no reply in time"));
  if (carrier == nullptr) {
    finish(call, std::move(error));
    // It may have stood in front of others.
    if (link != nullptr && link->starved) {
      link->sender_wake.wake_one();
    }
    return;
  }
  carrier->cancels.push_back(call.id);
  carrier->sender_wake.wake_one();
  if (call.sent_at >= carrier->heard_at) {
    carrier->silent_since = std::min(carrier->silent_since, call.sent_at);
  }
  finish(call, std::move(error));
  const Instant now = reactor.now();
  if (carrier->silent_since != Instant::never() &&
      now - carrier->silent_since >= options.silence_max) {
    REACHED("rpc: a silent connection was given up");
    break_link(*carrier, Error(Code::kConnectionLost,
                               fmt::format("{} has been silent for {} ms", env::to_string(address),
                                           (now - carrier->silent_since).ms())));
  }
}

void ChannelCore::fail_queued(const Error& error) {
  for (IntrusiveList<Call>& queue : queues) {
    while (Call* call = queue.front()) {
      finish(*call, error);
    }
  }
}

bool ChannelCore::has_queued() const {
  return std::any_of(queues.begin(), queues.end(),
                     [](const auto& queue) { return !queue.empty(); });
}

}  // namespace pangu::rpc
