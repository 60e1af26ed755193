#include "chunk/server/registration.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "rpc/control.h"
#include "runtime/await.h"
#include "wire/partition.h"
#include "wire/proto.h"

namespace pangu::chunk {

namespace {
constexpr Duration kFirstPause = milliseconds(20);
constexpr Duration kPauseMax = milliseconds(200);
constexpr u32 kRedirectsMax = 4;
// Masters that were heard of. More than any root group has members, over its life.
constexpr size_t kMastersMax = 64;

bool is_final(Code code) {
  return code == Code::kWrongCluster || code == Code::kAuthFailed ||
         code == Code::kInvalidArgument || code == Code::kPermission;
}
}  // namespace

Registration::Registration(Reactor& reactor, BufferPool& pool, RegistrationHost& host,
                           const RegistrationOptions& options)
    : reactor_(reactor),
      pool_(pool),
      host_(host),
      options_(options),
      masters_(options.masters) {
  CHECK(!masters_.empty());
  master_ = masters_.front();
  request_client_ = {.high = reactor.env().random(), .low = reactor.env().random()};
}

Registration::~Registration() = default;

// Channels are made once the cluster id is known, so that a wrong cluster is refused at the hello.
rpc::Channel& Registration::channel(const env::Address& master) {
  std::unique_ptr<rpc::Channel>& out = channels_[master];
  if (out == nullptr) {
    const rpc::ChannelOptions channel_options{.identity = {.cluster = identity_.cluster,
                                                           .server = identity_.server,
                                                           .key = options_.key},
                                              .kind = rpc::ConnectionKind::control};
    out = std::make_unique<rpc::Channel>(reactor_, pool_, master, channel_options);
  }
  return *out;
}

Instant Registration::call_deadline(Instant deadline) const {
  const Duration timeout = options_.call_timeout * (i64{1} << std::min(timeouts_, 4u));
  return std::min(deadline, reactor_.now() + std::min(timeout, options_.call_timeout_max));
}

void Registration::next_master() {
  const auto at = std::find(masters_.begin(), masters_.end(), master_);
  const auto next = at == masters_.end() ? masters_.begin() : std::next(at);
  master_ = next == masters_.end() ? masters_.front() : *next;
}

// The master that was just asked has no member of the root group, but may know who has.
Task<void> Registration::learn_members() {
  const rpc::CallOptions call_options{.task_class = TaskClass::control,
                                      .deadline = call_deadline(Instant::never())};
  auto reply = co_await rpc::call_control<pb::GetPartitionMapReply>(
      channel(master_), wire::Method::get_partition_map, pb::GetPartitionMapRequest(),
      call_options);
  if (!reply.ok()) {
    co_return;
  }
  std::map<u64, std::string> addresses;
  for (const pb::MasterNode& node : reply->map().masters()) {
    addresses[node.node()] = node.address();
  }
  for (const pb::GroupInfo& group : reply->map().groups()) {
    if (group.group() != wire::kRootGroup) {
      continue;
    }
    for (const u64 node : group.nodes()) {
      const auto address = env::parse_address(addresses[node]);
      if (address.ok() && masters_.size() < kMastersMax &&
          std::find(masters_.begin(), masters_.end(), *address) == masters_.end()) {
        REACHED("chunkserver: a member of the root group that is not configured");
        masters_.push_back(*address);
      }
    }
  }
}

Task<Duration> Registration::after_failure(Code code, std::string text) {
  const bool silent = code == Code::kTimeout;
  if (code == Code::kStale) {
    co_await learn_members();
  }
  if (code == Code::kNotLeader) {
    const auto leader = env::parse_address(text);
    const bool known = leader.ok() && *leader != master_ && silent_ != *leader;
    if (known && redirects_ < kRedirectsMax &&
        (channels_.contains(*leader) || channels_.size() < kMastersMax)) {
      ++redirects_;
      master_ = *leader;
      co_return Duration{};
    }
  }
  redirects_ = 0;
  silent_.reset();
  if (silent) {
    REACHED("chunkserver: a master does not answer");
    silent_ = master_;
    ++timeouts_;
  }
  next_master();
  const Duration pause = kFirstPause * (i64{1} << std::min(failures_, 5u));
  ++failures_;
  co_return std::min(pause, kPauseMax);
}

Task<Status> Registration::join(ServerIdentity& identity, Instant deadline) {
  identity_ = identity;
  for (;;) {
    const env::Address asked = master_;
    const Status status = co_await register_once(deadline);
    if (status.ok()) {
      identity = identity_;
      failures_ = redirects_ = timeouts_ = 0;
      co_return status;
    }
    const Code code = status.code();
    const Duration pause = co_await after_failure(code, std::string(status.error().context()));
    if (reactor_.now() + pause >= deadline || stopping_ || is_final(code)) {
      Error error = status.error();
      co_return std::move(error).within(
          fmt::format("joining the cluster at {}", env::to_string(asked)));
    }
    if (pause.ns > 0) {
      co_await wake_.wait(reactor_.now() + pause);
    }
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
  request.set_group(wire::kRootGroup);
  for (pb::DeviceInfo& device : host_.device_infos()) {
    *request.add_devices() = std::move(device);
  }
  const rpc::CallOptions call_options{.task_class = TaskClass::control,
                                      .deadline = call_deadline(deadline)};
  auto reply = co_await rpc::call_control<pb::RegisterServerReply>(
      channel(master_), wire::Method::register_server, std::move(request), call_options);
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
    const bool registering = !registered_.is_set();
    const env::Address asked = master_;
    Status status;
    if (registering) {
      status = co_await register_once(Instant::never());
    } else {
      status = co_await heartbeat_once();
    }
    Duration pause = options_.heartbeat_period;
    if (status.ok()) {
      failures_ = redirects_ = timeouts_ = 0;
      silent_.reset();
      complained = false;
    } else if (!stopping_) {
      const Code code = status.code();
      if (!complained && code != Code::kNotLeader) {
        LOG_WARN("master {}: {}; trying again, data stays served", env::to_string(asked),
                 status.error().message());
        complained = true;
      }
      pause = co_await after_failure(code, std::string(status.error().context()));
      if (code == Code::kNotFound && !registering) {
        REACHED("chunkserver: master asks to register again");
        registered_.reset();
        master_ = asked;
        pause = kFirstPause;
      }
    }
    if (status.ok() && registering) {
      LOG_INFO("registered as server {} of cluster {}", identity_.server.number,
               to_string(identity_.cluster));
      registered_.set();
      pause = {};
    }
    if (!stopping_ && pause.ns > 0) {
      co_await wake_.wait(reactor_.now() + pause);
    }
  }
}

Task<Status> Registration::heartbeat_once() {
  pb::HeartbeatRequest request;
  request.set_server(identity_.server.number);
  request.set_address(address_);
  request.set_group(wire::kRootGroup);
  for (pb::DeviceInfo& device : host_.device_infos()) {
    *request.add_devices() = std::move(device);
  }
  const rpc::CallOptions call_options{.task_class = TaskClass::control,
                                      .deadline = call_deadline(Instant::never())};
  auto reply = co_await rpc::call_control<pb::HeartbeatReply>(
      channel(master_), wire::Method::heartbeat, std::move(request), call_options);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  co_return ok_status();
}

Task<void> Registration::stop() {
  stopping_ = true;
  wake_.wake_all();
  std::vector<rpc::Channel*> open;
  for (const auto& [address, each] : channels_) {
    open.push_back(each.get());
  }
  for (rpc::Channel* each : open) {
    co_await each->stop();
  }
  co_await gate_.close();
}

}  // namespace pangu::chunk
