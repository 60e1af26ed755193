#pragma once
#include <coroutine>

#include "base/intrusive_list.h"
#include "runtime/reactor.h"

// Waiting for one another on one reactor: WaitList, Semaphore, Gate. None of them is thread safe,
// none allocates.
namespace pangu {

// Tasks that wait until somebody wakes them, or until a deadline.
class WaitList {
 public:
  WaitList() = default;
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;
  ~WaitList();

  class Awaiter : public ListNode, Ready {
   public:
    Awaiter(WaitList& list, Instant deadline) : list_(list), deadline_(deadline) {}
    bool await_ready() const noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiter) {
      handle = waiter;
      context = waiter.promise().context;
      list_.waiters_.push_back(*this);
      if (deadline_ != Instant::never()) {
        alarm_.arm(*context->reactor, deadline_);
      }
    }
    // False: the deadline passed first.
    bool await_resume() const noexcept { return woken_; }

   private:
    friend class WaitList;
    struct Alarm : Timer {
      Awaiter* owner;
      explicit Alarm(Awaiter* o);
    };
    void wake(bool woken);
    WaitList& list_;
    Instant deadline_;
    bool woken_ = false;
    Alarm alarm_{this};
  };

  // Waits for a wake-up that comes after this call. Wake-ups are not remembered: test the condition
  // before and after, in a loop.
  Awaiter wait(Instant deadline = Instant::never()) { return Awaiter(*this, deadline); }
  void wake_one();
  void wake_all();
  bool has_waiters() { return !waiters_.empty(); }

 private:
  IntrusiveList<Awaiter> waiters_;
};

// A flag that tasks wait for. Once set it stays set until reset().
class Event {
 public:
  bool is_set() const { return set_; }
  void set() {
    set_ = true;
    list_.wake_all();
  }
  void reset() { set_ = false; }
  // True once set; false if the deadline passed first.
  struct Awaiter {
    Event& event;
    WaitList::Awaiter inner;
    bool await_ready() const noexcept { return event.set_; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> waiter) {
      inner.await_suspend(waiter);
    }
    bool await_resume() const noexcept { return event.set_; }
  };
  Awaiter wait(Instant deadline = Instant::never()) {
    return Awaiter{*this, WaitList::Awaiter(list_, deadline)};
  }

 private:
  bool set_ = false;
  WaitList list_;
};

// A count of units (bytes, slots) that tasks take and give back; first come, first served.
class Semaphore {
 public:
  explicit Semaphore(u64 units) : units_(units) {}
  u64 available() const { return units_; }
  bool try_take(u64 units);
  // False if the deadline passed first; then nothing was taken. May exceed what there is in all
  // only if somebody will give more.
  Task<bool> take(u64 units, Instant deadline = Instant::never());
  void give(u64 units);

 private:
  struct Waiter : ListNode {
    u64 units;
    Event granted;
    explicit Waiter(u64 n) : units(n) {}
  };
  void grant();
  u64 units_;
  IntrusiveList<Waiter> waiters_;
};

// Counts the tasks of one owner: refuses new ones once closed and lets stop() wait for the rest.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  // REQUIRES: closed and empty (or the reactor was abandoned).
  ~Gate();

  // Spawns a root task that the gate counts. Returns false, dropping the task, if it is closed.
  bool spawn(Reactor& reactor, const char* name, TaskClass task_class, Task<void> task);
  bool closed() const { return closed_; }
  size_t count() const { return count_; }
  // Refuses new tasks from now on and returns when the last one has ended. Call once.
  Task<void> close();

  // A share held by a scope inside a task. REQUIRES: not closed.
  class Holder {
   public:
    explicit Holder(Gate& gate) : gate_(&gate) { ++gate.count_; }
    Holder(Holder&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Holder& operator=(Holder&&) = delete;
    ~Holder();

   private:
    Gate* gate_;
  };

 private:
  size_t count_ = 0;
  bool closed_ = false;
  WaitList emptied_;
};

// Runs `task` on `reactor` and drives the reactor from the calling thread until it is done. For
// main programs, tests and blocking facades. REQUIRES: no reactor is current on this thread.
template <class T>
T run_blocking(Reactor& reactor, Task<T> task, TaskClass task_class = TaskClass::foreground);

namespace detail {
template <class T>
Task<void> store_result(Task<T> task, std::optional<T>& into, bool& finished) {
  into.emplace(co_await std::move(task));
  finished = true;
  Reactor::current().env().wake();  // run_blocking is about to wait
}
inline Task<void> store_result_void(Task<void> task, bool& finished) {
  co_await std::move(task);
  finished = true;
  Reactor::current().env().wake();
}
}  // namespace detail

template <class T>
T run_blocking(Reactor& reactor, Task<T> task, TaskClass task_class) {
  bool finished = false;
  if constexpr (std::is_void_v<T>) {
    reactor.spawn("blocking", task_class, detail::store_result_void(std::move(task), finished));
    while (!finished) {
      reactor.run_once(Instant::never());
    }
  } else {
    std::optional<T> value;
    reactor.spawn("blocking", task_class,
                  detail::store_result<T>(std::move(task), value, finished));
    while (!finished) {
      reactor.run_once(Instant::never());
    }
    return std::move(*value);
  }
}

}  // namespace pangu
