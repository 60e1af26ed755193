#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "raft/driver/log_store.h"
#include "raft/driver/replica.h"
#include "raft/driver/transport.h"
#include "rpc/service.h"

// All Raft groups of a process: one log, one transport and one timer for them, on one reactor.
//
// Invariants
// 1. Events (messages, proposals, completions, time) mark their group; marked groups are driven by
//    one task, once for all events since the last time: appends, acknowledgements and writes are cut
//    there.
// 2. Time is looked at on a grid: all groups that are led from here send their heartbeats at the
//    same moments, in the same frames. Elections are on a finer one, heartbeat / 8.
// 3. A failure of the log is final for the host: every member fails with kIoError. The process
//    should end and be started again.
namespace pangu::raft {

struct HostOptions {
  NodeId self;
  Uuid cluster;
  // For what has to be remembered while a snapshot is installed; exists. "": nothing is, and a crash
  // at that moment is not survived (memory only).
  std::string directory;
  // Timers and windows of every group; self and seed are filled in.
  Options group;
  u32 proposals_max = 8192;                 // of one group, queued or not yet applied
  u64 proposal_bytes_max = 64 * kMiB;       // of one group, queued
  u64 apply_bytes_max = kMiB;               // read from the log at once
  u64 log_keep_entries = 10'000;            // applied ones, for members that are a little behind,
  u64 log_keep_bytes = 64 * kMiB;           // while the group's log is not larger
  Duration snapshot_keep = seconds(30);     // after its last use
  Duration snapshot_patience = seconds(10);  // a pull without progress is given up
  Duration no_space_retry = milliseconds(500);
  Duration maintenance = seconds(1);
  TransportOptions transport;  // self and cluster are filled in
};

struct HostCounters {
  u64 batches_received = 0;
  u64 messages_received = 0;
  u64 unknown_group = 0;
  u64 refused = 0;  // damaged, or for somebody else
  u64 drives = 0;
  u64 ticks = 0;
};

class Host final : private Transport::Listener {
 public:
  // `reactor` and `calls` must outlive the host.
  Host(Reactor& reactor, HostOptions options, std::unique_ptr<LogStore> log, PeerCalls& calls);
  // REQUIRES: stop() returned, or open() was not called, or the reactor was abandoned
  ~Host() override;

  // Opens the log. Groups that it holds stay silent until open_group().
  Task<Status> open();
  std::vector<GroupId> recovered() const;

  // Begins a group whose first members are `members`, or, with none, a member that is about to be
  // added to one. Durable when it returns. `machine` must outlive the host's stop() (or
  // remove_group()). kAlreadyExists.
  Task<Result<Replica*>> create_group(GroupId group, Configuration members, StateMachine& machine);
  // A group that the log holds. kNotFound; kCorrupt: log and state machine contradict each other.
  Task<Result<Replica*>> open_group(GroupId group, StateMachine& machine);
  // Ends the member here and forgets its log, for ever. Calls under way end with kClosed or
  // kUnknownOutcome. REQUIRES: nobody begins a call any more
  Task<Status> remove_group(GroupId group);
  Replica* find(GroupId group);

  // Where a process can be reached. Needed before it gets any message.
  void set_address(NodeId node, const env::Address& address);

  // The methods raft_messages, raft_snapshot_begin, raft_snapshot_piece.
  static bool handles(wire::Method method);
  Task<rpc::Reply> handle(rpc::Request request);

  // Gives the leadership of every group to somebody else, as far as that is possible until then:
  // before a planned stop.
  Task<void> hand_over(Instant deadline);
  // Ends every group and stops the log and the PeerCalls. Calls under way end with kClosed or
  // kUnknownOutcome.
  Task<void> stop();

  NodeId self() const { return options_.self; }
  const HostOptions& options() const { return options_; }
  // Set once the log has failed; failed_list() wakes then.
  const std::optional<Error>& failure() const { return failure_; }
  WaitList& failed_list() { return failed_list_; }
  const HostCounters& counters() const { return counters_; }
  const TransportCounters& transport_counters() const { return transport_.counters(); }
  const LogStore& log() const { return *log_; }

 private:
  friend class Replica;

  Task<Result<Replica*>> start_member(GroupId group, LogStore::Recovered found,
                                      StateMachine& machine);
  Task<Status> finish_install(GroupId group, LogStore::Recovered& found, StateMachine& machine);
  void mark_dirty(Replica& replica);
  void gather_soon(Replica& replica);
  void set_deadline(Replica& replica, Instant deadline);
  Instant on_grid(const Replica& replica, Instant deadline) const;
  void arm_timer();
  void watch(Replica& replica);
  void forget(Replica& replica);
  void fail(const Error& error);
  void on_unreachable(NodeId peer) override;
  Task<void> drive_loop();
  Task<void> gather_loop();
  Task<void> maintenance_loop();
  void take_ticks();
  Status check(const Envelope& envelope);
  Task<rpc::Reply> take_messages(Slice body);
  Task<rpc::Reply> give_manifest(Slice body);
  Task<rpc::Reply> give_piece(Slice body);

  // Installations that a crash must not leave half done: see snapshot_take.cc.
  std::string install_path(GroupId group) const;
  Status note_install(GroupId group, const SnapshotMeta& meta);
  void forget_install(GroupId group);

  struct Tick : Timer {
    Host* host;
    explicit Tick(Host* h);
  };

  Reactor& reactor_;
  HostOptions options_;
  std::unique_ptr<LogStore> log_;
  PeerCalls& calls_;
  Transport transport_;
  std::map<GroupId, LogStore::Recovered> recovered_;
  std::map<GroupId, std::unique_ptr<Replica>> replicas_;
  std::deque<Replica*> dirty_;
  std::deque<Replica*> gathering_;
  std::set<std::pair<Instant, GroupId>> deadlines_;
  bool tick_due_ = false;
  Tick tick_{this};
  Instant tick_at_ = Instant::never();
  WaitList work_;
  WaitList gather_work_;
  WaitList closing_list_;
  WaitList failed_list_;
  std::optional<Error> failure_;
  bool opened_ = false;
  bool closing_ = false;
  Gate gate_;
  HostCounters counters_;
};

}  // namespace pangu::raft
