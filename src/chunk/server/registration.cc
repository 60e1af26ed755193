#include "chunk/server/registration.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "rpc/control.h"
#include "runtime/await.h"
#include "wire/proto.h"

namespace pangu::chunk {

namespace {
constexpr size_t kConfirmationsMax = 10'000;
constexpr Duration kRetryPause = milliseconds(200);
}  // namespace

Registration::Registration(Reactor& reactor, BufferPool& pool, RegistrationHost& host,
                           const RegistrationOptions& options)
    : reactor_(reactor), pool_(pool), host_(host), options_(options) {
  CHECK(!options_.masters.empty());
  request_client_ = {.high = reactor.env().random(), .low = reactor.env().random()};
}

Registration::~Registration() = default;

// Channels are made once the cluster id is known, so that a wrong cluster is refused at the hello.
rpc::Channel& Registration::channel() {
  if (channels_.empty()) {
    for (const env::Address& master : options_.masters) {
      const rpc::ChannelOptions channel_options{.identity = {.cluster = identity_.cluster,
                                                             .server = identity_.server,
                                                             .key = options_.key},
                                                .kind = rpc::ConnectionKind::control};
      channels_.push_back(std::make_unique<rpc::Channel>(reactor_, pool_, master, channel_options));
    }
  }
  return *channels_[master_];
}

void Registration::next_master() {
  master_ = (master_ + 1) % options_.masters.size();
}

Task<Status> Registration::join(ServerIdentity& identity, Instant deadline) {
  identity_ = identity;
  for (;;) {
    const Status status = co_await register_once(deadline);
    if (status.ok()) {
      identity = identity_;
      co_return status;
    }
    const Code code = status.code();
    if (reactor_.now() + kRetryPause >= deadline || stopping_ || code == Code::kWrongCluster ||
        code == Code::kAuthFailed || code == Code::kInvalidArgument) {
      Error error = status.error();
      co_return std::move(error).within(
          fmt::format("joining the cluster at {}", env::to_string(options_.masters[master_])));
    }
    next_master();
    co_await wake_.wait(reactor_.now() + kRetryPause);
  }
}

Task<Status> Registration::register_once(Instant deadline) {
  pb::RegisterServerRequest request;
  wire::set(*request.mutable_id()->mutable_client(), request_client_);
  request.mutable_id()->set_sequence(++sequence_);
  request.mutable_id()->set_first_unanswered(sequence_);
  request.set_server(identity_.server.number);
  wire::set(*request.mutable_identity(), identity_.identity);
  request.set_address(address_);
  request.set_rack(options_.rack);
  for (pb::DeviceInfo& device : host_.device_infos()) {
    *request.add_devices() = std::move(device);
  }
  const rpc::CallOptions call_options{
      .task_class = TaskClass::control,
      .deadline = std::min(deadline, reactor_.now() + options_.call_timeout)};
  auto reply = co_await rpc::call_control<pb::RegisterServerReply>(
      channel(), wire::Method::register_server, std::move(request), call_options);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  const Uuid cluster = wire::get(reply->cluster());
  if (cluster.is_zero() || reply->server() == 0 ||
      (!identity_.cluster.is_zero() && cluster != identity_.cluster)) {
    co_return Error(Code::kWrongCluster,
                    fmt::format("the master belongs to cluster {}, this chunkserver to {}",
                                to_string(cluster), to_string(identity_.cluster)));
  }
  identity_.cluster = cluster;
  identity_.server = {reply->server()};
  co_return ok_status();
}

void Registration::start(const ServerIdentity& identity, std::string address) {
  CHECK(identity.known());
  identity_ = identity;
  address_ = std::move(address);
  gate_.spawn(reactor_, "chunkserver heartbeat", TaskClass::control, loop());
}

Task<bool> Registration::wait_registered(Instant deadline) {
  const bool done = co_await registered_.wait(deadline);
  co_return done;
}

Task<void> Registration::loop() {
  bool complained = false;
  while (!stopping_) {
    Status status;
    if (registered_.is_set()) {
      status = co_await heartbeat_once();
    } else {
      status = co_await register_once(Instant::never());
      if (status.ok()) {
        LOG_INFO("registered as server {} of cluster {}", identity_.server.number,
                 to_string(identity_.cluster));
        registered_.set();
        complained = false;
        continue;
      }
    }
    if (!status.ok() && !stopping_) {
      if (!complained) {
        LOG_WARN("master {}: {}; trying again, data stays served",
                 env::to_string(options_.masters[master_]), status.error().message());
      }
      complained = true;
      if (status.code() == Code::kNotFound || status.code() == Code::kStale) {
        REACHED("chunkserver: master asks to register again");
        registered_.reset();
      }
      next_master();
    } else {
      complained = false;
    }
    const bool more = !deleted_.empty() || !finalized_.empty() || answered_;
    const Duration pause = !status.ok() || more ? kRetryPause : options_.heartbeat_period;
    if (!stopping_) {
      co_await wake_.wait(reactor_.now() + pause);
    }
  }
}

Task<Status> Registration::heartbeat_once() {
  pb::HeartbeatRequest request;
  request.set_server(identity_.server.number);
  request.set_address(address_);
  for (pb::DeviceInfo& device : host_.device_infos()) {
    *request.add_devices() = std::move(device);
  }
  const size_t deleted = deleted_.size();
  const size_t finalized = finalized_.size();
  for (const pb::ChunkOnDevice& done : deleted_) {
    *request.add_deleted() = done;
  }
  for (const pb::ChunkOnDevice& done : finalized_) {
    *request.add_finalized() = done;
  }
  const auto dead_from = host_.dead_from();
  if (dead_from) {
    *request.mutable_dead_from() = *dead_from;
  }
  const rpc::CallOptions call_options{.task_class = TaskClass::control,
                                      .deadline = reactor_.now() + options_.call_timeout};
  auto reply = co_await rpc::call_control<pb::HeartbeatReply>(channel(), wire::Method::heartbeat,
                                                              std::move(request), call_options);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  deleted_.erase(deleted_.begin(), deleted_.begin() + static_cast<std::ptrdiff_t>(deleted));
  finalized_.erase(finalized_.begin(), finalized_.begin() + static_cast<std::ptrdiff_t>(finalized));
  answered_ = reply->has_dead();
  if (answered_) {
    host_.take_dead(reply->dead());
  }
  co_await carry_out(std::move(*reply));
  co_return ok_status();
}

Task<void> Registration::carry_out(pb::HeartbeatReply orders) {
  for (const pb::ChunkOnDevice& order : orders.delete_chunks()) {
    if (stopping_ || deleted_.size() >= kConfirmationsMax) {
      co_return;
    }
    const bool done =
        co_await host_.delete_chunk(wire::get(order.device()), wire::get(order.chunk()));
    if (done) {
      deleted_.push_back(order);
    }
  }
  for (const pb::FinalizeOrder& order : orders.finalize_chunks()) {
    if (stopping_ || finalized_.size() >= kConfirmationsMax) {
      co_return;
    }
    const bool done = co_await host_.finalize_chunk(
        wire::get(order.device()), wire::get(order.chunk()), order.length(), order.version());
    if (done) {
      pb::ChunkOnDevice confirmed;
      *confirmed.mutable_chunk() = order.chunk();
      *confirmed.mutable_device() = order.device();
      finalized_.push_back(std::move(confirmed));
    }
  }
}

Task<void> Registration::stop() {
  stopping_ = true;
  wake_.wake_all();
  for (auto& channel : channels_) {
    co_await channel->stop();
  }
  co_await gate_.close();
}

}  // namespace pangu::chunk
