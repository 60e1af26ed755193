#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/prng.h"
#include "raft/core/progress.h"
#include "raft/core/raft_log.h"
#include "raft/core/read_queue.h"
#include "raft/core/ready.h"

// One member of one Raft group, as a pure function of (state, event): no I/O, clock, thread or
// coroutine. A driver feeds events and carries out what ready() returns (docs/design/0005).
//
// Invariants, each a rule of the paper with a test of that name (rules_test.cc)
//  1. No message of a term leaves before that term and the vote in it are durable (5.1).
//  2. A member acknowledges, and a leader counts itself for, only entries that are durable in its
//  log
//     as it is now (5.1, thesis 10.2.1). A leader sends entries beside its own write.
//  3. A leader commits by counting only entries of its own term (5.4.2), and starts with one (8).
//  4. Votes go to logs at least as up to date as one's own (5.4.1), one a term (5.2).
//  5. The latest configuration in the log is in force; a new one enters only if the one before is
//     committed and so is an entry of the leader's term (thesis 4.1 and its erratum).
//  6. A read is answered at an index that was committed when it was asked, by a leader that was
//     leader after it was asked (thesis 6.4).
//  7. Elections start with a pre-vote, and who hears a leader grants none (thesis 9.6, 4.2.3); a
//     leader that does not hear a majority for an election timeout steps down (thesis 6.2).
//  8. Memory: the entries not yet durable, windows and waiting reads, each with a maximum; nothing
//     grows with the length of the log.
//
// Time: step() and tick() bring it; a driver calls tick() at the latest at next_deadline(), and
// note_time() before other events. Instants are of this machine only and go into no message.
namespace pangu::raft {

struct InitialState {
  HardState hard_state;
  LogSummary log;
  Index applied = 0;  // what the state machine has durably applied
};

class Core {
 public:
  // `view` must outlive the core. kCorrupt if the parts contradict each other: a log that ends
  // before what was committed or applied has lost data, and the member must not take part.
  static Result<std::unique_ptr<Core>> start(const Options& options, InitialState initial,
                                             const LogView& view, Instant now);

  // --- Events -----------------------------------------------------------------------------------
  // kCorrupt: the sender contradicts what is committed, or the message is nonsense. It was ignored;
  // a driver logs it, and may stop the group. Messages of former terms are no error.
  Status step(Instant now, Message message);
  void tick(Instant now);
  Instant next_deadline() const;
  void note_time(Instant now) { now_ = std::max(now_, now); }

  // Appends commands to the leader's log: kNotLeader, or kBusy when too much is not yet durable or
  // leadership is being handed over. A command is done when its index is in Ready::committed while
  // the entry there still has this term; it is lost when another entry is committed there.
  struct Proposed {
    Term term;
    IndexRange range;
  };
  Result<Proposed> propose(std::vector<Payload> commands);
  // kNotLeader; kBusy: a change is not finished, or the leader has not committed in its term yet.
  Result<LogId> change_configuration(const ConfigurationChange& change);
  Result<LogId> leave_joint();
  // A linearizable read: ends up in Ready::reads or Ready::reads_failed. kUnavailable: no leader is
  // known. kBusy: too many wait.
  Status read_index(u64 context);
  // Hands leadership to voter `to`; gives up after an election timeout.
  Status transfer_leader(NodeId to);
  // Starts an election as if the timeout had passed.
  void campaign();

  void on_persisted(u64 write);
  void on_applied(Index index);
  // The entries of Ready::fetches from range.first on, as many as fit; empty: could not be read
  // now.
  void on_fetched(NodeId to, Entries entries);
  // Answers Ready::snapshots_wanted, which comes again until the member has caught up: offer the
  // same snapshot again while it is there. REQUIRES: meta describes an applied state
  void offer_snapshot(NodeId to, SnapshotMeta meta);
  void on_snapshot_fetched(const SnapshotMeta& meta);
  void on_snapshot_failed(const SnapshotMeta& meta);
  // The driver's log no longer holds entries up to `index`. REQUIRES: index <= applied()
  void compact(Index index);
  // The connection was lost or reset. If `node` is the leader, an election starts soon.
  void report_unreachable(NodeId node);
  // Ends the sleep of an idle group.
  void wake();

  // --- What to do -------------------------------------------------------------------------------
  // Call after events, once for a batch of them: appends and acknowledgements are cut here.
  Ready ready();

  // --- What is known ----------------------------------------------------------------------------
  NodeId self() const { return options_.self; }
  Role role() const { return role_; }
  Term term() const { return term_; }
  NodeId vote() const { return vote_; }
  NodeId leader() const { return leader_; }  // kNobody: not known
  Index commit() const { return commit_; }
  Index applied() const { return applied_; }
  bool quiesced() const { return quiesced_; }
  const RaftLog& log() const { return log_; }
  const Configuration& configuration() const { return log_.summary().configuration(); }
  bool has_committed_in_term() const;
  NodeId transferee() const { return transferee_; }
  const std::map<NodeId, Progress>& progress() const { return progress_; }  // leader only

 private:
  Core(const Options& options, InitialState initial, const LogView& view, Instant now);

  // core.cc: sending, terms, deadlines
  template <class Body>
  void send(NodeId to, Body body) {
    send_in_term(to, term_, std::move(body));
  }
  template <class Body>
  void send_in_term(NodeId to, Term term, Body body) {
    deliver({options_.self, to, term, std::move(body)});
  }
  void deliver(Message message);
  bool term_and_vote_durable() const { return vote_version_durable_ == vote_version_; }
  void hand_out_write(Ready& out);
  void tick_leader();
  void step_in_term(Message& message);

  // election.cc
  void become_follower(Term term, NodeId leader);
  void become_leader();
  void leave_role();
  void reset_election_deadline();
  enum class Election : u8 { pre_vote, vote, transfer };
  void start_election(Election kind);
  void tally();
  bool may_campaign() const;
  bool hears_leader() const;
  bool accept_term(const Message& message);
  void refuse_old_term(const Message& message);
  void hear_leader(NodeId leader);
  void on(const Message& message, VoteRequest& body);
  void on(const Message& message, VoteReply& body);
  void on(const Message& message, TimeoutNow& body);

  // follower.cc
  void on(const Message& message, AppendRequest& body);
  void on(const Message& message, Heartbeat& body);
  Status append_from_leader(AppendRequest& body);
  void acknowledge(Index matched);
  void flush_acknowledgement();
  void advance_commit(Index commit);
  bool may_sleep(const Heartbeat& body) const;

  // replication.cc
  LogId append_own(EntryKind kind, Payload payload);
  void on(const Message& message, AppendReply& body);
  void on(const Message& message, HeartbeatReply& body);
  void maybe_commit();
  void after_commit();
  void send_appends();
  void send_appends_to(NodeId to, Progress& progress);
  bool send_entries(NodeId to, Progress& progress);
  void send_append(NodeId to, Progress& progress, Entries entries);
  void broadcast_heartbeat(bool quiesce);
  bool lost_majority() const;
  Instant majority_heard() const;
  void maybe_quiesce();
  bool group_is_idle() const;

  // membership.cc
  Status check_change_allowed() const;
  Result<LogId> append_configuration(Configuration configuration);
  void sync_progress();
  void step_down_if_removed();
  void hand_over();

  // snapshot.cc
  void want_snapshot(NodeId to, Progress& progress);
  void retry_snapshots();
  void on(const Message& message, SnapshotOffer& body);

  // reads.cc
  void start_read_rounds();
  void finish_reads(u64 round);
  void answer_read(const LeaderReads::Read& read);
  void fail_reads();
  void on(const Message& message, ReadRequest& body);
  void on(const Message& message, ReadReply& body);

  Options options_;
  Prng prng_;
  Instant now_;
  RaftLog log_;

  Term term_;
  NodeId vote_;
  // Counts changes of (term, vote), to know which of them are handed out and durable.
  u64 vote_version_ = 0;
  u64 vote_version_handed_ = 0;
  u64 vote_version_durable_ = 0;
  struct Write {
    u64 number = 0;
    u64 vote_version = 0;
  };
  std::deque<Write> writes_;  // under way
  u64 last_write_ = 0;
  bool install_due_ = false;

  Role role_ = Role::follower;
  NodeId leader_;
  Index commit_ = 0;
  Index applied_ = 0;
  Index apply_handed_ = 0;
  Instant election_deadline_;
  // Elections that may follow each other quickly, because the leader's connection broke.
  u32 quick_elections_ = 0;
  Instant leader_heard_;
  bool quiesced_ = false;
  Status contradiction_;  // of the message being stepped

  // Follower: up to where the log is known to be the leader's, in this term.
  Index matched_ = 0;
  Index acknowledged_ = 0;
  bool acknowledgement_due_ = false;

  // Candidate: who answered, and how.
  std::map<NodeId, bool> votes_;

  // Leader.
  std::map<NodeId, Progress> progress_;
  Index term_start_ = 0;  // the leader's first entry
  Instant heartbeat_due_;
  u64 round_ = 0;
  Instant busy_at_;  // when the group last had something to do
  NodeId transferee_;
  Instant transfer_deadline_;
  bool step_down_due_ = false;

  LeaderReads leader_reads_;
  ForwardedReads forwarded_reads_;
  std::optional<SnapshotMeta> fetching_;

  std::vector<Message> held_;  // until term and vote are durable
  Ready out_;                  // what the next ready() returns
};

}  // namespace pangu::raft
