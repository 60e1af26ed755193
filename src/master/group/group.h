#pragma once
#include <map>
#include <memory>
#include <optional>

#include "master/group/server_table.h"
#include "master/log/command_log.h"
#include "master/state/state_machine.h"
#include "master/state/txn.h"
#include "runtime/await.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// One group of the metadata: log, store and state machine put together, on one reactor.
//
// Invariants
// 1. What execute() answers is durable and applied; what query() sees is applied.
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

class Group final : private CommandLog::Consumer {
 public:
  // `reactor` must outlive the group.
  Group(Reactor& reactor, const GroupOptions& options, const LivenessOptions& liveness);
  // REQUIRES: stop() returned, or open() was not called, or the reactor was abandoned
  ~Group() override;

  // Takes over store and log, makes a new cluster's state if both are empty, replays the log.
  // kWrongCluster: the store is another cluster's.
  Task<Status> open(std::unique_ptr<Kv> kv, std::unique_ptr<CommandLog> log, Uuid cluster);
  // Flushes the store, so that the next start has little to replay. Also after an open() that failed.
  Task<void> stop();

  // Proposes a command and waits until it is applied. The outcome may be an error's. Errors:
  //   kNoSpace, kBusy, kTimeout, kClosed, kIoError   nothing happened
  //   kUnknownOutcome                                it may have happened
  Task<Result<record::Outcome>> execute(u32 method, std::string request, record::Offer offer,
                                        Instant deadline);

  // f(Txn&) -> Result<T>: what the state says now. `f` must not change anything and must own what it
  // refers to; it may run on a background thread, and again there after a first try here.
  template <class F>
  Task<std::invoke_result_t<F&, Txn&>> query(F f);

  // Returns when the recursive removal `purge` has freed everything; false at the deadline.
  Task<bool> wait_purged(u64 purge, Instant deadline);

  ServerTable& servers() { return servers_; }
  Reactor& reactor() { return reactor_; }
  u64 applied_index() const { return applied_; }
  const GroupCounters& counters() const { return counters_; }
  const Kv& kv() const { return *kv_; }

  // Makes what is applied durable in the store and cuts the log.
  Task<Status> flush();

 private:
  // Somebody in execute(), found by the command's cookie.
  struct Pending {
    std::optional<record::Outcome> outcome;
    Event done;
  };

  Task<Status> apply(u64 index, std::string bytes) override;
  Task<Result<Prepared>> prepare(u64 index, const record::Command& command);
  Task<Status> store(const KvBatch& batch);
  Task<Status> load_state(Uuid cluster);
  void fail(const Error& error);
  Task<void> flush_loop();
  Task<void> reclaim_loop();

  Reactor& reactor_;
  GroupOptions options_;
  StateMachine machine_;
  ServerTable servers_;
  std::unique_ptr<Kv> kv_;
  std::unique_ptr<CommandLog> log_;

  u64 applied_ = 0;
  u64 flushed_ = 0;
  u64 reclaims_ = 0;
  u64 next_cookie_ = 0;
  std::map<u64, Pending*> pending_;
  std::optional<Error> failed_;
  bool store_full_ = false;  // the store takes nothing until there is room again
  bool opened_ = false;
  bool closing_ = false;
  bool flushing_ = false;
  WaitList closing_or_due_;  // wakes flush_loop
  WaitList reclaim_due_;
  WaitList reclaimed_;
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
