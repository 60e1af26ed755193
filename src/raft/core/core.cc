#include "raft/core/core.h"

#include <fmt/format.h>

#include "base/reached.h"

namespace pangu::raft {

Result<std::unique_ptr<Core>> Core::start(const Options& options, InitialState initial,
                                          const LogView& view, Instant now) {
  CHECK(options.self != kNobody && options.heartbeat < options.election_min &&
        options.election_min < options.election_max && options.reset_min <= options.reset_max);
  const LogId base = initial.log.base();
  const LogId last = initial.log.last();
  if (initial.hard_state.commit > last.index || initial.applied > last.index) {
    return Error(Code::kCorrupt,
                 fmt::format("the log ends at {} but {} was committed and {} applied: it lost its "
                             "end; remove this member from the group and add it anew",
                             to_string(last), initial.hard_state.commit, initial.applied));
  }
  if (initial.applied < base.index) {
    return Error(Code::kCorrupt, fmt::format("the log begins after {} but the state machine is at "
                                             "{}; restore a snapshot",
                                             to_string(base), initial.applied));
  }
  return std::unique_ptr<Core>(new Core(options, std::move(initial), view, now));
}

Core::Core(const Options& options, InitialState initial, const LogView& view, Instant now)
    : options_(options),
      prng_(options.seed),
      now_(now),
      log_(std::move(initial.log), view),
      term_(initial.hard_state.term),
      vote_(initial.hard_state.vote),
      commit_(std::max(initial.hard_state.commit, initial.applied)),
      applied_(initial.applied),
      apply_handed_(initial.applied),
      forwarded_reads_(RAFT_RULE(distinct_read_ids) ? prng_.next() : 1) {
  if (log_.last().term > term_) {
    // A crash between two parts of a write: the entries came from a leader of that term.
    term_ = log_.last().term;
    vote_ = kNobody;
    ++vote_version_;
  }
  leader_heard_ = now;
  reset_election_deadline();
  const Configuration& in_force = configuration();
  if (!in_force.is_joint() && in_force.voters == std::vector{options_.self}) {
    election_deadline_ = now;  // there is nobody to wait for
  }
}

void Core::deliver(Message message) {
  if (term_and_vote_durable() || !RAFT_RULE(durable_term_and_vote)) {
    out_.messages.push_back(std::move(message));
  } else if (held_.size() < kHeldMessagesMax) {
    held_.push_back(std::move(message));
  } else {
    REACHED("raft: answers were dropped because the disk stands still");
  }
}

bool Core::has_committed_in_term() const {
  return role_ == Role::leader && commit_ >= term_start_;
}

Status Core::step(Instant now, Message message) {
  note_time(now);
  if (message.to != options_.self || message.from == kNobody || message.from == options_.self) {
    return Error(Code::kCorrupt,
                 fmt::format("not for member {}: {}", options_.self.value(), to_string(message)));
  }
  contradiction_ = ok_status();
  const Heartbeat* heartbeat = message.as<Heartbeat>();
  const HeartbeatReply* reply = message.as<HeartbeatReply>();
  const bool lets_sleep = (heartbeat != nullptr && heartbeat->quiesce) ||
                          (reply != nullptr && !reply->stay_awake) ||
                          message.as<AppendReply>() != nullptr;
  if (quiesced_ && !lets_sleep) {
    wake();
  }
  if (accept_term(message)) {
    std::visit([&](auto& body) { on(message, body); }, message.body);
  }
  return std::move(contradiction_);
}

void Core::tick(Instant now) {
  note_time(now);
  if (quiesced_) {
    return;
  }
  if (role_ == Role::leader) {
    tick_leader();
    return;
  }
  const Instant too_old = now_ - options_.election_max;
  for (const u64 context : forwarded_reads_.expire(too_old)) {
    out_.reads_failed.push_back(context);
  }
  if (now_ >= election_deadline_) {
    campaign();
  }
}

void Core::tick_leader() {
  if (lost_majority()) {
    REACHED("raft: a leader stepped down because it heard no majority");
    become_follower(term_, kNobody);
    return;
  }
  if (transferee_ != kNobody && now_ >= transfer_deadline_) {
    REACHED("raft: a handover of leadership was given up");
    transferee_ = kNobody;
  }
  if (now_ >= heartbeat_due_) {
    broadcast_heartbeat(false);
  }
  retry_snapshots();
  maybe_quiesce();
}

Instant Core::next_deadline() const {
  if (quiesced_) {
    return Instant::never();
  }
  if (role_ == Role::leader) {
    return heartbeat_due_;
  }
  const Instant read = forwarded_reads_.oldest() + options_.election_max + nanoseconds(1);
  return may_campaign() ? std::min(election_deadline_, read) : read;
}

void Core::on_persisted(u64 write) {
  CHECK(write <= last_write_);
  bool any = false;
  while (!writes_.empty() && writes_.front().number <= write) {
    vote_version_durable_ = std::max(vote_version_durable_, writes_.front().vote_version);
    writes_.pop_front();
    any = true;
  }
  if (!any) {
    return;
  }
  log_.on_persisted(write);
  if (term_and_vote_durable()) {
    for (Message& message : held_) {
      out_.messages.push_back(std::move(message));
    }
    held_.clear();
    if (role_ == Role::candidate && votes_.emplace(options_.self, true).second) {
      tally();
    }
  }
  if (role_ == Role::leader) {
    maybe_commit();
  }
}

void Core::on_applied(Index index) {
  applied_ = std::max(applied_, std::min(index, commit_));
}

void Core::hand_out_write(Ready& out) {
  const bool vote_due = vote_version_handed_ != vote_version_;
  if (!vote_due && !log_.has_unhanded() && !install_due_) {
    return;
  }
  out.write = ++last_write_;
  if (install_due_) {
    out.install = log_.summary().describe(log_.base().index);
    install_due_ = false;
  }
  out.entries = log_.hand_out(out.write);
  const Index durable = out.install ? out.install->id.index : log_.persisted();
  out.hard_state = HardState{term_, vote_, std::min(commit_, durable)};
  vote_version_handed_ = vote_version_;
  writes_.push_back({out.write, vote_version_});
}

Ready Core::ready() {
  if (role_ == Role::leader) {
    start_read_rounds();
    send_appends();
    step_down_if_removed();
  } else {
    flush_acknowledgement();
    if (forwarded_reads_.request_due() && leader_ != kNobody) {
      send(leader_, ReadRequest{forwarded_reads_.start_request(now_)});
    }
  }
  Ready out = std::exchange(out_, Ready());
  hand_out_write(out);
  const Index applicable = std::min(commit_, log_.persisted());
  if (applicable > apply_handed_) {
    out.committed = {apply_handed_ + 1, applicable};
    apply_handed_ = applicable;
  }
  return out;
}

void Core::wake() {
  if (!quiesced_) {
    return;
  }
  REACHED("raft: a sleeping group woke up");
  quiesced_ = false;
  busy_at_ = now_;
  leader_heard_ = now_;
  reset_election_deadline();
  heartbeat_due_ = now_;
  for (auto& [node, progress] : progress_) {
    progress.touch(now_);
  }
}

void Core::report_unreachable(NodeId node) {
  if (role_ == Role::leader) {
    if (const auto found = progress_.find(node); found != progress_.end()) {
      found->second.on_unreachable();
    }
    return;
  }
  if (node == leader_ && role_ == Role::follower) {
    wake();
    leader_heard_ = now_ - options_.election_min;
    quick_elections_ = kQuickElections;
    reset_election_deadline();
  }
}

void Core::compact(Index index) {
  CHECK(index <= applied_ && index <= log_.persisted());
  if (index > log_.base().index) {
    log_.compact(index);
  }
}

}  // namespace pangu::raft
