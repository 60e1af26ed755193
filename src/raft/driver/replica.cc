#include "raft/driver/replica.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "raft/driver/host.h"

// What users ask of a group: proposals, reads, members.
namespace pangu::raft {
namespace {

constexpr Duration kAskAgain = milliseconds(20);

}  // namespace

Replica::Replica(Host& host, GroupId group, StateMachine& machine)
    : host_(host), group_(group), machine_(machine) {}

Replica::~Replica() = default;

Status Replica::start(HardState hard_state, LogSummary log) {
  Options options = host_.options_.group;
  options.self = host_.options_.self;
  options.heartbeat = options.heartbeat * 7 / 8;  // Host::on_grid
  options.seed = host_.reactor_.env().random();
  applied_ = std::max(machine_.applied(), log.base().index);
  if (machine_.applied() < log.base().index) {
    return Error(Code::kCorrupt,
                 fmt::format("group {}: the log begins after entry {}, but the state machine is at "
                             "{}; remove this member from the group and add it anew",
                             group_.value(), log.base().index, machine_.applied()));
  }
  apply_to_ = applied_;
  applied_term_ = log.term_at(applied_).value_or(Term{});
  auto core = Core::start(options, {hard_state, std::move(log), applied_},
                          host_.log_->view(group_), host_.reactor_.now());
  if (!core.ok()) {
    return std::move(core).error().within(fmt::format("group {}: ", group_.value()));
  }
  core_ = std::move(*core);
  host_.mark_dirty(*this);
  return ok_status();
}

Status Replica::usable() const {
  if (failure_) {
    return *failure_;
  }
  if (closed_) {
    return Error(Code::kClosed, "the Raft host was stopped");
  }
  return ok_status();
}

void Replica::close() {
  closed_ = true;
  end_proposals(Error(Code::kClosed, "the Raft host was stopped"),
                Error(Code::kUnknownOutcome, "the Raft host was stopped meanwhile"));
  end_reads(Error(Code::kClosed, "the Raft host was stopped"));
  closing_.wake_all();
  applied_changed_.wake_all();
  changed_.wake_all();
}

Task<void> Replica::stop() {
  co_await gate_.close();
}

// The member is silent from now on: whoever else is in the group goes on without it.
void Replica::fail(const Error& error) {
  if (failure_) {
    return;
  }
  failure_ = Error(Code::kIoError,
                   fmt::format("group {} takes no part any more until the process is started "
                               "again: {}",
                               group_.value(), error.message()));
  LOG_ERROR("{}", failure_->context());
  end_proposals(*failure_, Error(Code::kUnknownOutcome, std::string(failure_->context())));
  end_reads(*failure_);
  host_.set_deadline(*this, Instant::never());
  closing_.wake_all();
  applied_changed_.wake_all();
  changed_.wake_all();
}

void Replica::end_proposals(const Error& queued, const Error& under_way) {
  for (const auto& proposal : queued_) {
    proposal->outcome = queued;
    proposal->done.set();
  }
  queued_.clear();
  queued_bytes_ = 0;
  for (const auto& [place, proposal] : proposed_) {
    proposal->outcome = under_way;
    proposal->done.set();
  }
  proposed_.clear();
}

void Replica::end_reads(const Error& error) {
  const auto end_all = [&](std::vector<std::shared_ptr<Read>>& reads) {
    for (const auto& read : reads) {
      read->error = error;
      read->done.set();
    }
    reads.clear();
  };
  end_all(reads_queued_);
  for (auto& [context, reads] : reads_) {
    end_all(reads);
  }
  reads_.clear();
}

// ---- what is known ----

bool Replica::leads() const {
  return core_ != nullptr && !failure_ && core_->role() == Role::leader;
}
NodeId Replica::leader() const {
  return core_ == nullptr || failure_ ? kNobody : core_->leader();
}
std::string Replica::leader_address() const {
  const auto address = host_.transport_.address(leader());
  return address ? env::to_string(*address) : "";
}
Term Replica::term() const {
  return core_ == nullptr ? Term{} : core_->term();
}
Index Replica::commit_index() const {
  return core_ == nullptr ? 0 : core_->commit();
}
Configuration Replica::configuration() const {
  return core_ == nullptr ? Configuration{} : core_->configuration();
}
u64 Replica::stored_bytes() const {
  return host_.log_->stored_bytes(group_);
}
Error Replica::not_leader() const {
  return Error(Code::kNotLeader, leader_address());
}

// ---- proposals ----

Task<Result<Index>> Replica::propose(std::string command, Instant deadline) {
  CO_TRY_VOID(usable());
  const Gate::Holder hold(gate_);
  if (command.size() > kCommandBytesMax) {
    co_return Error(Code::kTooLarge, fmt::format("a command of {} bytes; at most {} are possible",
                                                 command.size(), kCommandBytesMax));
  }
  if (!leads()) {
    co_return not_leader();
  }
  if (no_space_) {
    co_return Error(Code::kNoSpace, "the disk of the Raft log is full");
  }
  if (queued_.size() + proposed_.size() >= host_.options_.proposals_max ||
      queued_bytes_ + command.size() > host_.options_.proposal_bytes_max) {
    REACHED("raft host: too many proposals");
    co_return Error(Code::kBusy, "too many proposals wait");
  }
  auto proposal = std::make_shared<Proposal>();
  proposal->command = Payload::copy_of(command);
  proposal->deadline = deadline;
  queued_bytes_ += command.size();
  queued_.push_back(proposal);
  host_.gather_soon(*this);
  co_return co_await wait_outcome(std::move(proposal));
}

Task<Result<Index>> Replica::wait_outcome(std::shared_ptr<Proposal> proposal) {
  co_await proposal->done.wait(proposal->deadline);
  if (proposal->outcome) {
    co_return std::move(*proposal->outcome);
  }
  proposal->withdrawn = true;
  if (!proposal->proposed) {
    co_return Error(Code::kTimeout, "the deadline passed before the command was proposed");
  }
  co_return Error(Code::kUnknownOutcome,
                  "the command is in the leader's log, but was not committed and applied in time");
}

// All that came since the last time goes into the log at once.
void Replica::propose_queued() {
  gathering_ = false;
  if (core_ == nullptr || !usable().ok()) {
    return;
  }
  const Instant now = host_.reactor_.now();
  std::vector<Payload> commands;
  std::vector<std::shared_ptr<Proposal>> proposals;
  for (auto& proposal : std::exchange(queued_, {})) {
    if (proposal->withdrawn) {
      continue;
    }
    if (proposal->deadline <= now) {
      REACHED("raft host: a proposal's deadline passed in the queue");
      proposal->outcome = Error(Code::kTimeout, "the deadline passed before it was proposed");
      proposal->done.set();
      continue;
    }
    commands.push_back(proposal->command);
    proposals.push_back(std::move(proposal));
  }
  queued_bytes_ = 0;
  if (proposals.empty()) {
    return;
  }
  core_->tick(now);  // a group that wakes has to know the time
  auto proposed = core_->propose(std::move(commands));
  if (!proposed.ok()) {
    const Error error =
        proposed.code() == Code::kNotLeader ? not_leader() : std::move(proposed).error();
    for (const auto& proposal : proposals) {
      proposal->outcome = error;
      proposal->done.set();
    }
    return;
  }
  counters_.proposed += proposals.size();
  for (size_t i = 0; i < proposals.size(); ++i) {
    proposals[i]->command = Payload();
    proposals[i]->proposed = true;
    proposed_.emplace(std::pair(proposed->range.first + i, proposed->term),
                      std::move(proposals[i]));
  }
  host_.mark_dirty(*this);
}

// What is applied decides: the entry there is the proposed one or another, and an entry of a later
// term means that nothing of an earlier one can come after it (terms never go back in a log).
void Replica::settle(LogId applied) {
  const bool all = applied.term > applied_term_;
  applied_term_ = applied.term;
  for (auto it = proposed_.begin(); it != proposed_.end();) {
    const auto [index, term] = it->first;
    if (index > applied.index && !all) {
      return;
    }
    if (index > applied.index && term >= applied.term) {
      ++it;
      continue;
    }
    Proposal& proposal = *it->second;
    if (index == applied.index && term == applied.term) {
      proposal.outcome = index;
    } else if (index < applied.index) {
      REACHED("raft host: a proposal was overtaken by a snapshot");
      proposal.outcome =
          Error(Code::kUnknownOutcome, "a snapshot that may hold the command was installed");
    } else {
      REACHED("raft host: a proposal lost its place to another leader's entry");
      proposal.outcome = not_leader();
    }
    proposal.done.set();
    it = proposed_.erase(it);
  }
}

// ---- reads ----

Task<Status> Replica::read_barrier(Instant deadline) {
  CO_TRY_VOID(usable());
  const Gate::Holder hold(gate_);
  for (;;) {
    Index index = 0;
    auto asked = co_await read_index(deadline, index);
    if (asked.ok()) {
      ++counters_.reads;
      auto applied = co_await wait_applied(index, deadline);
      co_return applied;
    }
    if (asked.code() != Code::kUnavailable) {
      co_return asked;
    }
    const Instant now = host_.reactor_.now();
    if (now >= deadline) {
      co_return Error(Code::kTimeout, "no leader could be asked in time");
    }
    co_await changed_.wait(std::min(deadline, now + kAskAgain));
    CO_TRY_VOID(usable());
  }
}

// kUnavailable: nobody answered; ask again.
Task<Status> Replica::read_index(Instant deadline, Index& index) {
  if (reads_queued_.size() >= host_.options_.group.reads_max) {
    co_return Error(Code::kBusy, "too many reads wait");
  }
  auto read = std::make_shared<Read>();
  reads_queued_.push_back(read);
  host_.mark_dirty(*this);
  const bool woken = co_await read->done.wait(deadline);
  if (!woken) {
    co_return Error(Code::kTimeout, "the leader did not answer in time");
  }
  if (read->error) {
    co_return *read->error;
  }
  index = *read->index;
  co_return ok_status();
}

// All that came since the last time ask as one.
void Replica::start_reads() {
  if (reads_queued_.empty()) {
    return;
  }
  const u64 context = ++next_read_;
  core_->tick(host_.reactor_.now());
  const Status asked = core_->read_index(context);
  if (asked.ok()) {
    reads_[context] = std::move(reads_queued_);
  } else {
    for (const auto& read : reads_queued_) {
      read->error = asked.error();
      read->done.set();
    }
  }
  reads_queued_.clear();
}

Task<Status> Replica::wait_applied(Index index, Instant deadline) {
  while (applied_ < index) {
    CO_TRY_VOID(usable());
    const bool woken = co_await applied_changed_.wait(deadline);
    if (!woken) {
      co_return Error(Code::kTimeout,
                      fmt::format("entry {} was not applied in time: the state machine is at {}",
                                  index, applied_));
    }
  }
  co_return ok_status();
}

// ---- members ----

Task<Status> Replica::change_members(ConfigurationChange change, Instant deadline) {
  CO_TRY_VOID(usable());
  const Gate::Holder hold(gate_);
  if (!leads()) {
    co_return not_leader();
  }
  core_->tick(host_.reactor_.now());
  auto entered = core_->change_configuration(change);
  CO_TRY(id, std::move(entered));
  host_.mark_dirty(*this);
  auto proposal = std::make_shared<Proposal>();
  proposal->deadline = deadline;
  proposal->proposed = true;
  proposed_.emplace(std::pair(id.index, id.term), proposal);
  auto outcome = co_await wait_outcome(std::move(proposal));
  CO_TRY_VOID(std::move(outcome));
  if (change.manual_leave) {
    co_return ok_status();
  }
  auto left = co_await wait_configuration(id, deadline);
  co_return left;
}

// Until a configuration at or after `id` that is not joint is committed.
Task<Status> Replica::wait_configuration(LogId id, Instant deadline) {
  for (;;) {
    CO_TRY_VOID(usable());
    const LogSummary& log = core_->log().summary();
    if (log.configuration_index() >= id.index && !log.configuration().is_joint() &&
        log.configuration_index() <= applied_) {
      co_return ok_status();
    }
    if (log.base().index >= id.index && log.configuration_index() <= applied_) {
      co_return ok_status();
    }
    const bool woken = co_await applied_changed_.wait(deadline);
    if (!woken) {
      co_return Error(Code::kUnknownOutcome, "the change of members was not finished in time");
    }
  }
}

Task<Status> Replica::transfer(NodeId to, Instant deadline) {
  CO_TRY_VOID(usable());
  const Gate::Holder hold(gate_);
  if (!leads()) {
    co_return not_leader();
  }
  if (to == host_.self()) {
    co_return ok_status();
  }
  core_->tick(host_.reactor_.now());
  CO_TRY_VOID(core_->transfer_leader(to));
  host_.mark_dirty(*this);
  const Term term = core_->term();
  while (core_->leader() != to) {
    CO_TRY_VOID(usable());
    const bool given_up = leads() && core_->term() == term && core_->transferee() != to;
    if (given_up || host_.reactor_.now() >= deadline) {
      co_return Error(Code::kTimeout,
                      fmt::format("member {} did not take over in time", to.value()));
    }
    co_await changed_.wait(std::min(deadline, host_.reactor_.now() + kAskAgain));
  }
  co_return ok_status();
}

}  // namespace pangu::raft
