#pragma once
#include <array>
#include <atomic>
#include <coroutine>
#include <string_view>
#include <vector>

#include "base/intrusive_list.h"
#include "base/time.h"
#include "env/env.h"
#include "runtime/task.h"

// The reactor: one thread's run-to-completion loop over one Env. It owns the run queues, the timers
// and every spawned task. A request lives on one reactor from first byte to reply; state reached
// from its tasks needs no lock. In simulation many reactors share one thread, each on its own Env.
//
// Invariants
// 1. Tasks are resumed only from turn(), never from inside an event handler or another task.
// 2. A class runs only when no higher class is ready, except that a waiting class that was passed
//    over kMinimumShare - 1 times in a row comes next (of several such, the one that waited
//    longest).
// 3. Queueing, timers and wake-ups allocate nothing after warm-up.
namespace pangu {

struct RootPromise;

// A callback at a point in time. Must be destroyed or cancelled before its owner goes.
class Timer {
 public:
  using Callback = void (*)(Timer*) noexcept;
  explicit Timer(Callback callback) : callback_(callback) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }
  // Arms it on `reactor`, replacing an earlier time.
  void arm(Reactor& reactor, Instant when);
  void cancel();
  bool armed() const { return reactor_ != nullptr; }

 private:
  friend class Reactor;
  Callback callback_;
  Reactor* reactor_ = nullptr;
  Instant when_;
  u64 order_ = 0;  // armed earlier fires earlier at the same instant: determinism
  size_t place_ = 0;
};

// A message from any thread: `run` is called on the reactor's thread. The poster keeps it in place
// until then.
struct PostedMessage {
  void (*run)(PostedMessage*) noexcept = nullptr;
  PostedMessage* next = nullptr;
};

struct ReactorOptions {
  // How long to poll after the last completion before sleeping in the kernel. 0: sleep at once.
  Duration spin;
  // Spins also where others want the core (for measurements).
  bool spin_always = false;
  // A resumption longer than this is counted against its task's name; longer than `alarm` warns.
  Duration slice_limit = microseconds(200);
  Duration slice_alarm = milliseconds(1);
};

// What the watchdog knows of one task name.
struct SliceReport {
  const char* name = "";
  u64 over_limit = 0;
  u64 over_alarm = 0;
  u64 stolen = 0;  // the thread was preempted meanwhile: counted here instead
  Duration longest;
};

struct ReactorCounters {
  u64 turns = 0;
  u64 resumed[kTaskClasses] = {};
  u64 completions = 0;
  u64 sleeps = 0;      // times it went to sleep in the kernel
  u64 spin_polls = 0;  // empty polls while spinning
};

class Reactor {
 public:
  // `env` must outlive the reactor.
  Reactor(env::Env& env, const ReactorOptions& options);
  Reactor(const Reactor&) = delete;
  // REQUIRES: no task is left, or abandon() was called.
  ~Reactor();

  // The reactor whose turn() is running on this thread. REQUIRES: there is one.
  static Reactor& current();
  static Reactor* current_or_null();

  env::Env& env() { return env_; }
  Instant now() { return env_.now(); }

  // Starts `task` at the next turn as the root of a task tree. `name` must have static storage.
  void spawn(const char* name, TaskClass task_class, Task<void> task);
  size_t tasks() const { return tasks_; }

  // Queues `ready` for resumption at its context's class. Only on this reactor's thread.
  void schedule(Ready& ready);
  // Thread safe.
  void post(PostedMessage& message);

  // Fires due timers and resumes ready tasks until none is left, or for so long that the caller
  // should poll before it goes on. Returns whether anything ran.
  bool turn();
  // The earliest armed timer, or Instant::never(); "now" if something is ready.
  Instant next_deadline();
  // turn() and poll or wait, until stop() was called and seen.
  void run();
  // Thread safe: run() returns soon.
  void stop();
  // One round of run(): turn, then poll or sleep until `deadline` at most. It may sleep after the
  // last task has ended: who loops until some task has done something lets that task wake the Env.
  void run_once(Instant deadline);

  // A crash: drops the queues and timers and destroys every task where it stands. The Env must have
  // forgotten its operations already. After it only destruction is allowed.
  void abandon();
  bool abandoned() const { return abandoned_; }

  // Start of the resumption that is running now.
  Instant slice_start() const { return slice_start_; }
  Duration slice_limit() const { return options_.slice_limit; }
  const ReactorCounters& counters() const { return counters_; }
  const std::vector<SliceReport>& slice_reports() const { return slice_reports_; }
  // Odd while a task runs, even while the loop is idle; grows with each resumption. For a watchdog
  // thread that looks for a stuck reactor.
  u64 heartbeat() const { return heartbeat_.load(std::memory_order_relaxed); }
  const char* running_name() const { return running_name_.load(std::memory_order_relaxed); }

 private:
  friend class Timer;
  friend struct RootPromise;
  struct Queue {
    Ready* first = nullptr;
    Ready* last = nullptr;
  };
  static constexpr u64 kMinimumShare = 20;
  static constexpr size_t kResumptionsPerTurn = 1024;
  static constexpr Duration kTurnTime = microseconds(500);
  static constexpr Duration kPreemptionLookEvery = milliseconds(1);

  bool fire_timers();
  void take_posted();
  Ready* pick();
  void resume(Ready& ready);
  void judge_slice(const char* name, Duration took);
  void heap_up(size_t place);
  void heap_down(size_t place);
  void heap_place(Timer* timer, size_t place);
  bool may_spin(Instant now) const;
  bool was_preempted(Instant now);

  env::Env& env_;
  ReactorOptions options_;
  std::array<Queue, kTaskClasses> queues_;
  std::array<u64, kTaskClasses> passed_over_{};
  std::vector<Timer*> timers_;
  u64 timer_order_ = 0;
  std::atomic<PostedMessage*> posted_{nullptr};
  std::atomic<bool> stop_{false};
  std::atomic<u64> heartbeat_{0};
  std::atomic<const char*> running_name_{""};
  std::unique_ptr<IntrusiveList<RootPromise>> roots_;  // RootPromise is private to the .cc
  size_t tasks_ = 0;
  bool abandoned_ = false;
  Instant slice_start_;
  Instant last_active_;
  u64 preemptions_seen_ = 0;
  Instant preemptions_checked_;
  Instant spin_banned_until_;
  ReactorCounters counters_;
  std::vector<SliceReport> slice_reports_;
};

// Sets Reactor::current() for a scope; turn() does it by itself.
class ReactorScope {
 public:
  explicit ReactorScope(Reactor* reactor);
  ~ReactorScope();

 private:
  Reactor* previous_;
};

}  // namespace pangu
