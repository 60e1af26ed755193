#include "base/reached.h"
#include "raft/core/core.h"

// Terms, votes and who leads (paper 5.1, 5.2, 5.4.1; thesis 4.2.3, 9.6).
namespace pangu::raft {

// After a broken connection several followers try within a few milliseconds of each other and may
// split the vote: they try again soon, in a window that grows, before falling back to timeouts.
void Core::reset_election_deadline() {
  const bool quick = quick_elections_ > 0;
  const Duration longest = options_.reset_max * (1 + kQuickElections - quick_elections_);
  const u64 low = static_cast<u64>((quick ? options_.reset_min : options_.election_min).ns);
  const u64 high = static_cast<u64>((quick ? longest : options_.election_max).ns);
  election_deadline_ = now_ + nanoseconds(static_cast<i64>(prng_.between(low, high)));
}

// What belongs to the role and the term that end now.
void Core::leave_role() {
  fail_reads();
  held_.clear();
  votes_.clear();
  progress_.clear();
  transferee_ = kNobody;
  step_down_due_ = false;
  quiesced_ = false;
  matched_ = 0;
  acknowledged_ = 0;
  acknowledgement_due_ = false;
}

void Core::become_follower(Term term, NodeId leader) {
  leave_role();
  if (term > term_) {
    term_ = term;
    vote_ = kNobody;
    ++vote_version_;
  }
  role_ = Role::follower;
  leader_ = leader;
  reset_election_deadline();
}

// A voter in force, or, while the latest configuration is not committed, of one it may yet replace:
// a member that its own unfinished removal silences may be the only one that can finish it
// (thesis 4.2.2).
bool Core::may_campaign() const {
  const LogSummary& log = log_.summary();
  if (log.configuration().is_voter(options_.self)) {
    return true;
  }
  return log.configuration_index() > commit_ &&
         log.configuration_at(std::max(commit_, log.base().index)).is_voter(options_.self);
}

void Core::campaign() {
  if (role_ == Role::leader) {
    return;
  }
  wake();
  quick_elections_ -= std::min(quick_elections_, 1u);
  reset_election_deadline();
  if (!may_campaign() || install_due_) {
    return;
  }
  start_election(Election::pre_vote);
}

void Core::start_election(Election kind) {
  const bool pre_vote = kind == Election::pre_vote;
  const bool transfer = kind == Election::transfer;
  leave_role();
  leader_ = kNobody;
  reset_election_deadline();
  role_ = pre_vote ? Role::pre_candidate : Role::candidate;
  if (pre_vote) {
    votes_[options_.self] = true;
  } else {
    term_ = Term{term_.value() + 1};
    vote_ = options_.self;
    ++vote_version_;
    if (!RAFT_RULE(durable_term_and_vote)) {
      votes_[options_.self] = true;
    }
  }
  const Term asked = pre_vote ? Term{term_.value() + 1} : term_;
  for (const NodeId node : configuration().members()) {
    if (node != options_.self && configuration().is_voter(node)) {
      send_in_term(node, asked, VoteRequest{pre_vote, transfer, log_.last()});
    }
  }
  tally();
}

// Counts the answers. One's own vote is among them once it is durable.
void Core::tally() {
  const Configuration& members = configuration();
  const u64 won = members.quorum_value([&](NodeId node) -> u64 {
    const auto answer = votes_.find(node);
    return answer != votes_.end() && answer->second ? 1 : 0;
  });
  const u64 possible = members.quorum_value([&](NodeId node) -> u64 {
    const auto answer = votes_.find(node);
    return answer == votes_.end() || answer->second ? 1 : 0;
  });
  if (won == 1 && role_ == Role::pre_candidate) {
    start_election(Election::vote);
  } else if (won == 1) {
    become_leader();
  } else if (possible == 0) {
    become_follower(term_, kNobody);
  }
}

void Core::become_leader() {
  leave_role();
  role_ = Role::leader;
  leader_ = options_.self;
  quick_elections_ = 0;
  busy_at_ = now_;
  // Paper 8: an entry of its own term tells a new leader what is committed; the number also marks
  // what it may count.
  term_start_ = append_own(EntryKind::empty, Payload()).index;
  sync_progress();
  heartbeat_due_ = now_ + options_.heartbeat;
  maybe_commit();
}

bool Core::hears_leader() const {
  if (role_ == Role::leader) {
    return true;
  }
  return leader_ != kNobody && now_ - leader_heard_ < options_.election_min;
}

// True if the message is of the current term now, or needs no term.
bool Core::accept_term(const Message& message) {
  const VoteRequest* request = message.as<VoteRequest>();
  const VoteReply* reply = message.as<VoteReply>();
  if (message.term < term_) {
    refuse_old_term(message);
    return false;
  }
  if (message.term == term_) {
    return true;
  }
  if (request != nullptr && !request->transfer && hears_leader()) {
    // Thesis 4.2.3: a member that cannot hear the leader, or is not one any more, must not be able
    // to depose it.
    REACHED("raft: a vote was refused because the leader is alive");
    return false;
  }
  if ((request != nullptr && request->pre_vote) ||
      (reply != nullptr && reply->pre_vote && reply->granted)) {
    return true;
  }
  const bool from_leader = message.as<AppendRequest>() != nullptr ||
                           message.as<Heartbeat>() != nullptr ||
                           message.as<SnapshotOffer>() != nullptr;
  become_follower(message.term, from_leader ? message.from : kNobody);
  return true;
}

// A leader or candidate of a former term learns the present one. With pre-votes this is the only
// way to bring back a member whose term ran ahead: its own requests are refused.
void Core::refuse_old_term(const Message& message) {
  const VoteRequest* request = message.as<VoteRequest>();
  if (request != nullptr && request->pre_vote) {
    send(message.from, VoteReply{.pre_vote = true, .granted = false});
  } else if (message.as<AppendRequest>() != nullptr || message.as<Heartbeat>() != nullptr ||
             message.as<SnapshotOffer>() != nullptr) {
    REACHED("raft: a deposed leader was told the term");
    send(message.from, AppendReply{});
  }
}

void Core::on(const Message& message, VoteRequest& body) {
  const bool free = body.pre_vote
                        ? message.term > term_
                        : vote_ == message.from || (vote_ == kNobody && leader_ == kNobody) ||
                              !RAFT_RULE(one_vote_a_term);
  const bool up_to_date = body.last >= log_.last() || !RAFT_RULE(up_to_date_vote);
  if (!free || !up_to_date || role_ == Role::leader) {
    send(message.from, VoteReply{.pre_vote = body.pre_vote, .granted = false});
    return;
  }
  if (body.pre_vote) {
    send_in_term(message.from, message.term, VoteReply{.pre_vote = true, .granted = true});
    return;
  }
  if (vote_ != message.from) {
    vote_ = message.from;
    ++vote_version_;
  }
  quick_elections_ = 0;
  reset_election_deadline();
  send(message.from, VoteReply{.pre_vote = false, .granted = true});
}

void Core::on(const Message& message, VoteReply& body) {
  const Role wanted = body.pre_vote ? Role::pre_candidate : Role::candidate;
  if (role_ != wanted) {
    return;
  }
  if (body.pre_vote && body.granted && message.term.value() != term_.value() + 1) {
    return;
  }
  votes_.emplace(message.from, body.granted);
  tally();
}

void Core::on(const Message&, TimeoutNow&) {
  // Also while entries are being written: the request waits for the vote's own write, behind them.
  if (role_ == Role::leader || !may_campaign() || install_due_) {
    return;
  }
  REACHED("raft: an election on the leader's wish");
  start_election(Election::transfer);
}

void Core::hear_leader(NodeId leader) {
  if (role_ == Role::leader) {
    contradiction_ = Error(Code::kCorrupt, "two leaders in one term");
    return;
  }
  if (role_ != Role::follower) {
    become_follower(term_, leader);
  }
  leader_ = leader;
  leader_heard_ = now_;
  quick_elections_ = 0;
  reset_election_deadline();
}

}  // namespace pangu::raft
