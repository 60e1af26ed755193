#include "raft/driver/host.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::raft {
namespace {

constexpr Duration kHandOverStep = milliseconds(20);

TransportOptions transport_options(const HostOptions& options) {
  TransportOptions out = options.transport;
  out.self = options.self;
  out.cluster = options.cluster;
  return out;
}

}  // namespace

Host::Tick::Tick(Host* h)
    : Timer([](Timer* timer) noexcept {
        Host& owner = *static_cast<Tick*>(timer)->host;
        owner.tick_due_ = true;
        owner.tick_at_ = Instant::never();
        owner.work_.wake_all();
      }),
      host(h) {}

Host::Host(Reactor& reactor, HostOptions options, std::unique_ptr<LogStore> log, PeerCalls& calls)
    : reactor_(reactor),
      options_(std::move(options)),
      log_(std::move(log)),
      calls_(calls),
      transport_(reactor, transport_options(options_), calls, *this) {}

Host::~Host() = default;

// ---- beginning and end ----

Task<Status> Host::open() {
  CHECK(!opened_);
  auto done = co_await log_->open();
  CO_TRY_VOID(std::move(done));
  recovered_ = log_->take_recovered();
  opened_ = true;
  gate_.spawn(reactor_, "raft drive", TaskClass::control, drive_loop());
  gate_.spawn(reactor_, "raft gather", TaskClass::foreground, gather_loop());
  gate_.spawn(reactor_, "raft maintain", TaskClass::background, maintenance_loop());
  co_return ok_status();
}

std::vector<GroupId> Host::recovered() const {
  std::vector<GroupId> out;
  for (const auto& [group, found] : recovered_) {
    out.push_back(group);
  }
  return out;
}

Task<Result<Replica*>> Host::create_group(GroupId group, Configuration members,
                                          StateMachine& machine) {
  CHECK(opened_);
  if (closing_) {
    co_return Error(Code::kClosed, "the Raft host was stopped");
  }
  if (find(group) != nullptr || recovered_.contains(group)) {
    co_return Error(Code::kAlreadyExists, fmt::format("group {}", group.value()));
  }
  SnapshotMeta base;
  base.configuration = std::move(members);
  auto created = co_await log_->create_group(group, base);
  CO_TRY_VOID(std::move(created));
  auto started = co_await start_member(group, {HardState{}, LogSummary(base)}, machine);
  co_return started;
}

Task<Result<Replica*>> Host::open_group(GroupId group, StateMachine& machine) {
  CHECK(opened_);
  auto found = recovered_.extract(group);
  if (found.empty()) {
    co_return Error(Code::kNotFound, fmt::format("the Raft log has no group {}", group.value()));
  }
  LogStore::Recovered recovered = std::move(found.mapped());
  auto finished = co_await finish_install(group, recovered, machine);
  CO_TRY_VOID(std::move(finished));
  auto started = co_await start_member(group, std::move(recovered), machine);
  co_return started;
}

Task<Result<Replica*>> Host::start_member(GroupId group, LogStore::Recovered found,
                                          StateMachine& machine) {
  if (closing_) {
    co_return Error(Code::kClosed, "the Raft host was stopped");
  }
  auto replica = std::make_unique<Replica>(*this, group, machine);
  CO_TRY_VOID(replica->start(found.hard_state, std::move(found.log)));
  Replica* out = replica.get();
  replicas_.emplace(group, std::move(replica));
  if (failure_) {
    out->fail(*failure_);
  }
  co_return out;
}

Task<Status> Host::remove_group(GroupId group) {
  const auto found = replicas_.find(group);
  if (found == replicas_.end()) {
    co_return Error(Code::kNotFound, fmt::format("group {} is not open here", group.value()));
  }
  Replica& replica = *found->second;
  replica.close();
  co_await replica.stop();
  forget(replica);
  auto removed = co_await log_->remove_group(group);
  replicas_.erase(group);
  forget_install(group);
  co_return removed;
}

void Host::forget(Replica& replica) {
  std::erase(dirty_, &replica);
  std::erase(gathering_, &replica);
  deadlines_.erase({replica.deadline_, replica.group_});
  for (const NodeId node : replica.watched_.members()) {
    if (node != options_.self) {
      transport_.unwatch(node);
    }
  }
}

Replica* Host::find(GroupId group) {
  const auto found = replicas_.find(group);
  return found == replicas_.end() ? nullptr : found->second.get();
}

void Host::set_address(NodeId node, const env::Address& address) {
  transport_.set_address(node, address);
}

Task<void> Host::hand_over(Instant deadline) {
  const auto led = [&] {
    return std::any_of(replicas_.begin(), replicas_.end(), [](const auto& item) {
      return item.second->leads() && item.second->configuration().voters.size() > 1;
    });
  };
  while (led() && !closing_ && reactor_.now() < deadline) {
    for (const auto& [group, replica] : replicas_) {
      replica->give_away();
    }
    co_await closing_list_.wait(std::min(deadline, reactor_.now() + kHandOverStep));
  }
}

Task<void> Host::stop() {
  closing_ = true;
  for (const auto& [group, replica] : replicas_) {
    replica->close();
  }
  tick_.cancel();
  work_.wake_all();
  gather_work_.wake_all();
  closing_list_.wake_all();
  co_await calls_.stop();
  co_await transport_.stop();
  if (opened_) {
    co_await log_->stop();
  }
  for (const auto& [group, replica] : replicas_) {
    co_await replica->stop();
  }
  co_await gate_.close();
}

// The promise of every acknowledgement was a durable log.
void Host::fail(const Error& error) {
  if (failure_) {
    return;
  }
  failure_ = Error(Code::kIoError, fmt::format("the Raft log failed, end this process and start it "
                                               "again: {}",
                                               error.message()));
  for (const auto& [group, replica] : replicas_) {
    replica->fail(error);
  }
  failed_list_.wake_all();
}

// ---- driving ----

void Host::mark_dirty(Replica& replica) {
  if (!replica.dirty_) {
    replica.dirty_ = true;
    dirty_.push_back(&replica);
    work_.wake_all();
  }
}

void Host::gather_soon(Replica& replica) {
  if (!replica.gathering_) {
    replica.gathering_ = true;
    gathering_.push_back(&replica);
    gather_work_.wake_all();
  }
}

// See invariant 2. A leader's deadline is its next heartbeat, after less than the interval: rounded
// up to the grid it is the interval, and so for every group that is led from here.
Instant Host::on_grid(const Replica& replica, Instant deadline) const {
  if (deadline == Instant::never()) {
    return deadline;
  }
  const Duration interval = options_.group.heartbeat;
  const i64 grain = replica.leads() ? interval.ns : std::max<i64>(interval.ns / 8, 1);
  return Instant{(deadline.ns + grain - 1) / grain * grain};
}

void Host::set_deadline(Replica& replica, Instant deadline) {
  deadline = on_grid(replica, deadline);
  if (replica.deadline_ == deadline) {
    return;
  }
  deadlines_.erase({replica.deadline_, replica.group_});
  replica.deadline_ = deadline;
  if (deadline != Instant::never()) {
    deadlines_.emplace(deadline, replica.group_);
  }
  arm_timer();
}

void Host::arm_timer() {
  if (deadlines_.empty() || closing_) {
    return;
  }
  const Instant when = deadlines_.begin()->first;
  if (when < tick_at_) {
    tick_at_ = when;
    tick_.arm(reactor_, when);
  }
}

void Host::take_ticks() {
  tick_due_ = false;
  ++counters_.ticks;
  const Instant now = reactor_.now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const GroupId group = deadlines_.begin()->second;
    Replica& replica = *replicas_.at(group);
    deadlines_.erase(deadlines_.begin());
    replica.deadline_ = Instant::never();
    replica.tick(now);
  }
  arm_timer();
}

Task<void> Host::drive_loop() {
  while (!closing_) {
    if (tick_due_) {
      take_ticks();
    }
    if (dirty_.empty()) {
      co_await work_.wait();
      continue;
    }
    Replica* replica = dirty_.front();
    dirty_.pop_front();
    ++counters_.drives;
    replica->drive();
    co_await yield_if_expired();
  }
}

Task<void> Host::gather_loop() {
  while (!closing_) {
    if (gathering_.empty()) {
      co_await gather_work_.wait();
      continue;
    }
    Replica* replica = gathering_.front();
    gathering_.pop_front();
    replica->propose_queued();
  }
}

Task<void> Host::maintenance_loop() {
  while (!closing_) {
    co_await closing_list_.wait(reactor_.now() + options_.maintenance);
    if (closing_) {
      break;
    }
    std::vector<GroupId> groups;
    for (const auto& [group, replica] : replicas_) {
      groups.push_back(group);
    }
    for (const GroupId group : groups) {
      if (Replica* replica = find(group)) {
        replica->maintain(reactor_.now());
      }
      co_await yield_if_expired();
    }
  }
}

// ---- peers ----

void Host::watch(Replica& replica) {
  const Configuration& now = replica.core_->configuration();
  if (replica.watched_ == now) {
    return;
  }
  for (const NodeId node : now.members()) {
    if (node != options_.self) {
      transport_.watch(node);
    }
  }
  for (const NodeId node : replica.watched_.members()) {
    if (node != options_.self) {
      transport_.unwatch(node);
    }
  }
  replica.watched_ = now;
}

void Host::on_unreachable(NodeId peer) {
  for (const auto& [group, replica] : replicas_) {
    replica->peer_unreachable(peer);
  }
}

bool Host::handles(wire::Method method) {
  return method == wire::Method::raft_messages || method == wire::Method::raft_snapshot_begin ||
         method == wire::Method::raft_snapshot_piece;
}

Task<rpc::Reply> Host::handle(rpc::Request request) {
  if (closing_ || !opened_) {
    co_return rpc::Reply(Error(Code::kClosed, "the Raft host is stopped"));
  }
  const Gate::Holder hold(gate_);
  if (request.method == wire::Method::raft_messages) {
    co_return co_await take_messages(std::move(request.body));
  }
  if (request.method == wire::Method::raft_snapshot_begin) {
    co_return co_await give_manifest(std::move(request.body));
  }
  if (request.method == wire::Method::raft_snapshot_piece) {
    co_return co_await give_piece(std::move(request.body));
  }
  co_return rpc::Reply(Error(Code::kUnknownMethod));
}

Status Host::check(const Envelope& envelope) {
  if (envelope.cluster != options_.cluster) {
    ++counters_.refused;
    return Error(Code::kWrongCluster, fmt::format("this Raft host belongs to cluster {}",
                                                  to_string(options_.cluster)));
  }
  if (envelope.to != options_.self) {
    REACHED("raft host: a message for another node came");
    ++counters_.refused;
    return Error(Code::kInvalidArgument,
                 fmt::format("this is Raft node {}, not {}", options_.self.value(),
                             envelope.to.value()));
  }
  return ok_status();
}

Task<rpc::Reply> Host::take_messages(Slice body) {
  auto batch = decode_batch(body.bytes());
  if (!batch.ok()) {
    ++counters_.refused;
    co_return rpc::Reply(batch.error());
  }
  const Status meant = check(batch->envelope);
  if (!meant.ok()) {
    co_return rpc::Reply(meant.error());
  }
  ++counters_.batches_received;
  counters_.messages_received += batch->messages.size();
  for (GroupMessage& each : batch->messages) {
    if (Replica* replica = find(each.group)) {
      replica->step(std::move(each.message));
    } else {
      ++counters_.unknown_group;
    }
  }
  if (batch->hold) {
    body.reset();
    co_await closing_list_.wait(reactor_.now() + options_.transport.hold);
  }
  co_return rpc::Reply();
}

Task<rpc::Reply> Host::give_manifest(Slice body) {
  auto decoded = decode_snapshot_begin(body.bytes());
  if (!decoded.ok()) {
    ++counters_.refused;
    co_return rpc::Reply(decoded.error());
  }
  const Status meant = check(decoded->envelope);
  if (!meant.ok()) {
    co_return rpc::Reply(meant.error());
  }
  Replica* replica = find(decoded->group);
  if (replica == nullptr) {
    co_return rpc::Reply(Error(Code::kNotFound, "the group is not open here"));
  }
  co_return co_await replica->serve_begin(decoded->index);
}

Task<rpc::Reply> Host::give_piece(Slice body) {
  auto decoded = decode_snapshot_read(body.bytes());
  if (!decoded.ok()) {
    ++counters_.refused;
    co_return rpc::Reply(decoded.error());
  }
  const Status meant = check(decoded->envelope);
  if (!meant.ok()) {
    co_return rpc::Reply(meant.error());
  }
  Replica* replica = find(decoded->group);
  if (replica == nullptr) {
    co_return rpc::Reply(Error(Code::kNotFound, "the group is not open here"));
  }
  co_return co_await replica->serve_piece(*decoded);
}

}  // namespace pangu::raft
