#include "master/group/group.h"

#include <algorithm>
#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/server_registry.h"

namespace pangu::master {
namespace {

constexpr Duration kStoreRetry = seconds(1);
constexpr Duration kReclaimPatience = seconds(10);

}  // namespace

Group::Group(Reactor& reactor, const GroupOptions& options, const LivenessOptions& liveness,
             std::string folder)
    : reactor_(reactor),
      options_(options),
      machine_(options.state),
      servers_(liveness, reactor.now()),
      snapshots_(reactor, std::move(folder)),
      next_cookie_(reactor.env().random()) {}

Group::~Group() = default;

// ---- open and stop ----

Task<Status> Group::open(std::unique_ptr<Kv> kv, raft::Host& host, raft::GroupId id,
                         raft::Configuration founders, const Genesis& genesis) {
  id_ = id;
  kv_ = std::move(kv);
  CO_TRY_VOID(snapshots_.open());
  auto loaded = co_await load_state(genesis);
  CO_TRY_VOID(std::move(loaded));
  const std::vector<raft::GroupId> known = host.recovered();
  const bool begins = std::find(known.begin(), known.end(), id) == known.end();
  Result<raft::Replica*> joined = Error(Code::kInternal);
  if (begins) {
    joined = co_await host.create_group(id, std::move(founders), *this);
  } else {
    joined = co_await host.open_group(id, *this);
  }
  CO_TRY(replica, std::move(joined));
  replica_ = replica;
  opened_ = true;
  gate_.spawn(reactor_, "master flush", TaskClass::background, flush_loop());
  gate_.spawn(reactor_, "master reclaim", TaskClass::background, reclaim_loop());
  gate_.spawn(reactor_, "master leadership", TaskClass::control, leadership_loop());
  co_return ok_status();
}

Task<Status> Group::load_state(const Genesis& genesis) {
  auto meta_query = [](Txn& txn) -> Result<record::Meta> { return txn.meta(); };
  auto meta = co_await query(meta_query);
  CO_TRY(found, std::move(meta));
  const Uuid known{.high = found.cluster_high(), .low = found.cluster_low()};
  if (known.is_zero()) {
    auto stored = co_await store(master::StateMachine::genesis(genesis));
    CO_TRY_VOID(std::move(stored));
  } else if (known != genesis.cluster) {
    co_return Error(Code::kWrongCluster,
                    fmt::format("the metadata store belongs to cluster {}, this master to {}",
                                to_string(known), to_string(genesis.cluster)));
  }
  auto adopted = co_await adopt_state();
  co_return adopted;
}

// What is kept in memory of the store's content.
Task<Status> Group::adopt_state() {
  auto meta_query = [](Txn& txn) -> Result<record::Meta> { return txn.meta(); };
  auto meta = co_await query(meta_query);
  CO_TRY(found, std::move(meta));
  auto servers_query = [](Txn& txn) -> Result<std::vector<record::Server>> {
    return registered_servers(txn);
  };
  auto servers = co_await query(servers_query);
  CO_TRY(registered, std::move(servers));
  applied_ = found.applied_index();
  flushed_ = applied_;
  take_meta(std::move(found));
  if (kind() == pb::GROUP_ROOT) {
    servers_.replace(registered, reactor_.now());
  }
  co_return ok_status();
}

void Group::close() {
  closing_ = true;
  closing_or_due_.wake_all();
  reclaim_due_.wake_all();
  unlocked_.wake_all();
  news_.wake_all();
  if (replica_ != nullptr) {
    replica_->changed().wake_all();
  }
}

Task<bool> Group::refresh_servers() {
  if (server_source_ == nullptr || closing_) {
    co_return false;
  }
  const bool newer = co_await server_source_->refresh(*this);
  co_return newer;
}

Task<void> Group::stop() {
  CHECK(closing_);
  co_await gate_.close();
  scans_.clear();
  replica_ = nullptr;
  if (opened_ && applied_ != flushed_) {
    const Status flushed = co_await kv_->flush();
    if (!flushed.ok()) {
      LOG_WARN("the metadata store was not flushed at the end, the next start replays more of the "
               "log: {}",
               flushed.error().message());
    }
  }
  if (kv_) {
    co_await kv_->close();
  }
}

// ---- commands ----

Status Group::check_leader() const {
  if (replica_->leads()) {
    return ok_status();
  }
  return Error(Code::kNotLeader, replica_->leader_address());
}

Task<Status> Group::read_barrier(Instant deadline) {
  if (failed_) {
    co_return *failed_;
  }
  auto passed = co_await replica_->read_barrier(deadline);
  co_return passed;
}

Task<Result<record::Outcome>> Group::execute(u32 method, std::string request, record::Offer offer,
                                             Instant deadline) {
  if (failed_) {
    co_return *failed_;
  }
  if (store_full_) {
    co_return Error(Code::kNoSpace, "the disk of the metadata store is full");
  }
  Pending pending;
  const u64 cookie = next_cookie_++;
  record::Command command;
  command.set_cookie(cookie);
  command.set_method(method);
  command.set_request(std::move(request));
  command.set_wall_clock_us(reactor_.env().wall_clock_us());
  *command.mutable_offer() = std::move(offer);
  pending_.emplace(cookie, &pending);
  auto index = co_await replica_->propose(command.SerializeAsString(), deadline);
  pending_.erase(cookie);
  if (pending.outcome) {
    co_return std::move(*pending.outcome);
  }
  if (!index.ok()) {
    co_return std::move(index).error();
  }
  // It came with a snapshot.
  co_return Error(Code::kUnknownOutcome, "the command was committed, its outcome was not seen here");
}

Task<Status> Group::apply(raft::Index index, raft::Payload bytes) {
  CHECK(index > applied_);
  record::Command command;
  if (!command.ParseFromArray(bytes.bytes().data(), static_cast<int>(bytes.size()))) {
    const Error error(Code::kCorrupt, fmt::format("command {} of the log does not parse", index));
    fail(error);
    co_return error;
  }
  auto prepared = co_await prepare(index, command);
  if (!prepared.ok()) {
    fail(prepared.error());
    co_return std::move(prepared).error();
  }
  auto stored = co_await store(prepared->batch);
  if (!stored.ok()) {
    fail(stored.error());
    co_return stored;
  }
  applied_ = index;
  ++counters_.applied;
  if (prepared->changed_server) {
    servers_.update(*prepared->changed_server, reactor_.now());
    news_.wake_all();
  }
  take_meta(std::move(prepared->meta));
  if (replica_ != nullptr && replica_->stored_bytes() >= options_.flush_log_bytes) {
    closing_or_due_.wake_all();
  }
  if (const auto waiting = pending_.find(command.cookie()); waiting != pending_.end()) {
    waiting->second->outcome = std::move(prepared->outcome);
  }
  co_return ok_status();
}

void Group::take_meta(record::Meta meta) {
  const bool fewer_locks = meta.prepared() < meta_.prepared();
  const bool more_to_do = meta.prepared() > meta_.prepared() ||
                          meta.unfinished() > meta_.unfinished() ||
                          meta.messages() > meta_.messages() ||
                          meta.short_chunks() > meta_.short_chunks() ||
                          meta.orders() > meta_.orders() ||
                          meta.map_version() != meta_.map_version();
  meta_ = std::move(meta);
  if (meta_.reclaims() > 0) {
    reclaim_due_.wake_all();
  }
  if (fewer_locks) {
    unlocked_.wake_all();
  }
  if (more_to_do) {
    news_.wake_all();
  }
}

Task<Result<Prepared>> Group::prepare(u64 index, const record::Command& command) {
  auto prepared = machine_.prepare(index, command, *kv_);
  if (prepared.ok() || prepared.code() != Code::kBusy) {
    co_return prepared;
  }
  REACHED("master: command applied by a background thread");
  ++counters_.applied_in_background;
  const std::unique_ptr<KvReader> view = kv_->blocking_view();
  auto work = [this, index, &command, &view] { return machine_.prepare(index, command, *view); };
  auto again = co_await run_in_background(work);
  co_return again;
}

// What is committed has to be applied: while the disk is full this waits.
Task<Status> Group::store(const KvBatch& batch) {
  for (;;) {
    auto stored = kv_->apply(batch, MayWait::no);
    if (stored.code() == Code::kBusy) {
      auto work = [this, &batch] { return kv_->apply(batch, MayWait::yes); };
      stored = co_await run_in_background(work);
    }
    if (stored.code() != Code::kNoSpace || closing_) {
      store_full_ = false;
      co_return stored;
    }
    REACHED("master: metadata store full, waiting for room");
    if (!store_full_) {
      LOG_ERROR("{}; changes are refused until there is room", stored.error().message());
    }
    store_full_ = true;
    auto work = [this, &batch] { return kv_->apply(batch, MayWait::yes); };
    co_await closing_or_due_.wait(reactor_.now() + kStoreRetry);
    stored = co_await run_in_background(work);
    if (stored.ok()) {
      store_full_ = false;
      co_return stored;
    }
  }
}

void Group::fail(const Error& error) {
  failed_ = Error(Code::kIoError, fmt::format("the metadata cannot be changed or read any more "
                                              "until the master is restarted: {}",
                                              error.message()));
  LOG_ERROR("{}", failed_->context());
}

// ---- background ----

Task<Status> Group::flush() {
  while (flushing_) {
    co_await flushed_list_.wait();
  }
  flushing_ = true;
  const u64 applied = applied_;
  Status flushed;
  if (applied != flushed_ && !installing_) {
    flushed = co_await kv_->flush();
    if (flushed.ok()) {
      ++counters_.flushes;
      flushed_ = std::max(flushed_, applied);
      replica_->compact();
    }
  }
  flushing_ = false;
  flushed_list_.wake_all();
  co_return flushed;
}

Task<void> Group::flush_loop() {
  while (!closing_) {
    co_await closing_or_due_.wait(reactor_.now() + options_.flush_interval);
    if (closing_) {
      break;
    }
    const Status flushed = co_await flush();
    if (!flushed.ok()) {
      LOG_WARN("flushing the metadata store: {}; trying again in {} s", flushed.error().message(),
               options_.flush_interval.seconds());
      co_await closing_or_due_.wait(reactor_.now() + kStoreRetry);
    }
  }
}

// The copy that leads frees what was removed.
Task<void> Group::reclaim_loop() {
  record::Reclaim request;
  request.set_budget(options_.reclaim_budget);
  while (!closing_ && !failed_) {
    if (meta_.reclaims() == 0 || !replica_->leads()) {
      co_await reclaim_due_.wait();
      continue;
    }
    auto outcome = co_await execute(static_cast<u32>(InternalMethod::reclaim),
                                    request.SerializeAsString(), {},
                                    reactor_.now() + kReclaimPatience);
    if (!outcome.ok() && !closing_) {
      co_await reclaim_due_.wait(reactor_.now() + kStoreRetry);
    }
  }
}

// Heartbeats go to the leader only: a new one knows nothing yet of who is alive.
Task<void> Group::leadership_loop() {
  bool led = false;
  while (!closing_) {
    const bool leads = replica_->leads();
    if (leads && !led) {
      LOG_INFO("this master leads group {} now (term {})", id_.value(), replica_->term().number);
      servers_.begin_again(reactor_.now());
      reclaim_due_.wake_all();
    } else if (led && !leads) {
      LOG_INFO("this master does not lead group {} any more", id_.value());
    }
    led = leads;
    news_.wake_all();
    unlocked_.wake_all();
    if (replica_->failure() && !failed_) {
      fail(*replica_->failure());
    }
    co_await replica_->changed().wait();
  }
}

}  // namespace pangu::master
