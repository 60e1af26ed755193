#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "raft/core/core.h"
#include "raft/driver/ids.h"
#include "raft/driver/log_store.h"
#include "raft/driver/state_machine.h"
#include "rpc/service.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// One group's member in this process.
//
// Invariants
// 1. What propose() answers ok is durable on a majority, and applied here. What read_barrier()
//    answers ok: everything that any propose() answered before the call is applied here.
// 2. The state machine sees one call at a time of apply, make_snapshot and commit; a command once in
//    a process's life, and after a restart again those that it had not made durable.
// 3. The log is cut up to what the state machine has made durable, at most.
// 4. One write of the group is under way at a time; what comes meanwhile is one write after it.
//
// Belongs to the host's reactor. Lives until the host is stopped or the group removed.
namespace pangu::raft {

class Host;

struct ReplicaCounters {
  u64 proposed = 0;
  u64 applied = 0;  // commands
  u64 writes = 0;
  u64 reads = 0;
  u64 messages_received = 0;
  u64 contradictions = 0;  // messages that no honest member sends
  u64 snapshots_made = 0;
  u64 snapshots_installed = 0;
};

// ---- parts of a Replica, not for others ----

// A snapshot that is here whole and not yet the state.
struct Pulled {
  SnapshotMeta meta;
  std::unique_ptr<SnapshotSink> sink;
};
struct PendingWrite {
  u64 number = 0;
  LogWrite write;
  std::optional<Pulled> install;
};
// A snapshot of ours that others pull.
struct Served {
  SnapshotImage image;
  std::string manifest;
  Instant used;
  u32 readers = 0;
};

// ----

class Replica {
 public:
  Replica(Host& host, GroupId group, StateMachine& machine);
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  ~Replica();

  GroupId group() const { return group_; }

  // The command's index, once it is committed and applied here. Errors:
  //   kNotLeader       nothing happened; the context is the leader's address, if it is known
  //   kBusy, kNoSpace  nothing happened: too much waits, leadership is being handed over, or the
  //                    log's disk is full
  //   kTooLarge        nothing happened: more than kCommandBytesMax
  //   kTimeout         the deadline passed before it was proposed: nothing happened
  //   kClosed          the host is stopped or the group removed: nothing happened
  //   kIoError         the log or the state machine failed before: nothing happened
  //   kUnknownOutcome  it was proposed, and may be or become committed, here or by another leader
  Task<Result<Index>> propose(std::string command, Instant deadline);

  // Ok once everything committed before the call, by whomever, is applied here. On any member.
  // kTimeout: no leader could be asked in time. kBusy, kClosed, kIoError.
  Task<Status> read_barrier(Instant deadline);

  // Ok once the change is committed and the joint configuration, if there is one, left. kNotLeader,
  // kBusy: another change is not finished. kInvalidArgument. kUnknownOutcome: it may have happened.
  Task<Status> change_members(ConfigurationChange change, Instant deadline);
  // Hands leadership to `to`. kTimeout: it did not take it in time. kNotLeader, kInvalidArgument.
  Task<Status> transfer(NodeId to, Instant deadline);

  bool leads() const;
  NodeId leader() const;
  std::string leader_address() const;  // "" if it is not known
  Term term() const;
  Index commit_index() const;
  Index applied_index() const { return applied_; }
  Configuration configuration() const;
  // Cuts the log as far as the state machine's durable() allows. Also done now and then by itself.
  void compact();
  u64 stored_bytes() const;
  // Wakes when the leader, or this member's role, changes, and when it fails.
  WaitList& changed() { return changed_; }
  // Set when the member takes no part any more: its log or state machine failed.
  const std::optional<Error>& failure() const { return failure_; }
  const ReplicaCounters& counters() const { return counters_; }
  // For status pages and tests. Null before it is open.
  const Core* core() const { return core_.get(); }

 private:
  friend class Host;

  struct Proposal {
    Payload command;
    Instant deadline;
    bool proposed = false;   // it is in the log
    bool withdrawn = false;  // nobody waits for it
    std::optional<Result<Index>> outcome;
    Event done;
  };
  struct Read {
    std::optional<Index> index;
    std::optional<Error> error;
    Event done;
  };
  // replica.cc: beginning, end and what users ask for
  Status start(HardState hard_state, LogSummary log);
  void close();
  Task<void> stop();  // after close(): returns when no task of the member is left
  void fail(const Error& error);
  Status usable() const;
  Task<Result<Index>> wait_outcome(std::shared_ptr<Proposal> proposal);
  void propose_queued();
  void end_proposals(const Error& queued, const Error& under_way);
  void end_reads(const Error& error);
  Task<Status> wait_applied(Index index, Instant deadline);
  Task<Status> read_index(Instant deadline, Index& index);
  Task<Status> wait_configuration(LogId id, Instant deadline);
  Error not_leader() const;

  // replica_drive.cc: carrying out what the core says
  void step(Message message);
  void tick(Instant now);
  void peer_unreachable(NodeId peer);
  void drive();
  void start_reads();
  void carry_out(raft::Ready ready);
  void queue_write(raft::Ready& ready);
  Task<void> write_loop();
  Task<Status> write_durably(const LogWrite& write);
  void give_away();
  Task<void> apply_loop();
  Task<Status> apply_some();
  Task<Status> apply_entries(Entries entries);
  void settle(LogId applied);
  Task<void> fetch(EntryFetch fetch);
  void note_changes();

  // snapshot_give.cc
  void want_snapshot(NodeId to);
  Task<void> make_snapshot();
  void offer(NodeId to);
  void maintain(Instant now);
  Task<rpc::Reply> serve_begin(Index index);
  Task<rpc::Reply> serve_piece(SnapshotRead request);

  // snapshot_take.cc
  Task<void> pull(SnapshotFetch fetch);
  Task<Result<std::unique_ptr<SnapshotSink>>> pull_all(SnapshotFetch fetch);
  Task<Status> pull_piece(const SnapshotFetch& fetch, const SnapshotImage& image, u32 piece,
                          SnapshotSink& sink);
  Task<Result<std::string>> ask(NodeId from, wire::Method method, std::string body);
  Task<Status> install(Pulled& pulled);
  Task<Status> replace_state(Pulled& pulled);

  Host& host_;
  const GroupId group_;
  StateMachine& machine_;
  std::unique_ptr<Core> core_;
  bool closed_ = false;
  std::optional<Error> failure_;

  // Kept by the host.
  bool dirty_ = false;
  bool gathering_ = false;
  Instant deadline_ = Instant::never();
  Configuration watched_;

  std::deque<std::shared_ptr<Proposal>> queued_;
  u64 queued_bytes_ = 0;
  std::map<std::pair<Index, Term>, std::shared_ptr<Proposal>> proposed_;
  std::vector<std::shared_ptr<Read>> reads_queued_;
  std::map<u64, std::vector<std::shared_ptr<Read>>> reads_;
  u64 next_read_ = 0;

  std::optional<PendingWrite> pending_write_;
  bool writing_ = false;
  bool no_space_ = false;

  Index applied_ = 0;
  Term applied_term_;
  Index apply_to_ = 0;
  bool applying_ = false;
  WaitList applied_changed_;
  Semaphore machine_lock_{1};

  std::vector<NodeId> wanting_;
  bool making_snapshot_ = false;
  std::optional<Served> served_;
  std::optional<Pulled> pulled_;
  bool installing_ = false;  // what was pulled is not the state yet

  NodeId leader_seen_;
  bool led_ = false;
  WaitList changed_;
  WaitList closing_;
  Instant complained_;
  Gate gate_;
  ReplicaCounters counters_;
};

}  // namespace pangu::raft
