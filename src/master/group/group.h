#pragma once
#include <map>
#include <memory>
#include <optional>

#include "master/group/scan_views.h"
#include "master/group/server_table.h"
#include "master/group/snapshot_folder.h"
#include "master/state/state_machine.h"
#include "master/state/txn.h"
#include "raft/driver/host.h"
#include "runtime/await.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// One copy of a group of the metadata: replicated log, store and state machine put together, on one
// reactor.
//
// Invariants
// 1. What execute() answers ok is durable on a majority of the copies, and applied here; what query()
//    sees is applied.
// 2. Commands are applied one at a time, in log order. A command whose reads are not in memory is
//    applied by a background thread; nothing else is applied meanwhile.
// 3. The log is cut only up to what the store has flushed.
namespace pangu::master {

struct GroupOptions {
  StateOptions state;
  Duration flush_interval = seconds(30);
  u64 flush_log_bytes = 64 * kMiB;  // sooner, if the log holds so much
  u32 reclaim_budget = 100;         // records freed by one command
};

struct GroupCounters {
  u64 applied = 0;
  u64 applied_in_background = 0;
  u64 queries = 0;
  u64 queries_in_background = 0;
  u64 flushes = 0;
};

class Group final : private raft::StateMachine {
 public:
  // `reactor` must outlive the group. `folder` is for its snapshots; it is made if it is missing.
  Group(Reactor& reactor, const GroupOptions& options, const LivenessOptions& liveness,
        std::string folder);
  // REQUIRES: stop() returned, or open() was not called, or the reactor was abandoned
  ~Group() override;

  // Takes over the store, makes the state that every copy begins with in it if it is empty, and takes
  // part in the group `id` of `host`, which must outlive stop(). If the host's log does not know the
  // group yet it is begun with the members `founders`; with none, this copy is about to be added to
  // it. kWrongCluster: the store is another cluster's.
  Task<Status> open(std::unique_ptr<Kv> kv, raft::Host& host, raft::GroupId id,
                    raft::Configuration founders, const Genesis& genesis);
  // Begins the end: waiting callers and background work go. Then the host is stopped, or the group
  // removed from it, then stop().
  void close();
  // Flushes the store, so that the next start has little to replay. Also after an open() that
  // failed. REQUIRES: close() was called and the host has stopped or forgotten the group
  Task<void> stop();

  // Ok on the copy that leads. kNotLeader: the context is the leader's address, "" if it is not known.
  Status check_leader() const;
  // Ok once everything that was acknowledged before the call, by any copy, is applied here. Errors as
  // raft::Replica::read_barrier().
  Task<Status> read_barrier(Instant deadline);

  // Proposes a command and waits until it is applied. The outcome may be an error's. Errors:
  //   kNoSpace, kBusy, kTimeout, kClosed, kIoError, kNotLeader   nothing happened
  //   kUnknownOutcome                                            it may have happened
  Task<Result<record::Outcome>> execute(u32 method, std::string request, record::Offer offer,
                                        Instant deadline);

  // f(Txn&) -> Result<T>: what the state says now. `f` must not change anything and must own what it
  // refers to; it may run on a background thread, and again there after a first try here.
  template <class F>
  Task<std::invoke_result_t<F&, Txn&>> query(F f);

  raft::GroupId id() const { return id_; }
  pb::GroupKind kind() const { return static_cast<pb::GroupKind>(meta_.kind()); }
  // The counters of the state that is applied here.
  const record::Meta& meta() const { return meta_; }
  // Wakes when locks of transactions go.
  WaitList& unlocked() { return unlocked_; }
  // Wakes when there is more to do for other groups or for chunkservers, the partition map changes,
  // the leader does, and at close().
  WaitList& news() { return news_; }
  bool closing() const { return closing_; }

  // States that somebody reads page by page.
  ScanViews& scans() { return scans_; }

  // Where a stream group's knowledge of the servers comes from.
  class ServerSource {
   public:
    virtual ~ServerSource() = default;
    // Asks for news, not too often; true if servers() knows more than before.
    virtual Task<bool> refresh(Group& group) = 0;
  };
  // `source` must outlive the group.
  void set_server_source(ServerSource& source) { server_source_ = &source; }
  Task<bool> refresh_servers();

  ServerTable& servers() { return servers_; }
  Reactor& reactor() { return reactor_; }
  u64 applied_index() const { return applied_; }
  raft::Replica& replica() { return *replica_; }
  const GroupCounters& counters() const { return counters_; }
  const Kv& kv() const { return *kv_; }

  // Makes what is applied durable in the store and cuts the log.
  Task<Status> flush();

 private:
  class Install;
  // Somebody in execute(), found by the command's cookie.
  struct Pending {
    std::optional<record::Outcome> outcome;
  };

  Task<Status> apply(raft::Index index, raft::Payload bytes) override;
  raft::Index applied() const override { return applied_; }
  raft::Index durable() const override { return flushed_; }
  Task<Result<raft::SnapshotImage>> make_snapshot() override;
  Task<Result<std::string>> read_piece(raft::Index index, u32 piece, u64 offset,
                                       u32 length) override;
  void release_snapshot(raft::Index index) override;
  Task<Result<std::unique_ptr<raft::SnapshotSink>>> begin_install(
      raft::SnapshotImage image) override;

  Task<Result<Prepared>> prepare(u64 index, const record::Command& command);
  Task<Status> store(const KvBatch& batch);
  Task<Status> load_state(const Genesis& genesis);
  void take_meta(record::Meta meta);
  Task<Status> adopt_state();
  void fail(const Error& error);
  Task<void> flush_loop();
  Task<void> reclaim_loop();
  Task<void> leadership_loop();

  Reactor& reactor_;
  GroupOptions options_;
  master::StateMachine machine_;
  ServerTable servers_;
  std::unique_ptr<Kv> kv_;
  SnapshotFolder snapshots_;
  ScanViews scans_;
  ServerSource* server_source_ = nullptr;
  raft::Replica* replica_ = nullptr;

  u64 applied_ = 0;
  u64 flushed_ = 0;
  raft::GroupId id_{0};
  record::Meta meta_;
  u64 next_cookie_ = 0;
  std::map<u64, Pending*> pending_;
  std::optional<Error> failed_;
  bool store_full_ = false;  // the store takes nothing until there is room again
  bool opened_ = false;
  bool closing_ = false;
  bool flushing_ = false;
  bool installing_ = false;  // the store is being replaced
  WaitList closing_or_due_;  // wakes flush_loop
  WaitList reclaim_due_;
  WaitList unlocked_;
  WaitList news_;
  WaitList flushed_list_;
  Gate gate_;
  GroupCounters counters_;
};

template <class F>
Task<std::invoke_result_t<F&, Txn&>> Group::query(F f) {
  using Answer = std::invoke_result_t<F&, Txn&>;
  ++counters_.queries;
  if (failed_) {
    co_return Answer(*failed_);
  }
  {
    Txn txn(*kv_);
    Answer answer = f(txn);
    if (!txn.failed()) {
      co_return answer;
    }
    if (txn.failure().code() != Code::kBusy) {
      co_return Answer(txn.failure());
    }
  }
  ++counters_.queries_in_background;
  const std::unique_ptr<KvReader> view = kv_->blocking_view();
  auto work = [&f, &view]() -> Answer {
    Txn txn(*view);
    Answer answer = f(txn);
    return txn.failed() ? Answer(txn.failure()) : std::move(answer);
  };
  Answer answer = co_await run_in_background(work);
  co_return answer;
}

}  // namespace pangu::master
