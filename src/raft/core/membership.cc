#include "base/reached.h"
#include "raft/core/core.h"

// Who belongs to the group (paper 6, thesis 4), and leadership handed over (thesis 3.10).
namespace pangu::raft {

// Thesis 4.1: one change at a time. And an entry of the leader's own term must be committed first:
// else two leaders, each with a change of its own to the same old configuration, could each find a
// majority (Ongaro, "bug in single-server membership changes", raft-dev 2015).
Status Core::check_change_allowed() const {
  if (role_ != Role::leader) {
    return Error(Code::kNotLeader);
  }
  const bool pending = log_.summary().configuration_index() > commit_;
  if ((pending || !has_committed_in_term()) && RAFT_RULE(one_pending_change)) {
    return Error(Code::kBusy, pending ? "a change of members is not finished"
                                      : "the leader has not committed an entry of its term yet");
  }
  if (transferee_ != kNobody || !configuration().is_voter(options_.self)) {
    return Error(Code::kBusy, "leadership is being handed over");
  }
  return ok_status();
}

Result<LogId> Core::change_configuration(const ConfigurationChange& change) {
  TRY_VOID(check_change_allowed());
  TRY(next, changed(configuration(), change));
  return append_configuration(std::move(next));
}

Result<LogId> Core::leave_joint() {
  TRY_VOID(check_change_allowed());
  if (!configuration().is_joint()) {
    return Error(Code::kInvalidArgument, "the configuration is not joint");
  }
  return append_configuration(after_joint(configuration()));
}

Result<LogId> Core::append_configuration(Configuration configuration) {
  wake();
  const LogId id = append_own(EntryKind::configuration, encode(configuration));
  sync_progress();
  maybe_commit();
  return id;
}

// The leader follows exactly the other members of the configuration in force.
void Core::sync_progress() {
  const Configuration& members = configuration();
  std::erase_if(progress_, [&](const auto& item) { return !members.is_member(item.first); });
  for (const NodeId node : members.members()) {
    if (node != options_.self) {
      progress_.try_emplace(node, std::max<Index>(log_.last().index, 1), now_);
    }
  }
  if (transferee_ != kNobody && !members.is_voter(transferee_)) {
    transferee_ = kNobody;
  }
}

void Core::after_commit() {
  const LogSummary& log = log_.summary();
  if (log.configuration_index() > commit_ || !has_committed_in_term()) {
    return;
  }
  if (log.configuration().is_joint() && log.configuration().auto_leave) {
    append_configuration(after_joint(log.configuration())).value();
  } else if (!log.configuration().is_voter(options_.self)) {
    step_down_due_ = true;
  }
}

// Paper 6: a leader that is not part of the new configuration leads until that is committed.
void Core::step_down_if_removed() {
  if (!step_down_due_) {
    return;
  }
  REACHED("raft: a leader removed itself");
  hand_over();
  become_follower(term_, kNobody);
}

// Somebody who has everything shall not wait for a timeout.
void Core::hand_over() {
  for (const auto& [node, progress] : progress_) {
    if (configuration().is_voter(node) && progress.match() == log_.last().index) {
      send(node, TimeoutNow{});
      return;
    }
  }
}

Status Core::transfer_leader(NodeId to) {
  if (role_ != Role::leader) {
    return Error(Code::kNotLeader);
  }
  const auto found = progress_.find(to);
  if (found == progress_.end() || !configuration().is_voter(to)) {
    return Error(Code::kInvalidArgument, "leadership goes to another voter of the group");
  }
  wake();
  transferee_ = to;
  transfer_deadline_ = now_ + options_.election_max;
  if (found->second.match() == log_.last().index) {
    send(to, TimeoutNow{});
  }
  return ok_status();
}

}  // namespace pangu::raft
