#include "runtime/reactor.h"

#include "base/log.h"

namespace pangu {

namespace {
thread_local Reactor* t_current = nullptr;

// Tells the core that this is a spin loop: its other hardware thread gets more of it.
inline void relax_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}
}  // namespace

// The root of a task tree: a coroutine of its own that awaits the spawned Task and then frees
// itself.
struct RootPromise : PromiseBase, ListNode {
  TaskContext own_context;
  Ready ready;

  struct Root {
    using promise_type = RootPromise;
    std::coroutine_handle<RootPromise> handle;
  };
  Root get_return_object() { return Root{std::coroutine_handle<RootPromise>::from_promise(*this)}; }
  std::suspend_always initial_suspend() const noexcept { return {}; }
  struct Finish {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<RootPromise> self) const noexcept {
      --self.promise().own_context.reactor->tasks_;
      self.destroy();
    }
    void await_resume() const noexcept {}
  };
  Finish final_suspend() const noexcept { return {}; }
  void return_void() const noexcept {}
};

namespace {
RootPromise::Root run_root(Task<void> task) {
  co_await std::move(task);
}
}  // namespace

ReactorScope::ReactorScope(Reactor* reactor) : previous_(std::exchange(t_current, reactor)) {}
ReactorScope::~ReactorScope() {
  t_current = previous_;
}

Reactor& Reactor::current() {
  CHECK_NOTE(t_current != nullptr, "called outside any reactor's turn");
  return *t_current;
}
Reactor* Reactor::current_or_null() {
  return t_current;
}

Reactor::Reactor(env::Env& env, const ReactorOptions& options)
    : env_(env), options_(options), roots_(std::make_unique<IntrusiveList<RootPromise>>()) {
  timers_.reserve(1024);
  slice_reports_.reserve(64);  // a long slice of a new name must not allocate either
  last_active_ = env_.now();
}

Reactor::~Reactor() {
  CHECK_NOTE(tasks_ == 0 || abandoned_, "a reactor was destroyed with tasks left");
  for (Timer* timer : timers_) {
    timer->reactor_ = nullptr;
  }
}

void Reactor::spawn(const char* name, TaskClass task_class, Task<void> task) {
  CHECK(task.valid());
  CHECK(!abandoned_);
  RootPromise& root = run_root(std::move(task)).handle.promise();
  root.own_context = TaskContext{.name = name, .task_class = task_class, .reactor = this};
  root.context = &root.own_context;
  root.ready.handle = std::coroutine_handle<RootPromise>::from_promise(root);
  root.ready.context = &root.own_context;
  roots_->push_front(root);  // abandon() ends the newest first
  ++tasks_;
  schedule(root.ready);
}

void Reactor::schedule(Ready& ready) {
  if (abandoned_) {
    return;
  }
  Queue& queue = queues_[static_cast<size_t>(ready.context->task_class)];
  ready.next = nullptr;
  (queue.last == nullptr ? queue.first : queue.last->next) = &ready;
  queue.last = &ready;
}

void Reactor::post(PostedMessage& message) {
  message.next = posted_.load(std::memory_order_relaxed);
  while (!posted_.compare_exchange_weak(message.next, &message, std::memory_order_release,
                                        std::memory_order_relaxed)) {
  }
  env_.wake();
}

void Reactor::take_posted() {
  if (posted_.load(std::memory_order_relaxed) == nullptr) {
    return;
  }
  PostedMessage* stack = posted_.exchange(nullptr, std::memory_order_acquire);
  PostedMessage* in_order = nullptr;
  while (stack != nullptr) {
    PostedMessage* next = stack->next;
    stack->next = in_order;
    in_order = stack;
    stack = next;
  }
  while (in_order != nullptr) {
    PostedMessage* next = in_order->next;  // run() may free the message
    in_order->run(in_order);
    in_order = next;
  }
}

Ready* Reactor::pick() {
  size_t chosen = kTaskClasses;
  u64 longest = kMinimumShare - 1;
  for (size_t i = 0; i < kTaskClasses; ++i) {
    if (queues_[i].first == nullptr) {
      continue;
    }
    if (chosen == kTaskClasses) {
      chosen = i;
    } else if (++passed_over_[i] > longest) {
      longest = passed_over_[i];
      chosen = i;
    }
  }
  if (chosen == kTaskClasses) {
    return nullptr;
  }
  passed_over_[chosen] = 0;
  Queue& queue = queues_[chosen];
  Ready* ready = queue.first;
  queue.first = ready->next;
  if (queue.first == nullptr) {
    queue.last = nullptr;
  }
  ++counters_.resumed[chosen];
  return ready;
}

void Reactor::resume(Ready& ready) {
  // Read before: a finished root frees itself and its context.
  const char* name = ready.context->name;
  running_name_.store(name, std::memory_order_relaxed);
  const u64 beat = heartbeat_.load(std::memory_order_relaxed);  // nobody else writes it
  heartbeat_.store(beat + 1, std::memory_order_relaxed);
  ready.handle.resume();
  heartbeat_.store(beat + 2, std::memory_order_relaxed);
  const Instant end = env_.now();
  const Duration took = end - slice_start_;
  slice_start_ = end;
  if (took > options_.slice_limit) [[unlikely]] {
    judge_slice(name, took);
    slice_start_ = env_.now();
  }
}

void Reactor::judge_slice(const char* name, Duration took) {
  SliceReport* report = nullptr;
  for (SliceReport& each : slice_reports_) {
    if (each.name == name) {
      report = &each;
    }
  }
  if (report == nullptr) {
    report = &slice_reports_.emplace_back(SliceReport{.name = name});
  }
  if (was_preempted(slice_start_)) {
    ++report->stolen;
    return;
  }
  ++report->over_limit;
  report->longest = std::max(report->longest, took);
  if (took > options_.slice_alarm) {
    ++report->over_alarm;
    // The first and then every power of two: an alarm must not become a flood.
    if (std::has_single_bit(report->over_alarm)) {
      LOG_DEBUG("task {} held its reactor for {} us ({} times over 1 ms so far)", name, took.us(),
                report->over_alarm);
    }
  }
}

bool Reactor::fire_timers() {
  bool fired = false;
  if (timers_.empty()) {
    return false;
  }
  const Instant now = env_.now();
  while (!timers_.empty() && timers_.front()->when_ <= now) {
    Timer* timer = timers_.front();
    timer->cancel();
    timer->callback_(timer);
    fired = true;
  }
  return fired;
}

bool Reactor::turn() {
  const ReactorScope scope(this);
  if (++counters_.turns == 1) {
    preemptions_seen_ =
        env_.preemptions();  // of this thread, which need not be the one that built us
  }
  take_posted();
  bool ran = fire_timers();
  const Instant start = env_.now();
  slice_start_ = start;
  for (size_t i = 0; i < kResumptionsPerTurn; ++i) {
    Ready* ready = pick();
    if (ready == nullptr) {
      break;
    }
    resume(*ready);
    ran = true;
    if (abandoned_ || slice_start_ - start > kTurnTime) {
      break;
    }
  }
  return ran;
}

Instant Reactor::next_deadline() {
  for (const Queue& queue : queues_) {
    if (queue.first != nullptr) {
      return env_.now();
    }
  }
  if (posted_.load(std::memory_order_relaxed) != nullptr) {
    return env_.now();
  }
  return timers_.empty() ? Instant::never() : timers_.front()->when_;
}

// Whether the kernel took the core away since the last call. Spinning on a core that others want
// only takes it from them: after that there is none for a second.
bool Reactor::was_preempted(Instant now) {
  preemptions_checked_ = now;
  const u64 preemptions = env_.preemptions();
  if (preemptions == preemptions_seen_) {
    return false;
  }
  preemptions_seen_ = preemptions;
  spin_banned_until_ = now + seconds(1);
  return true;
}

bool Reactor::may_spin(Instant now) const {
  return options_.spin.ns > 0 && now - last_active_ < options_.spin &&
         (now >= spin_banned_until_ || options_.spin_always);
}

void Reactor::run_once(Instant deadline) {
  const bool ran = turn();
  size_t completed = 0;
  {
    const ReactorScope scope(this);
    const Instant next = std::min(next_deadline(), deadline);
    const Instant now = env_.now();
    if (ran) {
      last_active_ = now;
    }
    if (now - preemptions_checked_ >= kPreemptionLookEvery) {
      static_cast<void>(was_preempted(now));
    }
    if (next <= now || stop_.load(std::memory_order_relaxed)) {
      completed = env_.poll();
    } else if (may_spin(now)) {
      completed = env_.poll();
      ++counters_.spin_polls;
      relax_processor();
    } else {
      ++counters_.sleeps;
      completed = env_.wait(next);
    }
  }
  counters_.completions += completed;
  if (completed > 0) {
    last_active_ = env_.now();
  }
}

void Reactor::run() {
  while (!stop_.load(std::memory_order_acquire)) {
    run_once(Instant::never());
  }
  stop_.store(false, std::memory_order_relaxed);
}

void Reactor::stop() {
  stop_.store(true, std::memory_order_release);
  env_.wake();
}

void Reactor::abandon() {
  const ReactorScope scope(this);
  abandoned_ = true;
  queues_ = {};
  while (!timers_.empty()) {
    timers_.back()->cancel();
  }
  while (RootPromise* root = roots_->front()) {
    root->unlink();
    std::coroutine_handle<RootPromise>::from_promise(*root).destroy();
  }
  tasks_ = 0;
}

// The timers: a binary heap ordered by (when, order armed).
void Timer::arm(Reactor& reactor, Instant when) {
  cancel();
  if (reactor.abandoned_) {
    return;
  }
  reactor_ = &reactor;
  when_ = when;
  order_ = ++reactor.timer_order_;
  reactor.timers_.push_back(this);
  place_ = reactor.timers_.size() - 1;
  reactor.heap_up(place_);
}

void Timer::cancel() {
  if (reactor_ == nullptr) {
    return;
  }
  Reactor& reactor = *std::exchange(reactor_, nullptr);
  const size_t place = place_;
  Timer* moved = reactor.timers_.back();
  reactor.timers_.pop_back();
  if (moved != this) {
    reactor.heap_place(moved, place);
    reactor.heap_up(place);
    reactor.heap_down(moved->place_);
  }
}

void Reactor::heap_place(Timer* timer, size_t place) {
  timers_[place] = timer;
  timer->place_ = place;
}

void Reactor::heap_up(size_t place) {
  Timer* timer = timers_[place];
  while (place > 0) {
    const size_t parent = (place - 1) / 2;
    Timer* above = timers_[parent];
    if (std::pair(above->when_, above->order_) <= std::pair(timer->when_, timer->order_)) {
      break;
    }
    heap_place(above, place);
    place = parent;
  }
  heap_place(timer, place);
}

void Reactor::heap_down(size_t place) {
  Timer* timer = timers_[place];
  for (;;) {
    size_t child = place * 2 + 1;
    if (child >= timers_.size()) {
      break;
    }
    const auto key = [this](size_t i) { return std::pair(timers_[i]->when_, timers_[i]->order_); };
    if (child + 1 < timers_.size() && key(child + 1) < key(child)) {
      ++child;
    }
    if (std::pair(timer->when_, timer->order_) <= key(child)) {
      break;
    }
    heap_place(timers_[child], place);
    place = child;
  }
  heap_place(timer, place);
}

}  // namespace pangu
