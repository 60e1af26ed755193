#include "base/prng.h"
#include "runtime/await.h"
#include "runtime/fake_env.h"
#include "runtime/sync.h"

// Tasks, classes, timers, waiting, the reactor's modes: all on time that stands still.
namespace pangu {
namespace {

struct Fixture : testing::Test {
  env::FakeEnv env;
  Reactor reactor{env, {}};
  // Turns until no task is left.
  void run_all() {
    while (reactor.tasks() > 0) {
      reactor.run_once(env.now() + microseconds(1));
    }
  }
  template <class T>
  T run(Task<T> task) {
    return run_blocking(reactor, std::move(task));
  }
};
using TaskTest = Fixture;
using ClassTest = Fixture;
using TimerTest = Fixture;
using SyncTest = Fixture;
using AbandonTest = Fixture;
using SliceTest = Fixture;

// ---- tasks

Task<int> give(int value) {
  co_return value;
}
Task<int> add(int a, int b) {
  const int left = co_await give(a);
  const int right = co_await give(b);
  co_return left + right;
}

TEST_F(TaskTest, ValuesComeBackThroughAwait) {
  EXPECT_EQ(run(add(2, 40)), 42);
}

Task<std::unique_ptr<int>> give_pointer() {
  co_return std::make_unique<int>(7);
}

TEST_F(TaskTest, MoveOnlyValues) {
  EXPECT_EQ(*run(give_pointer()), 7);
}

Task<u64> count_down(u64 from) {
  u64 total = 0;
  for (u64 i = 0; i < from; ++i) {
    const int one = co_await give(1);
    total += static_cast<u64>(one);
  }
  co_return total;
}

TEST_F(TaskTest, AwaitingReadyTasksNeedsNoStack) {
  EXPECT_EQ(run(count_down(300'000)), 300'000u);
}

Task<u64> recurse(u64 depth) {
  if (depth == 0) {
    co_return 0;
  }
  const u64 below = co_await recurse(depth - 1);
  co_return below + 1;
}

TEST_F(TaskTest, DeepRecursion) {
  EXPECT_EQ(run(recurse(1000)), 1000u);
}

struct Mark {
  int* count;
  explicit Mark(int* c) : count(c) {}
  Mark(Mark&& other) noexcept : count(std::exchange(other.count, nullptr)) {}
  ~Mark() {
    if (count != nullptr) {
      ++*count;
    }
  }
};
Task<void> hold(Mark mark, WaitList& list) {
  const Mark inner = std::move(mark);
  co_await list.wait();
}

TEST_F(TaskTest, ATaskThatNobodyAwaitsFreesItsParameters) {
  int gone = 0;
  WaitList list;
  {
    const Task<void> task = hold(Mark(&gone), list);
  }
  EXPECT_EQ(gone, 1);
}

Task<void> note_context(std::vector<std::string>& seen) {
  TaskContext& context = co_await this_context();
  seen.emplace_back(context.name);
}
Task<void> note_context_below(std::vector<std::string>& seen) {
  co_await note_context(seen);
}

TEST_F(TaskTest, ContextIsInheritedAtAwait) {
  std::vector<std::string> seen;
  reactor.spawn("root one", TaskClass::repair, note_context_below(seen));
  reactor.spawn("root two", TaskClass::repair, note_context_below(seen));
  run_all();
  EXPECT_EQ(seen, (std::vector<std::string>{"root one", "root two"}));
}

Task<i64> background_sum() {
  const i64 sum = co_await run_in_background([] { return i64{41}; });
  co_return sum + 1;
}
TEST_F(TaskTest, BackgroundWorkGivesItsValue) {
  EXPECT_EQ(run(background_sum()), 42);
}

Task<i64> failing_connect(env::Env& world, std::unique_ptr<env::Socket>& socket) {
  const i64 result = co_await async_connect(world, env::Address{}, socket);
  co_return result;
}
TEST_F(TaskTest, OperationResultsComeBack) {
  std::unique_ptr<env::Socket> socket;
  EXPECT_EQ(run(failing_connect(env, socket)), -1);
}

// ---- classes

Task<void> take_turns(char mark, int turns, std::string& trace) {
  for (int i = 0; i < turns; ++i) {
    trace += mark;
    co_await yield_now();
  }
}

TEST_F(ClassTest, HigherClassesFirst) {
  std::string trace;
  reactor.spawn("b", TaskClass::background, take_turns('b', 3, trace));
  reactor.spawn("r", TaskClass::repair, take_turns('r', 3, trace));
  reactor.spawn("f", TaskClass::foreground, take_turns('f', 3, trace));
  reactor.spawn("c", TaskClass::control, take_turns('c', 3, trace));
  run_all();
  EXPECT_EQ(trace, "cccfffrrrbbb");
}

TEST_F(ClassTest, FirstInFirstOutWithinAClass) {
  std::string trace;
  for (const char mark : {'x', 'y', 'z'}) {
    reactor.spawn("task", TaskClass::foreground, take_turns(mark, 3, trace));
  }
  run_all();
  EXPECT_EQ(trace, "xyzxyzxyz");
}

TEST_F(ClassTest, MinimumShareOfEachLowerClassExactly) {
  std::string trace;
  reactor.spawn("c", TaskClass::control, take_turns('c', 1000, trace));
  reactor.spawn("f", TaskClass::foreground, take_turns('f', 1000, trace));
  reactor.spawn("r", TaskClass::repair, take_turns('r', 1000, trace));
  reactor.spawn("b", TaskClass::background, take_turns('b', 1000, trace));
  run_all();
  const std::string period = std::string(17, 'c') + "frb";
  std::string expected = std::string(19, 'c') + "frb";
  while (expected.size() < 800) {
    expected += period;
  }
  EXPECT_EQ(trace.substr(0, expected.size()), expected);
}

TEST_F(ClassTest, TwoBusyClasses) {
  std::string trace;
  reactor.spawn("f", TaskClass::foreground, take_turns('f', 500, trace));
  reactor.spawn("b", TaskClass::background, take_turns('b', 500, trace));
  run_all();
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    expected += std::string(19, 'f') + "b";
  }
  EXPECT_EQ(trace.substr(0, expected.size()), expected);
}

// ---- timers

struct NamedTimer : Timer {
  std::vector<int>* fired;
  int name;
  NamedTimer(std::vector<int>* f, int n)
      : Timer([](Timer* timer) noexcept {
          auto* self = static_cast<NamedTimer*>(timer);
          self->fired->push_back(self->name);
        }),
        fired(f),
        name(n) {}
};

TEST_F(TimerTest, FireInOrderOfTimeThenOfArming) {
  const u64 seed = 20260117;
  Prng prng(seed);
  std::vector<int> fired;
  std::deque<NamedTimer> timers;
  std::vector<std::tuple<i64, int, int>> expected;  // time, order of arming, name
  int order = 0;
  for (int i = 0; i < 2000; ++i) {
    timers.emplace_back(&fired, i);
  }
  std::map<int, std::pair<i64, int>> armed;
  for (int i = 0; i < 6000; ++i) {
    const int name = static_cast<int>(prng.below(timers.size()));
    NamedTimer& timer = timers[static_cast<size_t>(name)];
    if (prng.chance(0.2)) {
      timer.cancel();
      armed.erase(name);
      EXPECT_FALSE(timer.armed());
      continue;
    }
    const Duration after = milliseconds(static_cast<i64>(prng.below(50)));
    timer.arm(reactor, env.now() + after);
    armed[name] = {(env.now() + after).ns, ++order};
  }
  for (const auto& [name, when] : armed) {
    expected.emplace_back(when.first, when.second, name);
  }
  std::sort(expected.begin(), expected.end());
  const Instant end = env.now() + milliseconds(60);
  while (env.now() < end) {
    reactor.run_once(end);
  }
  ASSERT_EQ(fired.size(), expected.size()) << "seed " << seed;
  for (size_t i = 0; i < fired.size(); ++i) {
    ASSERT_EQ(fired[i], std::get<2>(expected[i])) << "seed " << seed << " at " << i;
  }
}

Task<void> sleep_and_note(Duration time, int name, std::vector<int>& woke) {
  co_await sleep_for(time);
  woke.push_back(name);
}

TEST_F(TimerTest, SleepersWakeInOrderAndTimeIsRight) {
  std::vector<int> woke;
  reactor.spawn("late", TaskClass::foreground, sleep_and_note(milliseconds(9), 3, woke));
  reactor.spawn("soon", TaskClass::foreground, sleep_and_note(milliseconds(1), 1, woke));
  reactor.spawn("then", TaskClass::foreground, sleep_and_note(milliseconds(5), 2, woke));
  const Instant start = env.now();
  run_all();
  EXPECT_EQ(woke, (std::vector<int>{1, 2, 3}));
  EXPECT_LE(env.now() - start, milliseconds(9) + microseconds(1));
  EXPECT_GE(env.now() - start, milliseconds(9));
}

// ---- waiting for one another

Task<void> wait_and_note(WaitList& list, Instant deadline, std::string name, std::string& trace) {
  const bool woken = co_await list.wait(deadline);
  trace += name + (woken ? "+" : "-");
}

TEST_F(SyncTest, WaitListWakesInOrderAndKeepsDeadlines) {
  WaitList list;
  std::string trace;
  const auto spawn = [&](const char* name, Instant deadline) {
    reactor.spawn("waiter", TaskClass::foreground, wait_and_note(list, deadline, name, trace));
  };
  spawn("a", Instant::never());
  spawn("b", env.now() + milliseconds(1));
  spawn("c", Instant::never());
  spawn("d", env.now() + milliseconds(50));
  reactor.turn();
  list.wake_one();
  reactor.turn();
  EXPECT_EQ(trace, "a+");
  env.clock = env.clock + milliseconds(2);
  reactor.turn();
  EXPECT_EQ(trace, "a+b-");
  list.wake_all();
  EXPECT_FALSE(list.has_waiters());
  run_all();
  EXPECT_EQ(trace, "a+b-c+d+");
}

Task<void> wait_for(Event& event, Instant deadline, std::string& trace) {
  const bool set = co_await event.wait(deadline);
  trace += set ? "set " : "late ";
}

TEST_F(SyncTest, EventsStaySet) {
  Event event;
  std::string trace;
  reactor.spawn("early", TaskClass::foreground, wait_for(event, Instant::never(), trace));
  reactor.spawn("hasty", TaskClass::foreground, wait_for(event, env.now(), trace));
  reactor.turn();
  reactor.turn();
  EXPECT_EQ(trace, "late ");
  event.set();
  run_all();
  reactor.spawn("after", TaskClass::foreground, wait_for(event, env.now(), trace));
  run_all();
  EXPECT_EQ(trace, "late set set ");
}

Task<void> take_units(Semaphore& units, u64 count, Instant deadline, std::string name,
                      std::string& trace) {
  const bool taken = co_await units.take(count, deadline);
  trace += name + (taken ? "+" : "-");
}

TEST_F(SyncTest, SemaphoreIsFirstComeFirstServed) {
  Semaphore units(2);
  std::string trace;
  const auto spawn = [&](const char* name, u64 count, Instant deadline = Instant::never()) {
    reactor.spawn("taker", TaskClass::foreground, take_units(units, count, deadline, name, trace));
  };
  spawn("a", 1);
  spawn("big", 5);
  spawn("b", 1);  // could be served, but must not overtake
  reactor.turn();
  EXPECT_EQ(trace, "a+");
  EXPECT_FALSE(units.try_take(1)) << "nobody overtakes a waiter";
  units.give(4);
  reactor.turn();
  EXPECT_EQ(trace, "a+big+");
  units.give(1);
  run_all();
  EXPECT_EQ(trace, "a+big+b+");
  EXPECT_EQ(units.available(), 0u);
}

TEST_F(SyncTest, SemaphoreTimeoutLetsSmallerOnesPass) {
  Semaphore units(2);
  std::string trace;
  reactor.spawn("big", TaskClass::foreground,
                take_units(units, 5, env.now() + milliseconds(1), "big", trace));
  reactor.spawn("small", TaskClass::foreground,
                take_units(units, 2, Instant::never(), "small", trace));
  run_all();
  EXPECT_EQ(trace, "big-small+");
  EXPECT_EQ(units.available(), 0u);
}

TEST_F(SyncTest, SemaphoreGrantedWhileTheTimeoutIsOnItsWayLosesNoUnits) {
  Semaphore units(0);
  std::string trace;
  reactor.spawn("taker", TaskClass::background,
                take_units(units, 3, env.now() + milliseconds(1), "t", trace));
  reactor.turn();
  env.clock = env.clock + milliseconds(2);
  {
    // The alarm fires inside turn(), before the task is resumed; give at that very moment.
    struct Giver : Timer {
      Semaphore* units;
      explicit Giver(Semaphore* u)
          : Timer([](Timer* timer) noexcept { static_cast<Giver*>(timer)->units->give(3); }),
            units(u) {}
    } giver(&units);
    giver.arm(reactor, env.now());
    run_all();
  }
  const u64 held = trace == "t+" ? 3 : 0;
  EXPECT_EQ(units.available() + held, 3u) << trace;
}

Task<void> close_gate(Gate& gate, bool& closed) {
  co_await gate.close();
  closed = true;
}
Task<void> wait_once(WaitList& list) {
  co_await list.wait();
}

TEST_F(SyncTest, GateWaitsForItsTasksAndRefusesNewOnes) {
  Gate gate;
  WaitList list;
  bool closed = false;
  EXPECT_TRUE(gate.spawn(reactor, "inside", TaskClass::foreground, wait_once(list)));
  EXPECT_TRUE(gate.spawn(reactor, "inside", TaskClass::foreground, wait_once(list)));
  reactor.turn();
  reactor.spawn("closer", TaskClass::foreground, close_gate(gate, closed));
  reactor.turn();
  EXPECT_FALSE(gate.spawn(reactor, "late", TaskClass::foreground, wait_once(list)));
  EXPECT_EQ(gate.count(), 2u);
  list.wake_one();
  reactor.turn();
  EXPECT_FALSE(closed);
  list.wake_one();
  run_all();
  EXPECT_TRUE(closed);
}

// ---- slices

Task<void> work_for(env::FakeEnv& env, Duration time, bool preempted) {
  env.clock = env.clock + time;
  env.preempted += preempted ? 1 : 0;
  co_return;
}

TEST_F(SliceTest, LongSlicesAreCountedAgainstTheirTask) {
  env.preempted = 17;  // what other lives of this thread suffered does not count
  const auto spawn = [&](const char* name, Duration time, bool preempted) {
    reactor.spawn(name, TaskClass::foreground, work_for(env, time, preempted));
    run_all();
  };
  spawn("good", microseconds(199), false);
  spawn("slow", microseconds(300), false);
  spawn("slow", microseconds(1500), false);
  spawn("unlucky", microseconds(5000), true);
  const auto& reports = reactor.slice_reports();
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(std::string_view(reports[0].name), "slow");
  EXPECT_EQ(reports[0].over_limit, 2u);
  EXPECT_EQ(reports[0].over_alarm, 1u);
  EXPECT_EQ(reports[0].stolen, 0u);
  EXPECT_EQ(reports[0].longest, microseconds(1500));
  EXPECT_EQ(std::string_view(reports[1].name), "unlucky");
  EXPECT_EQ(reports[1].over_limit, 0u);
  EXPECT_EQ(reports[1].stolen, 1u);
}

Task<void> long_loop(env::FakeEnv& env, std::string& trace) {
  for (int i = 0; i < 10; ++i) {
    env.clock = env.clock + microseconds(90);
    trace += '.';
    co_await yield_if_expired();
  }
}

TEST_F(SliceTest, YieldIfExpiredYieldsOnlyThen) {
  std::string trace;
  reactor.spawn("loop", TaskClass::foreground, long_loop(env, trace));
  reactor.spawn("other", TaskClass::foreground, take_turns('x', 3, trace));
  run_all();
  // 90, 180, 270 us: the limit of 200 is passed at the third.
  EXPECT_EQ(trace, "...x...x...x.");
}

TEST_F(SliceTest, ATurnEndsInTimeForPolling) {
  std::string trace;
  for (int i = 0; i < 100; ++i) {
    reactor.spawn("worker", TaskClass::foreground, work_for(env, microseconds(100), false));
  }
  const Instant start = env.now();
  EXPECT_TRUE(reactor.turn());
  EXPECT_LT(env.now() - start, milliseconds(1));
  EXPECT_GT(reactor.tasks(), 0u);
  run_all();
}

// ---- crash

Task<void> hold_below(Mark mark, WaitList& list, Mark below) {
  co_await hold(std::move(below), list);
  static_cast<void>(mark);
}

TEST_F(AbandonTest, DestroysSuspendedTasksWhereTheyStand) {
  int gone = 0;
  WaitList list;
  reactor.spawn("waits", TaskClass::foreground, hold_below(Mark(&gone), list, Mark(&gone)));
  reactor.turn();
  reactor.spawn("not begun", TaskClass::foreground, hold(Mark(&gone), list));
  std::vector<int> woke;
  reactor.spawn("sleeps", TaskClass::control, sleep_and_note(milliseconds(1), 1, woke));
  std::unique_ptr<env::Socket> socket;
  EXPECT_EQ(gone, 0);
  reactor.abandon();
  EXPECT_EQ(gone, 3);
  EXPECT_EQ(reactor.tasks(), 0u);
  EXPECT_FALSE(list.has_waiters());
}

Task<void> owner_of_a_gate(Reactor& reactor, WaitList& list, int& gone) {
  Gate gate;
  gate.spawn(reactor, "child", TaskClass::foreground, hold(Mark(&gone), list));
  co_await list.wait();
  co_await gate.close();
}

TEST_F(AbandonTest, ChildrenGoBeforeThoseWhoSpawnedThem) {
  int gone = 0;
  WaitList list;
  reactor.spawn("owner", TaskClass::foreground, owner_of_a_gate(reactor, list, gone));
  reactor.turn();
  reactor.turn();
  reactor.abandon();
  EXPECT_EQ(gone, 1);
}

// ---- polling and sleeping

Task<void> sleep_once(Duration time) {
  co_await sleep_for(time);
}

TEST(ModeTest, WithoutSpinItSleepsAtOnce) {
  env::FakeEnv env;
  Reactor reactor(env, {});
  run_blocking(reactor, sleep_once(milliseconds(5)));
  EXPECT_EQ(reactor.counters().spin_polls, 0u);
  EXPECT_EQ(env.sleeps, 1u);
}

struct SpinningWorld {
  env::FakeEnv env;
  Reactor reactor;
  SpinningWorld() : reactor(env, {.spin = microseconds(100)}) { env.poll_takes = microseconds(10); }
  void rounds(int count) {
    for (int i = 0; i < count; ++i) {
      reactor.run_once(env.now() + milliseconds(1));
    }
  }
};

TEST(ModeTest, SpinsForAWhileThenSleeps) {
  SpinningWorld world;
  run_blocking(world.reactor, sleep_once(milliseconds(1)));
  const u64 sleeps = world.env.sleeps;
  const u64 spins = world.reactor.counters().spin_polls;
  world.rounds(9);
  EXPECT_EQ(world.env.sleeps, sleeps) << "still spinning";
  EXPECT_EQ(world.reactor.counters().spin_polls, spins + 9);
  world.rounds(2);  // the first wait may find the wake-up of run_blocking's end
  EXPECT_GT(world.env.sleeps, sleeps) << "idle for 100 us";
}

TEST(ModeTest, NoSpinningForASecondAfterAPreemption) {
  SpinningWorld world;
  run_blocking(world.reactor, sleep_once(milliseconds(1)));
  ++world.env.preempted;
  world.env.clock = world.env.clock + milliseconds(2);
  world.rounds(1);
  const u64 spins = world.reactor.counters().spin_polls;
  const Instant banned = world.env.now();
  while (world.env.now() < banned + milliseconds(980)) {
    run_blocking(world.reactor, sleep_once(microseconds(100)));
    world.rounds(1);
  }
  EXPECT_EQ(world.reactor.counters().spin_polls, spins);
  world.env.clock = world.env.clock + milliseconds(30);
  run_blocking(world.reactor, sleep_once(microseconds(10)));
  world.rounds(1);
  EXPECT_GT(world.reactor.counters().spin_polls, spins);
}

TEST(ModeTest, SpinAlwaysDoesNotYield) {
  env::FakeEnv env;
  env.poll_takes = microseconds(10);
  Reactor reactor(env, {.spin = microseconds(100), .spin_always = true});
  run_blocking(reactor, sleep_once(milliseconds(1)));
  ++env.preempted;
  env.clock = env.clock + milliseconds(2);
  run_blocking(reactor, sleep_once(microseconds(10)));
  const u64 spins = reactor.counters().spin_polls;
  reactor.run_once(env.now() + milliseconds(1));
  EXPECT_EQ(reactor.counters().spin_polls, spins + 1);
}

TEST(ModeTest, PostedMessagesRunInOrder) {
  env::FakeEnv env;
  Reactor reactor(env, {});
  struct Note : PostedMessage {
    std::vector<int>* seen = nullptr;
    int name = 0;
  };
  std::vector<int> seen;
  std::vector<Note> notes(5);
  for (int i = 0; i < 5; ++i) {
    Note& note = notes[static_cast<size_t>(i)];
    note.seen = &seen;
    note.name = i;
    note.run = [](PostedMessage* message) noexcept {
      auto* self = static_cast<Note*>(message);
      self->seen->push_back(self->name);
    };
    reactor.post(note);
  }
  reactor.run_once(Instant::never());
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(ModeTest, StopEndsRun) {
  env::FakeEnv env;
  Reactor reactor(env, {});
  reactor.stop();
  reactor.run();
  EXPECT_EQ(reactor.counters().turns, 0u);
}

}  // namespace
}  // namespace pangu
