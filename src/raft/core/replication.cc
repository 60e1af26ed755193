#include <fmt/format.h>

#include "base/reached.h"
#include "raft/core/core.h"

// What a leader does: append, send, count (paper 5.3, 5.4.2).
namespace pangu::raft {
namespace {

// Keeps the order of instants, which may be negative.
u64 ordered(Instant time) {
  return static_cast<u64>(time.ns) ^ (u64{1} << 63);
}

}  // namespace

LogId Core::append_own(EntryKind kind, Payload payload) {
  Entry entry{term_, log_.last().index + 1, kind, std::move(payload)};
  const LogId id = entry.id();
  CHECK(log_.append(std::move(entry)).ok());
  busy_at_ = now_;
  return id;
}

Result<Core::Proposed> Core::propose(std::vector<Payload> commands) {
  if (role_ != Role::leader) {
    return Error(Code::kNotLeader);
  }
  if (transferee_ != kNobody || !configuration().is_voter(options_.self)) {
    return Error(Code::kBusy, "leadership is being handed over");
  }
  if (log_.unpersisted_bytes() >= options_.unpersisted_bytes_max) {
    return Error(Code::kBusy, "the log's disk does not keep up");
  }
  wake();
  Proposed out{term_, {log_.last().index + 1, log_.last().index + commands.size()}};
  for (Payload& command : commands) {
    append_own(EntryKind::command, std::move(command));
  }
  return out;
}

// The highest index that a majority holds durably. Paper 5.4.2: an entry of a former term is never
// committed by counting, because a majority that holds it can still lose it to a later leader
// (figure 8); it is committed by an entry of this term above it.
void Core::maybe_commit() {
  const Index own = RAFT_RULE(leader_counts_durable) ? log_.persisted() : log_.last().index;
  const Index index = configuration().quorum_value([&](NodeId node) -> u64 {
    if (node == options_.self) {
      return own;
    }
    const auto found = progress_.find(node);
    return found == progress_.end() ? 0 : found->second.match();
  });
  if (index <= commit_) {
    return;
  }
  if (log_.summary().term_at(index) != term_ && RAFT_RULE(own_term_commit)) {
    REACHED("raft: a majority holds an entry of a former term");
    return;
  }
  commit_ = index;
  after_commit();
}

void Core::send_appends() {
  for (auto& [node, progress] : progress_) {
    send_appends_to(node, progress);
  }
}

void Core::send_appends_to(NodeId to, Progress& progress) {
  while (progress.next() <= log_.last().index && progress.may_send(options_)) {
    if (!send_entries(to, progress)) {
      return;
    }
  }
  const bool nothing_else =
      progress.state() == Progress::State::replicate || progress.next() > log_.last().index;
  const bool worth_it = progress.sent_commit() < commit_ || progress.probe_due();
  if (nothing_else && worth_it && progress.may_send_empty()) {
    if (progress.next() <= log_.base().index) {
      want_snapshot(to, progress);
      return;
    }
    send_append(to, progress, {});
  }
}

// One append. False: nothing more can be sent to this member now.
bool Core::send_entries(NodeId to, Progress& progress) {
  if (progress.next() <= log_.base().index) {
    want_snapshot(to, progress);
    return false;
  }
  const IndexRange range{progress.next(), log_.last().index};
  Entries entries;
  if (log_.read(range, options_.append_bytes_max, entries) == LogView::Found::not_in_memory) {
    REACHED("raft: entries for a follower are read from disk");
    progress.set_fetching(true);
    out_.fetches.push_back(
        {to, {range.first, std::min(range.last, log_.persisted())}, options_.append_bytes_max});
    return false;
  }
  CHECK(!entries.empty() && entries.front().index == range.first);
  send_append(to, progress, std::move(entries));
  return true;
}

void Core::send_append(NodeId to, Progress& progress, Entries entries) {
  const Index previous = progress.next() - 1;
  u64 bytes = 0;
  for (const Entry& entry : entries) {
    bytes += entry.bytes();
  }
  progress.on_sent(previous + entries.size(), bytes);
  progress.on_sent_commit(commit_);
  const LogId previous_id{*log_.summary().term_at(previous), previous};
  send(to, AppendRequest{previous_id, commit_, std::move(entries)});
}

void Core::on_fetched(NodeId to, Entries entries) {
  const auto found = progress_.find(to);
  if (role_ != Role::leader || found == progress_.end() || !found->second.fetching()) {
    return;
  }
  Progress& progress = found->second;
  progress.set_fetching(false);
  if (entries.empty()) {
    progress.on_unreadable();
    return;
  }
  // The leader may have been another one, or the member further on, when these were asked for.
  bool fitting = entries.front().index == progress.next() && progress.may_send(options_) &&
                 progress.next() > log_.base().index;
  for (size_t i = 0; i < entries.size() && fitting; ++i) {
    fitting = entries[i].index == progress.next() + i && log_.summary().holds(entries[i].id());
  }
  if (fitting) {
    send_append(to, progress, std::move(entries));
  }
}

void Core::on(const Message& message, AppendReply& body) {
  const auto found = progress_.find(message.from);
  if (role_ != Role::leader || found == progress_.end()) {
    return;
  }
  Progress& progress = found->second;
  progress.touch(now_);
  if (body.index > log_.last().index) {
    contradiction_ = Error(Code::kCorrupt, fmt::format("member {} answers for entry {}, which "
                                                       "its leader does not have",
                                                       message.from.value(), body.index));
    return;
  }
  if (!body.accepted) {
    const LogId common = log_.summary().last_at_most(body.hint.term, body.hint.index);
    progress.on_rejected(body.index, common.index);
    return;
  }
  const bool news = progress.on_accepted(body.index);
  if (progress.state() == Progress::State::snapshot && progress.match() >= log_.base().index) {
    progress.become_probe();
  }
  if (message.from == transferee_ && progress.match() == log_.last().index) {
    send(transferee_, TimeoutNow{});
  }
  if (news) {
    maybe_commit();  // may end a change of members, and with it this progress
  }
}

void Core::on(const Message& message, HeartbeatReply& body) {
  const auto found = progress_.find(message.from);
  if (role_ != Role::leader || found == progress_.end() || body.round > round_) {
    return;
  }
  Progress& progress = found->second;
  progress.touch(now_);
  progress.on_heartbeat_reply(body.round, log_.last().index);
  finish_reads(configuration().quorum_value([&](NodeId node) -> u64 {
    if (node == options_.self) {
      return round_;
    }
    const auto member = progress_.find(node);
    return member == progress_.end() ? 0 : member->second.round();
  }));
  if (message.from == transferee_ && progress.match() == log_.last().index) {
    send(transferee_, TimeoutNow{});
  }
}

void Core::broadcast_heartbeat(bool quiesce) {
  ++round_;
  heartbeat_due_ = now_ + options_.heartbeat;
  if (has_committed_in_term() || !RAFT_RULE(read_after_own_commit)) {
    leader_reads_.start_round(round_, commit_);
  }
  for (auto& [node, progress] : progress_) {
    send(node, Heartbeat{std::min(progress.match(), commit_), round_, quiesce});
  }
  const u64 alone = configuration().quorum_value(
      [&](NodeId node) -> u64 { return node == options_.self ? round_ : 0; });
  finish_reads(RAFT_RULE(read_confirms_leadership) ? alone : round_);
}

Instant Core::majority_heard() const {
  const u64 heard = configuration().quorum_value([&](NodeId node) -> u64 {
    const auto found = progress_.find(node);
    return ordered(found == progress_.end() ? now_ : found->second.last_reply());
  });
  return Instant{static_cast<i64>(heard ^ (u64{1} << 63))};
}

bool Core::lost_majority() const {
  return now_ - majority_heard() > options_.election_max;
}

void Core::maybe_quiesce() {
  if (options_.quiesce_after == Duration{} || now_ - busy_at_ < options_.quiesce_after ||
      !group_is_idle()) {
    return;
  }
  REACHED("raft: a leader let its group sleep");
  broadcast_heartbeat(true);
  quiesced_ = true;
}

bool Core::group_is_idle() const {
  const Index last = log_.last().index;
  for (const auto& [node, progress] : progress_) {
    if (progress.state() != Progress::State::replicate || progress.match() != last) {
      return false;
    }
  }
  return commit_ == last && applied_ == last && log_.persisted() == last &&
         leader_reads_.size() == 0 && transferee_ == kNobody && !configuration().is_joint();
}

}  // namespace pangu::raft
