#include <fmt/format.h>

#include "base/reached.h"
#include "raft/core/core.h"

// What a follower does with its leader's log (paper 5.3).
namespace pangu::raft {

void Core::on(const Message& message, AppendRequest& body) {
  hear_leader(message.from);
  if (!contradiction_.ok()) {
    return;
  }
  const LogSummary& log = log_.summary();
  if (body.previous.index < commit_) {
    // Late or doubled. What is committed is the leader's too.
    acknowledge(commit_);
    return;
  }
  if (!log.holds(body.previous) && RAFT_RULE(previous_entry_matches)) {
    const LogId hint = log.last_at_most(body.previous.term, body.previous.index);
    send(message.from, AppendReply{false, body.previous.index, hint});
    return;
  }
  if (body.previous.index > log.last().index) {
    return;
  }
  contradiction_ = append_from_leader(body);
}

// REQUIRES: the log holds body.previous
Status Core::append_from_leader(AppendRequest& body) {
  Index matched = body.previous.index;
  for (Entry& entry : body.entries) {
    if (entry.index != matched + 1 || entry.term > term_) {
      return Error(Code::kCorrupt, fmt::format("an append of term {} with entry {} after index {}",
                                               term_.value(), to_string(entry.id()), matched));
    }
    if (!log_.summary().holds(entry.id())) {
      if (entry.index <= commit_) {
        return Error(Code::kCorrupt, fmt::format("the leader of term {} sends another entry than "
                                                 "the committed one at {}",
                                                 term_.value(), to_string(entry.id())));
      }
      if (entry.index <= log_.last().index) {
        REACHED("raft: a follower cut its log");
        log_.truncate(entry.index);
      }
      TRY_VOID(log_.append(std::move(entry)));
    }
    ++matched;
  }
  acknowledge(matched);
  advance_commit(std::min(body.commit, matched));
  return ok_status();
}

void Core::advance_commit(Index commit) {
  commit_ = std::max(commit_, std::min(commit, log_.last().index));
}

void Core::acknowledge(Index matched) {
  matched_ = std::max(matched_, matched);
  acknowledgement_due_ = true;
}

// Acknowledges as much as is durable, once for all appends since the last time.
void Core::flush_acknowledgement() {
  if (!acknowledgement_due_ || role_ != Role::follower || leader_ == kNobody) {
    return;
  }
  const Index durable = RAFT_RULE(durable_acknowledgement) ? log_.persisted() : log_.last().index;
  const Index index = std::min(durable, matched_);
  if (index < matched_ && index <= acknowledged_) {
    return;
  }
  acknowledged_ = index;
  acknowledgement_due_ = index < matched_;
  send(leader_, AppendReply{true, index, {}});
}

void Core::on(const Message& message, Heartbeat& body) {
  hear_leader(message.from);
  if (!contradiction_.ok()) {
    return;
  }
  if (body.commit > log_.last().index) {
    contradiction_ = Error(Code::kCorrupt,
                           fmt::format("leader {} believes that member {} holds entry {}; its log "
                                       "ends at {}",
                                       message.from.value(), options_.self.value(), body.commit,
                                       to_string(log_.last())));
    return;
  }
  advance_commit(body.commit);
  if (body.quiesce && may_sleep(body)) {
    REACHED("raft: a follower went to sleep");
    quiesced_ = true;
    return;
  }
  send(message.from, HeartbeatReply{body.round, body.quiesce});
}

// Sleeping is for members that have all there is: nothing will come to tell them of more.
bool Core::may_sleep(const Heartbeat& body) const {
  return body.commit == log_.last().index && log_.persisted() == log_.last().index &&
         term_and_vote_durable() && !fetching_ && forwarded_reads_.size() == 0;
}

}  // namespace pangu::raft
