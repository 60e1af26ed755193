#include "rpc/connection.h"

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::rpc {

namespace {
// A service without a buffer is asked again when one came back, and at the latest after this.
constexpr Duration kPlaceRetry = milliseconds(5);
// Waiting shorter than this never counts as a reason to refuse work.
constexpr Duration kDelayFloor = milliseconds(1);
// Appends are never copied: their connections carry payload all the time.
constexpr u32 kReadAheadAfter = 64;
// Frames that have arrived together are taken in one go, up to this many.
constexpr u32 kFramesPerSlice = 32;
constexpr size_t kErrorTextMax = 4096;
constexpr size_t kScratchBytes = 64 * kKiB;
// Every connection can always move one payload of any class.
constexpr u64 kRoomMin = 2 * u64{wire::kPayloadBytesMax};

void smooth(Duration& average, Duration sample) {
  average = average + (sample - average) / 8;
}

u64 control_share(u64 total) {
  return std::max<u64>(wire::kPayloadBytesMax, total / 8);
}
}  // namespace

ServerCore::ServerCore(Reactor& r, Service& s, BufferPool& p, const ServerOptions& o)
    : reactor(r),
      service(s),
      pool(p),
      options(o),
      room(std::max(o.receive_bytes_max, kRoomMin) -
           control_share(std::max(o.receive_bytes_max, kRoomMin))),
      control_room(control_share(std::max(o.receive_bytes_max, kRoomMin))) {}

u64 ServerCore::credit() const {
  const u64 fair = 2 * options.receive_bytes_max / std::max<u64>(data_connections, 1);
  return std::max<u64>(std::min(options.connection_credit_bytes, fair), wire::kPayloadBytesMax);
}

void ServerCore::note_end(const env::Address& peer, const Error& error) {
  const Instant now = reactor.now();
  if (now >= next_log) {
    next_log = now + seconds(1);
    LOG_WARN("closed the connection of {}: {}", env::to_string(peer), error.message());
  }
}

Connection::Connection(std::shared_ptr<ServerCore> core, std::unique_ptr<env::Socket> socket)
    : core_(std::move(core)),
      socket_(std::move(socket)),
      peer_(socket_->peer()),
      read_stall_(core_->reactor),
      write_stall_(core_->reactor),
      reader_(*socket_, core_->small, read_stall_, core_->options.frame_timeout, kReadAheadAfter) {
  read_stall_.watch(*socket_);
  write_stall_.watch(*socket_);
}

void Connection::close() {
  if (!closed_) {
    closed_ = true;
    socket_->shutdown();
    writer_wake_.wake_all();
    changed_.wake_all();
  }
}

Task<void> Connection::serve(Lease lease) {
  Connection& self = *lease.connection;
  ServerCore& core = *self.core_;
  Status end = co_await self.shake_hands();
  const bool shook_hands = end.ok();
  if (shook_hands) {
    const bool data = self.kind_ == ConnectionKind::data;
    TaskContext& context = co_await this_context();
    context.task_class = data ? TaskClass::foreground : TaskClass::control;
    self.writer_running_ = true;
    core.reactor.spawn("rpc: send replies", context.task_class,
                       write_replies(Lease(lease.connection)));
    end = co_await self.read_requests();
  }
  switch (end.code()) {
    case Code::kConnectionLost:
      break;
    case Code::kBadFrame:
      ++core.counters.bad_frames;
      core.note_end(self.peer_, end.error());
      break;
    case Code::kTimeout:
      ++core.counters.stalls;
      core.note_end(self.peer_, end.error());
      break;
    default:
      ++(shook_hands ? core.counters.bad_frames : core.counters.handshakes_refused);
      core.note_end(self.peer_, end.error());
      break;
  }
  self.close();
  while (self.writer_running_) {
    co_await self.writer_ended_.wait();
  }
  self.read_stall_.stop();
  self.write_stall_.stop();
  self.socket_.reset();
  self.unlink();
  --core.counters.connections_open;
  if (self.counted_as_data_) {
    --core.data_connections;
  }
}

Task<Status> Connection::send_now(HandshakeFrame frame) {
  const iovec piece{frame.data(), frame.size()};
  const i64 sent = co_await async_send(*socket_, std::span<const iovec>(&piece, 1));
  if (sent != static_cast<i64>(frame.size())) {
    co_return Error(Code::kConnectionLost, "lost while shaking hands");
  }
  core_->counters.bytes_sent += frame.size();
  co_return ok_status();
}

Task<Status> Connection::shake_hands() {
  const Identity& identity = core_->options.identity;
  read_stall_.begin(core_->options.handshake_timeout);
  CO_TRY(prefix, co_await reader_.handshake_prefix());
  auto client = decode_greeting(prefix.bytes(), wire::FrameType::hello);
  if (!client.ok() && client.code() != Code::kWrongVersion) {
    co_return std::move(client).error();
  }
  Nonce nonce;
  store_le(nonce.data(), core_->reactor.env().random());
  store_le(nonce.data() + sizeof(u64), core_->reactor.env().random());
  Hello own = make_hello(identity, ConnectionKind::control, nonce);
  Status verdict =
      client.ok() ? judge_client(identity, client->hello) : Status(client.error());
  Digest proof{};
  if (verdict.ok()) {
    own.kind = client->hello.kind;
    kind_ = static_cast<ConnectionKind>(own.kind);
    if (kind_ == ConnectionKind::data) {
      ++core_->data_connections;
      counted_as_data_ = true;
    }
    own.credit_bytes = granted_ = core_->credit();
    if (identity.key) {
      proof = proof_of(Side::server, *identity.key, client->hello, own);
    }
  }
  CO_TRY_VOID(co_await send_now(encode_hello_reply(own, verdict.code(), proof)));
  CO_TRY_VOID(std::move(verdict));
  if (identity.key) {
    CO_TRY(answer_prefix, co_await reader_.handshake_prefix());
    CO_TRY(greeting, decode_greeting(answer_prefix.bytes(), wire::FrameType::proof));
    Status proven = judge_proof(*identity.key, client->hello, own, greeting.proof);
    if (!proven.ok()) {
      CO_TRY_VOID(co_await send_now(encode_hello_reply(own, proven.code(), Digest{})));
      co_return proven;
    }
  }
  read_stall_.end();
  reader_.set_kind(kind_);
  co_return ok_status();
}

Task<Status> Connection::read_requests() {
  u64 seen = 0;
  for (u32 frames = 1;; ++frames) {
    CO_TRY(frame, co_await reader_.next());
    if (closed_) {
      co_return closed_error();
    }
    const bool large = frame.header.payload_len > 0;
    if (frame.header.type == wire::FrameType::request) {
      CO_TRY_VOID(co_await take_request(std::move(frame)));
    } else if (frame.header.type == wire::FrameType::cancel && frame.header.payload_len == 0) {
      cancel(frame.header.request_id);
    } else {
      co_return Error(Code::kBadFrame, fmt::format("unexpected frame of type {}",
                                                   static_cast<int>(frame.header.type)));
    }
    core_->counters.bytes_received += reader_.bytes_received() - seen;
    seen = reader_.bytes_received();
    if (large || frames % kFramesPerSlice == 0) {
      co_await yield_if_expired();
    }
  }
}

Task<Status> Connection::take_request(Frame frame) {
  const wire::FrameHeader& header = frame.header;
  auto active = std::make_unique<ActiveRequest>();
  active->id = header.request_id;
  Request& request = active->request;
  request.method = static_cast<wire::Method>(header.method);
  request.task_class = static_cast<TaskClass>(header.task_class);
  request.trace_high = header.trace_high;
  request.trace_low = header.trace_low;
  request.tenant = header.tenant;
  request.received = core_->reactor.now();
  request.deadline =
      header.time_us == 0 ? Instant::never() : request.received + microseconds(i64{header.time_us});
  request.body = std::move(frame.body);
  request.peer = peer_;
  ++core_->counters.requests;
  while (held_ >= core_->options.requests_per_connection_max && !closed_) {
    REACHED("rpc: too many requests on one connection, reading paused");
    co_await changed_.wait();
  }
  hold(1);
  Status allowed = check_deadline(*active, header.payload_len);
  if (!allowed.ok()) {
    Status skipped = co_await refuse(*active, header.payload_len, allowed.error());
    finish(*active);
    co_return skipped;
  }
  if (header.payload_len > 0) {
    auto taken = co_await take_payload(*active, header);
    if (!taken.ok() || !*taken) {
      finish(*active);
      if (!taken.ok()) {
        co_return std::move(taken).error();
      }
      co_return ok_status();
    }
  }
  if (closed_) {
    finish(*active);
    co_return closed_error();
  }
  active->complete = core_->reactor.slice_start();
  active_.push_back(*active);
  const TaskClass task_class = request.task_class;
  core_->reactor.spawn("rpc: handle a request", task_class,
                       run_request(Lease(shared_from_this()), std::move(active)));
  co_return ok_status();
}

// kBusy at once if requests like this one have lately waited longer than it has left.
Status Connection::check_deadline(const ActiveRequest& active, u32 payload_len) {
  const Request& request = active.request;
  if (request.deadline == Instant::never()) {
    return ok_status();
  }
  Duration& turn = core_->turn_delay[static_cast<size_t>(request.task_class)];
  Duration& room = core_->room_delay[static_cast<size_t>(request.task_class)];
  const Duration expected = payload_len > 0 ? turn + room : turn;
  const Duration left = request.deadline - request.received;
  if (expected < kDelayFloor || left >= expected) {
    return ok_status();
  }
  REACHED("rpc: refused, the deadline cannot be met");
  // Or nothing would ever be admitted again.
  turn = turn - turn / 8;
  room = room - room / 8;
  return Error(Code::kBusy, fmt::format("requests wait {} us here, this one has {} us left",
                                        expected.us(), left.us()));
}

Task<Status> Connection::refuse(ActiveRequest& active, u32 payload_len, const Error& error) {
  Reply reply(error);
  if (payload_len > 0) {
    if (core_->scratch.empty()) {
      core_->scratch.resize(kScratchBytes);
    }
    CO_TRY_VOID(co_await reader_.skip(payload_len, core_->scratch));
  }
  answer(active, std::move(reply));
  co_return ok_status();
}

Task<Result<bool>> Connection::take_payload(ActiveRequest& active,
                                            const wire::FrameHeader& header) {
  const u32 size = header.payload_len;
  const Request& request = active.request;
  const Instant give_up =
      std::min(request.deadline, request.received + core_->options.frame_timeout);
  Status allowed = co_await wait_for_room(active, size, give_up);
  if (closed_) {
    co_return closed_error();
  }
  Result<Placement> placed =
      allowed.ok() ? Result<Placement>(Placement{}) : Result<Placement>(std::move(allowed).error());
  if (placed.ok()) {
    placed = co_await wait_for_place(header, request.body.bytes(), give_up);
    if (closed_) {
      co_return closed_error();
    }
  }
  smooth(core_->room_delay[static_cast<size_t>(request.task_class)],
         core_->reactor.slice_start() > request.received
             ? core_->reactor.slice_start() - request.received
             : Duration{});
  if (!placed.ok()) {
    give_room_back(active);
    CO_TRY_VOID(co_await refuse(active, size, placed.error()));
    co_return false;
  }
  Placement& placement = *placed;
  size_t placed_bytes = 0;
  for (size_t i = 0; i < placement.count; ++i) {
    placed_bytes += placement.pieces[i].iov_len;
  }
  CHECK_NOTE(placed_bytes == size, "Service::place returned pieces of another size");
  active.request.payload = std::move(placement.buffer);
  CO_TRY_VOID(co_await reader_.payload(placement.pieces, placement.count));
  co_return true;
}

Task<Status> Connection::wait_for_room(ActiveRequest& active, u32 size, Instant give_up) {
  const auto no_room = [&] {
    return Error(active.request.deadline <= give_up ? Code::kTimeout : Code::kBusy,
                 "no room to receive the payload");
  };
  Semaphore& room = core_->room_of(active.request.task_class);
  const bool over_credit = payload_in_use_ > 0 && payload_in_use_ + size > granted_;
  if (over_credit || !room.try_take(size)) {
    ++core_->counters.payload_waits;
    while (payload_in_use_ > 0 && payload_in_use_ + size > granted_ && !closed_) {
      REACHED("rpc: a client went beyond its credit");
      const bool woken = co_await changed_.wait(give_up);
      if (!woken) {
        co_return no_room();
      }
    }
    const bool taken = co_await room.take(size, give_up);
    if (!taken) {
      co_return no_room();
    }
  }
  active.room_taken = size;
  payload_in_use_ += size;
  core_->counters.payload_bytes_open += size;
  co_return ok_status();
}

Task<Result<Placement>> Connection::wait_for_place(const wire::FrameHeader& header, Bytes body,
                                                   Instant give_up) {
  for (bool first = true;; first = false) {
    auto placed = core_->service.place(header, body);
    if (placed.ok() || placed.code() != Code::kBusy || closed_) {
      co_return placed;
    }
    const Instant now = core_->reactor.now();
    if (now >= give_up) {
      co_return placed;
    }
    if (first) {
      REACHED("rpc: no buffer for a payload, reading paused");
      ++core_->counters.payload_waits;
    }
    co_await core_->pool.room().wait(std::min(give_up, now + kPlaceRetry));
  }
}

void Connection::give_room_back(ActiveRequest& active) {
  if (active.room_taken > 0) {
    core_->room_of(active.request.task_class).give(active.room_taken);
    payload_in_use_ -= active.room_taken;
    core_->counters.payload_bytes_open -= active.room_taken;
    active.room_taken = 0;
    changed_.wake_all();
  }
}

Task<void> Connection::run_request(Lease lease, std::unique_ptr<ActiveRequest> active) {
  Connection& self = *lease.connection;
  ServerCore& core = *self.core_;
  if (self.closed_ || active->cancelled) {
    self.finish(*active);
    co_return;
  }
  active->started = true;
  const Instant now = core.reactor.now();
  smooth(core.turn_delay[static_cast<size_t>(active->request.task_class)], now - active->complete);
  if (now >= active->request.deadline) {
    REACHED("rpc: deadline passed before the request could start");
    self.answer(*active, Reply(Error(Code::kTimeout, "the deadline passed before it could start")));
    self.finish(*active);
    co_return;
  }
  // What finish() needs of it stays.
  Request request;
  request.task_class = active->request.task_class;
  request.method = active->request.method;
  std::swap(request, active->request);
  Reply reply = co_await core.service.handle(std::move(request));
  if (!active->cancelled) {
    self.answer(*active, std::move(reply));
  }
  self.finish(*active);
}

void Connection::cancel(u64 id) {
  for (ActiveRequest* each = active_.front(); each != nullptr; each = active_.next(*each)) {
    if (each->id == id) {
      each->cancelled = true;
      ++core_->counters.cancelled;
      return;
    }
  }
}

void Connection::answer(const ActiveRequest& active, Reply reply) {
  if (closed_) {
    return;
  }
  if (reply.body.size() > wire::kBodyBytesMax || reply.payload.size() > wire::kPayloadBytesMax) {
    reply = Reply(Error(Code::kTooLarge, fmt::format("a reply of {} bytes and {} of payload",
                                                     reply.body.size(), reply.payload.size())));
  }
  std::string_view body = reply.body;
  if (body.empty() && reply.code != Code::kOk) {
    body = std::string_view(reply.text).substr(0, kErrorTextMax);
  }
  OutFrame frame{.head = make_head(core_->small, kind_, body.size()), .payload = {}};
  const MutableBytes room = frame.head.mutable_bytes().subspan(wire::kHeaderBytes, body.size());
  if (!body.empty()) {
    std::memcpy(room.data(), body.data(), body.size());
  }
  wire::FrameHeader header{};
  header.type = wire::FrameType::reply;
  header.task_class = static_cast<u8>(active.request.task_class);
  header.method = static_cast<u16>(active.request.method);
  header.status = static_cast<u16>(reply.code);
  header.body_len = static_cast<u32>(body.size());
  header.payload_len = static_cast<u32>(reply.payload.size());
  header.request_id = active.id;
  const u64 credit = core_->credit();
  granted_ = std::max(granted_, credit);
  header.credit_bytes = static_cast<u32>(std::min<u64>(credit, 0xffffffff));
  wire::encode_header(header, room, frame.head.data());
  if (!reply.payload.empty()) {
    frame.payload.pieces[0] = reply.payload.bytes();
    frame.payload.count = 1;
    frame.payload.owner = std::move(reply.payload);
  }
  hold(1);  // until it has left: write_replies
  replies_.push_back(std::move(frame));
  writer_wake_.wake_one();
}

void Connection::hold(size_t requests) {
  held_ += static_cast<u32>(requests);
  core_->counters.requests_open += requests;
}

void Connection::release(size_t requests) {
  held_ -= static_cast<u32>(requests);
  core_->counters.requests_open -= requests;
  changed_.wake_all();
}

void Connection::finish(ActiveRequest& active) {
  active.unlink();
  active.request.payload.reset();
  give_room_back(active);
  release(1);
}

void Connection::fill_batch() {
  size_t taken = 0;
  while (taken < replies_.size() && !batch_.full()) {
    batch_.add(std::move(replies_[taken]));
    ++taken;
  }
  replies_.erase(replies_.begin(), replies_.begin() + static_cast<std::ptrdiff_t>(taken));
}

Task<void> Connection::write_replies(Lease lease) {
  Connection& self = *lease.connection;
  ServerCounters& counters = self.core_->counters;
  while (!self.closed_) {
    if (self.replies_.empty()) {
      co_await self.writer_wake_.wait();
      continue;
    }
    self.fill_batch();
    self.write_stall_.begin(self.core_->options.frame_timeout);
    const i64 sent = co_await async_send(*self.socket_, self.batch_.pieces());
    self.write_stall_.end();
    ++counters.sends;
    if (sent < 0) {
      self.close();
      break;
    }
    counters.bytes_sent += self.batch_.bytes();
    counters.replies += self.batch_.frames();
    self.release(self.batch_.frames());
    self.batch_.clear();
  }
  self.release(self.batch_.frames() + self.replies_.size());
  self.batch_.clear();
  self.replies_.clear();
  self.writer_running_ = false;
  self.writer_ended_.wake_all();
}

}  // namespace pangu::rpc
