#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "rpc/channel_core.h"
#include "runtime/await.h"

// A channel's connection: opening it, sending calls over it, taking their replies from it.
namespace pangu::rpc {

namespace {

constexpr Duration kFirstBackoff = milliseconds(5);
constexpr Duration kBackoffMax = milliseconds(200);
constexpr size_t kScratchBytes = 64 * kKiB;
// Frames that have arrived together are taken in one go, up to this many.
constexpr u32 kFramesPerSlice = 32;

// A connection attempt. The kernel may take longer over it than anybody waits; then it is left to
// its own task.
struct Dial {
  std::unique_ptr<env::Socket> socket;
  bool finished = false;
  i64 result = 0;
};

Task<void> run_dial(ChannelCore::Lease lease, std::shared_ptr<Dial> dial) {
  ChannelCore& core = *lease.core;
  dial->result = co_await async_connect(core.reactor.env(), core.address, dial->socket);
  dial->finished = true;
  core.changed.wake_all();
}

}  // namespace

void ChannelCore::want_link() {
  if (!connecting && !closed && (link == nullptr || link->broken)) {
    connecting = true;
    reactor.spawn("rpc: connect", own_class(), connect(Lease(shared_from_this())));
  }
}

// The life of one connection: opened here, then read until it ends.
Task<void> ChannelCore::connect(Lease lease) {
  ChannelCore& core = *lease.core;
  while (!core.closed && core.reactor.now() < core.next_attempt) {
    co_await core.changed.wait(core.next_attempt);
  }
  if (core.closed || !core.has_queued()) {
    core.connecting = false;
    co_return;
  }
  auto socket = co_await core.dial();
  if (!socket.ok()) {
    core.connecting = false;
    core.attempt_failed(socket.error());
    co_return;
  }
  auto link = std::make_shared<Link>(core.reactor, core.small, std::move(*socket),
                                     core.options.frame_timeout);
  core.link = link;
  const Status shaken = co_await core.shake_hands(link);
  core.connecting = false;
  if (core.closed || !shaken.ok()) {
    link->broken = true;
    link->socket->shutdown();
    core.link.reset();
    if (!core.closed) {
      core.attempt_failed(shaken.error());
    }
    co_return;
  }
  ++core.counters.connects;
  link->established = true;
  link->sender_running = true;
  core.reactor.spawn("rpc: send calls", core.own_class(), send_calls(Lease(lease.core), link));
  const Status end = co_await core.read_replies(link);
  core.break_link(*link, end.error());
  while (link->sender_running) {
    co_await link->sender_ended.wait();
  }
  link->read_stall.stop();
  link->write_stall.stop();
  link->socket.reset();
}

Task<Result<std::unique_ptr<env::Socket>>> ChannelCore::dial() {
  auto attempt = std::make_shared<Dial>();
  reactor.spawn("rpc: dial", own_class(), run_dial(Lease(shared_from_this()), attempt));
  const Instant give_up = reactor.now() + options.connect_timeout;
  while (!attempt->finished && !closed && reactor.now() < give_up) {
    co_await changed.wait(give_up);
  }
  if (closed) {
    co_return Error(Code::kClosed, "the channel was stopped");
  }
  if (!attempt->finished) {
    REACHED("rpc: a connection attempt took too long");
    co_return Error(Code::kConnectFailed,
                    fmt::format("{}: no answer within {} ms", env::to_string(address),
                                options.connect_timeout.ms()));
  }
  if (attempt->result < 0) {
    co_return Error(Code::kConnectFailed,
                    fmt::format("{}: {}", env::to_string(address),
                                std::strerror(static_cast<int>(-attempt->result))));
  }
  co_return std::move(attempt->socket);
}

Task<Status> ChannelCore::shake_hands(std::shared_ptr<Link> fresh) {
  const auto failed = [this](const Error& error) {
    // A peer that went away or says nothing is no better than one that cannot be reached.
    const bool lost = error.code() == Code::kConnectionLost || error.code() == Code::kTimeout;
    return Error(lost ? Code::kConnectFailed : error.code(),
                 fmt::format("{}: {}", env::to_string(address), error.message()));
  };
  Nonce nonce;
  store_le(nonce.data(), reactor.env().random());
  store_le(nonce.data() + sizeof(u64), reactor.env().random());
  const Hello own = make_hello(options.identity, options.kind, nonce);
  HandshakeFrame hello = encode_hello(own);
  fresh->read_stall.begin(options.connect_timeout);
  const iovec piece{hello.data(), hello.size()};
  const i64 sent = co_await async_send(*fresh->socket, std::span<const iovec>(&piece, 1));
  if (sent < 0) {
    co_return failed(Error(Code::kConnectionLost));
  }
  auto prefix = co_await fresh->reader.handshake_prefix();
  fresh->read_stall.end();
  if (!prefix.ok()) {
    co_return failed(prefix.error());
  }
  auto answer = decode_greeting(prefix->bytes(), wire::FrameType::hello_reply);
  if (!answer.ok()) {
    co_return failed(answer.error());
  }
  const Status verdict = judge_server(options.identity, own, *answer);
  if (!verdict.ok()) {
    co_return failed(verdict.error());
  }
  if (options.identity.key) {
    const Digest proof = proof_of(Side::client, *options.identity.key, own, answer->hello);
    const HandshakeFrame frame = encode_proof(proof);
    fresh->proof = small.take(frame.size());
    std::memcpy(fresh->proof.data(), frame.data(), frame.size());
  }
  fresh->server = answer->hello;
  fresh->credit = answer->hello.credit_bytes;
  fresh->reader.set_kind(options.kind);
  cluster = answer->hello.cluster;
  server = ServerId{answer->hello.server};
  counters.bytes_sent += hello.size();
  counters.bytes_received += prefix->size();
  co_return ok_status();
}

void ChannelCore::attempt_failed(const Error& error) {
  ++counters.connect_failures;
  // 5, 10, 20 … 200 ms, of which a random half: many clients of one server must not come in step.
  const u32 doublings = std::min<u32>(failures++, 6);
  const Duration longest = std::min(kFirstBackoff * (i64{1} << doublings), kBackoffMax);
  const u64 half = static_cast<u64>(longest.ns / 2);
  next_attempt =
      reactor.now() + nanoseconds(static_cast<i64>(half + reactor.env().random() % (half + 1)));
  LOG_DEBUG("connecting failed: {}", error.message());
  fail_queued(error);
}

void ChannelCore::break_link(Link& lost, const Error& error) {
  if (lost.broken) {
    return;
  }
  lost.broken = true;
  lost.socket->shutdown();
  lost.sender_wake.wake_all();
  if (link.get() == &lost) {
    // Dropped by its own tasks; the next call opens another.
    link.reset();
  }
  if (!closed && lost.established) {
    ++counters.losses;
    // At once the first time; but a server that accepts and then breaks every connection is down.
    failures = lost.answered ? 0 : failures + 1;
    if (failures > 1) {
      REACHED("rpc: connections break before the first reply");
      next_attempt = reactor.now() + kBackoffMax / 2;
    }
  }
  while (Call* call = lost.sent.front()) {
    finish(*call, closed ? Error(error)
                         : Error(Code::kConnectionLost,
                                 fmt::format("{} at {}: {}", wire::to_string(call->method),
                                             env::to_string(address), error.message())));
  }
  if (has_queued()) {
    want_link();
  }
}

void ChannelCore::wake_sender() {
  link->sender_wake.wake_one();
}

// Lower classes may use only a part of the credit, so that there is always some for Control.
bool ChannelCore::fits_credit(const Link& carrier, const Call& call) const {
  if (call.payload_len == 0 || carrier.payload_in_flight == 0) {
    return true;
  }
  u64 share = carrier.credit;
  switch (call.options.task_class) {
    case TaskClass::control:
      break;
    case TaskClass::foreground:
      share -= share / 8;
      break;
    case TaskClass::repair:
      share /= 2;
      break;
    case TaskClass::background:
      share /= 4;
      break;
  }
  return carrier.payload_in_flight + call.payload_len <= share;
}

void ChannelCore::encode_request(Call& call, Instant now) {
  const i64 left_us = std::max<i64>((call.options.deadline - now).us(), 1);
  wire::FrameHeader header{};
  header.type = wire::FrameType::request;
  header.task_class = static_cast<u8>(call.options.task_class);
  header.method = static_cast<u16>(call.method);
  header.body_len = call.body_len;
  header.payload_len = call.payload_len;
  header.time_us = static_cast<u32>(std::min<i64>(left_us, 0xffffffff));
  header.request_id = call.id;
  header.trace_high = call.options.trace_high;
  header.trace_low = call.options.trace_low;
  header.tenant = call.options.tenant;
  const Bytes body = call.frame.head.bytes().subspan(wire::kHeaderBytes, call.body_len);
  wire::encode_header(header, body, call.frame.head.data());
}

void ChannelCore::encode_cancel(Link& carrier, u64 id) {
  OutFrame frame{.head = make_head(small, options.kind, 0), .payload = {}};
  wire::FrameHeader header{};
  header.type = wire::FrameType::cancel;
  header.request_id = id;
  wire::encode_header(header, {}, frame.head.data());
  carrier.batch.add(std::move(frame));
}

void ChannelCore::fill_batch(Link& carrier) {
  if (!carrier.proof.empty()) {
    carrier.batch.add(OutFrame{.head = std::move(carrier.proof), .payload = {}});
  }
  size_t cancelled = 0;
  while (cancelled < carrier.cancels.size() && !carrier.batch.full()) {
    encode_cancel(carrier, carrier.cancels[cancelled++]);
  }
  carrier.cancels.erase(carrier.cancels.begin(),
                        carrier.cancels.begin() + static_cast<std::ptrdiff_t>(cancelled));
  const bool was_starved = std::exchange(carrier.starved, false);
  const Instant now = reactor.now();
  for (IntrusiveList<Call>& queue : queues) {
    while (Call* call = queue.front()) {
      if (carrier.batch.full()) {
        return;
      }
      if (!fits_credit(carrier, *call)) {
        counters.credit_waits += !was_starved;
        carrier.starved = true;
        break;
      }
      encode_request(*call, now);
      counters.bytes_queued -= call->frame.bytes();
      carrier.batch.add(std::exchange(call->frame, OutFrame{}));
      carrier.payload_in_flight += call->payload_len;
      call->unlink();
      call->link = &carrier;
      call->sent_at = now;
      carrier.sent.push_back(*call);
    }
    if (carrier.starved) {
      break;  // a lower class must not overtake with what the waiting one needs
    }
  }
}

Task<void> ChannelCore::send_calls(Lease lease, std::shared_ptr<Link> carrier) {
  ChannelCore& core = *lease.core;
  while (!carrier->broken) {
    core.fill_batch(*carrier);
    if (carrier->batch.empty()) {
      co_await carrier->sender_wake.wait();
      continue;
    }
    carrier->write_stall.begin(core.options.frame_timeout);
    const i64 sent = co_await async_send(*carrier->socket, carrier->batch.pieces());
    carrier->write_stall.end();
    ++core.counters.sends;
    if (sent < 0) {
      core.break_link(*carrier,
                      Error(Code::kConnectionLost, std::strerror(static_cast<int>(-sent))));
      break;
    }
    core.counters.bytes_sent += carrier->batch.bytes();
    carrier->batch.clear();
  }
  carrier->batch.clear();
  carrier->sender_running = false;
  carrier->sender_ended.wake_all();
}

Task<Status> ChannelCore::read_replies(std::shared_ptr<Link> carrier) {
  u64 seen = carrier->reader.bytes_received();
  for (u32 frames = 1;; ++frames) {
    CO_TRY(frame, co_await carrier->reader.next());
    if (carrier->broken) {
      co_return Error(Code::kConnectionLost, "closed here");
    }
    if (frame.header.type != wire::FrameType::reply) {
      co_return Error(Code::kBadFrame, fmt::format("unexpected frame of type {}",
                                                   static_cast<int>(frame.header.type)));
    }
    const bool large = frame.header.payload_len > 0;
    CO_TRY_VOID(co_await take_reply(carrier, std::move(frame)));
    counters.bytes_received += carrier->reader.bytes_received() - seen;
    seen = carrier->reader.bytes_received();
    if (large || frames % kFramesPerSlice == 0) {
      co_await yield_if_expired();
    }
  }
}

Task<Status> ChannelCore::take_reply(std::shared_ptr<Link> carrier, Frame frame) {
  const wire::FrameHeader& header = frame.header;
  carrier->answered = true;
  carrier->heard_at = reactor.now();
  carrier->silent_since = Instant::never();
  failures = 0;
  Response response{
      .code = code_from_number(header.status), .body = std::move(frame.body), .payload = {}};
  const bool wanted = find(header.request_id) != nullptr;
  if (header.payload_len > 0 && wanted) {
    auto taken = pool.try_take(header.payload_len);
    if (taken) {
      response.payload = taken->part(0, header.payload_len);
    } else {
      REACHED("rpc: no pooled buffer for a reply");
      response.payload = Slice::allocate(header.payload_len);
    }
    const std::array<iovec, 2> into = {iovec{response.payload.data(), header.payload_len}, {}};
    CO_TRY_VOID(co_await carrier->reader.payload(into, 1));
  } else if (header.payload_len > 0) {
    if (scratch.empty()) {
      scratch.resize(kScratchBytes);
    }
    CO_TRY_VOID(co_await carrier->reader.skip(header.payload_len, scratch));
  }
  if (carrier->broken) {
    co_return Error(Code::kConnectionLost, "closed here");
  }
  if (header.credit_bytes > 0) {
    carrier->credit = header.credit_bytes;
  }
  // Looked up again: its deadline may have passed while the payload came in.
  Call* call = find(header.request_id);
  const Instant now = reactor.now();
  if (call == nullptr || call->link != carrier.get()) {
    REACHED("rpc: a reply came after its call had ended");
    ++counters.late_replies;
  } else {
    if (call->options.measured) {
      const Duration took = now - call->sent_at;
      round_trip = round_trip.ns == 0 ? took : round_trip + (took - round_trip) / 8;
    }
    finish(*call, std::move(response));
  }
  co_return ok_status();
}

}  // namespace pangu::rpc
