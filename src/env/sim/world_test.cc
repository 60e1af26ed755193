#include "env/sim/world.h"

#include <gtest/gtest.h>

#include "runtime/await.h"
#include "runtime/sync.h"

namespace pangu::env::sim {
namespace {

// A process of a test: a reactor on a node.
struct Process {
  Node& node;
  std::unique_ptr<Reactor> reactor;
  explicit Process(Node& n) : node(n) { start(); }
  void start() {
    reactor = std::make_unique<Reactor>(node.env(), ReactorOptions{});
    node.env().attach(*reactor);
  }
  void spawn(Task<void> task) { reactor->spawn("test", TaskClass::foreground, std::move(task)); }
  void crash(Crash how) {
    node.crash(how);
    reactor->abandon();
    reactor.reset();
  }
  ~Process() {
    if (reactor != nullptr) {
      crash(Crash::process);
    }
  }
};

Task<void> tick(int times, Duration period, int& ticks) {
  for (int i = 0; i < times; ++i) {
    co_await sleep_for(period);
    ++ticks;
  }
}

Task<void> append_to_file(SimEnv& env, int writes, u64 seed) {
  auto file = env.files().open("data", {.create = true});
  CHECK(file.ok());
  std::vector<std::byte> block(4096, static_cast<std::byte>(seed));
  for (int i = 0; i < writes; ++i) {
    const i64 written =
        co_await async_write(**file, static_cast<u64>(i) * 4096, block, Durability::volatile_write);
    CHECK(written == 4096);
    if (i % 4 == 3) {
      const i64 flushed = co_await async_flush(**file);
      CHECK(flushed == 0);
    }
  }
}

// Some of everything: timers, files, and both ends of a connection.
Task<void> serve_echo(Listener& listener) {
  std::unique_ptr<Socket> socket;
  const i64 accepted = co_await async_accept(listener, socket);
  CHECK(accepted == 0);
  std::array<std::byte, 512> bytes;
  for (;;) {
    const i64 got = co_await async_receive_some(*socket, bytes);
    if (got <= 0) {
      break;
    }
    const iovec piece{bytes.data(), static_cast<size_t>(got)};
    const i64 sent = co_await async_send(*socket, {&piece, 1});
    if (sent != got) {
      break;
    }
  }
}

Task<void> call_echo(SimEnv& env, Address to, int calls, int& answered) {
  std::unique_ptr<Socket> socket;
  const i64 connected = co_await async_connect(env, to, socket);
  CHECK(connected == 0);
  std::array<std::byte, 300> out, in;
  for (int i = 0; i < calls; ++i) {
    out.fill(static_cast<std::byte>(i));
    const iovec piece{out.data(), out.size()};
    const i64 sent = co_await async_send(*socket, {&piece, 1});
    CHECK(sent == 300);
    const i64 got = co_await async_receive(*socket, in);
    CHECK(got == 300);
    CHECK(in == out);
    ++answered;
  }
}

struct Outcome {
  u64 hash = 0;
  u64 events = 0;
};

Outcome run_everything(u64 seed) {
  WorldOptions options;
  options.stall_rate = 0.001;
  World world(seed, options);
  Process a(world.add_node("a"));
  Process b(world.add_node("b"));
  auto listener = b.node.env().listen(b.node.address(7100));
  CHECK(listener.ok());
  int ticks = 0;
  int answered = 0;
  a.spawn(tick(50, microseconds(700), ticks));
  a.spawn(append_to_file(a.node.env(), 20, seed));
  b.spawn(serve_echo(**listener));
  a.spawn(call_echo(a.node.env(), b.node.address(7100), 40, answered));
  EXPECT_TRUE(
      world.run_until([&] { return ticks == 50 && answered == 40 && a.reactor->tasks() == 0; },
                      world.now() + seconds(10)))
      << "seed " << seed;
  const Outcome outcome{world.trace_hash(), world.events()};
  b.crash(Crash::process);
  return outcome;
}

TEST(World, SameSeedSameTrace) {
  std::set<u64> hashes;
  for (u64 seed = 1; seed <= 20; ++seed) {
    const Outcome first = run_everything(seed);
    const Outcome second = run_everything(seed);
    EXPECT_EQ(first.hash, second.hash) << "seed " << seed;
    EXPECT_EQ(first.events, second.events) << "seed " << seed;
    hashes.insert(first.hash);
  }
  EXPECT_EQ(hashes.size(), 20u) << "different seeds must differ";
}

Task<void> note_time(SimEnv& env, Duration wait, Instant& before, Instant& after) {
  before = env.now();
  co_await sleep_for(wait);
  after = env.now();
}

TEST(World, TimersFollowTheNodesOwnClock) {
  World world(1);
  Node& node = world.add_node("fast");
  node.set_clock(seconds(5000), 100'000);  // ten percent fast
  Process fast(node);
  Instant before, after;
  const Instant start = world.now();
  fast.spawn(note_time(fast.node.env(), seconds(11), before, after));
  ASSERT_TRUE(world.run_until([&] { return after.ns != 0; }, world.now() + seconds(60)));
  EXPECT_GE(before, Instant{} + seconds(5000));
  EXPECT_GE(after - before, seconds(11));
  EXPECT_LT(after - before, seconds(11) + milliseconds(1));
  EXPECT_NEAR((world.now() - start).seconds(), 10.0, 0.001);
}

TEST(World, ClockMappingsAgree) {
  World world(7);
  Node& node = world.add_node("n");
  Prng prng(3);
  for (int i = 0; i < 1000; ++i) {
    const Instant local{static_cast<i64>(prng.below(1'000'000'000'000'000))};
    const Instant when = node.world_time(local);
    if (when.ns > 0) {
      EXPECT_GE(node.local_time(when), local);
      EXPECT_LT(node.local_time(when - nanoseconds(1)), local);
    }
  }
}

TEST(World, RunUntilStopsAtTheDeadline) {
  World world(1);
  const Instant end = world.now() + seconds(3);
  EXPECT_FALSE(world.run_until([] { return false; }, end));
  EXPECT_EQ(world.now(), end);
}

TEST(World, RunBlockingDrivesTheWorld) {
  World world(5);
  Process a(world.add_node("a"));
  Process b(world.add_node("b"));
  auto listener = b.node.env().listen(b.node.address(7100));
  b.spawn(serve_echo(**listener));
  int answered = 0;
  run_blocking(*a.reactor, call_echo(a.node.env(), b.node.address(7100), 5, answered));
  EXPECT_EQ(answered, 5);
  b.crash(Crash::process);
}

Task<Unit> background_sum(std::vector<int>& numbers, int& sum) {
  auto add = [&numbers] {
    CHECK(Reactor::current_or_null() == nullptr);
    int total = 0;
    for (const int each : numbers) {
      total += each;
    }
    return total;
  };
  BackgroundAwaiter<decltype(add)> work(add);
  sum = co_await work;
  co_return Unit{};
}

TEST(World, BackgroundWorkRunsLater) {
  World world(5);
  Process a(world.add_node("a"));
  std::vector<int> numbers{1, 2, 3};
  int sum = 0;
  const Instant start = world.now();
  run_blocking(*a.reactor, background_sum(numbers, sum));
  EXPECT_EQ(sum, 6);
  EXPECT_GT(world.now(), start);
}

TEST(World, APausedProcessStandsStillAndItsHostDoesNot) {
  World world(9);
  Process a(world.add_node("a"));
  int ticks = 0;
  a.spawn(tick(1000, milliseconds(1), ticks));
  a.spawn(append_to_file(a.node.env(), 3, 9));
  world.run_for(microseconds(1));  // the first write is under way
  a.node.pause();
  world.run_for(seconds(1));
  EXPECT_EQ(ticks, 0);
  EXPECT_EQ(a.node.disk().counters().writes, 1u);
  a.node.resume();
  world.run_for(milliseconds(100));
  EXPECT_GT(ticks, 50);
  EXPECT_EQ(a.node.disk().counters().writes, 3u);
}

TEST(World, ACrashedProcessNeverHearsOfItsOperations) {
  World world(9);
  Process a(world.add_node("a"));
  int ticks = 0;
  for (int round = 0; round < 5; ++round) {
    a.spawn(append_to_file(a.node.env(), 1000, 9));
    a.spawn(tick(1000, microseconds(50), ticks));
    world.run_for(milliseconds(2));
    a.crash(round % 2 == 0 ? Crash::power : Crash::process);
    const int before = ticks;
    world.run_for(milliseconds(2));
    EXPECT_EQ(ticks, before);
    a.node.restart();
    a.start();
  }
}

TEST(World, DriverEventsMayCrashAndSpawn) {
  World world(2);
  Process a(world.add_node("a"));
  int ticks = 0;
  world.at(world.now() + seconds(1), [&] { a.crash(Crash::power); });
  world.at(world.now() + seconds(2), [&] {
    a.node.restart();
    a.start();
    a.spawn(tick(10, milliseconds(1), ticks));
  });
  EXPECT_TRUE(world.run_until([&] { return ticks == 10; }, world.now() + seconds(5)));
}

TEST(World, LogLinesCarryTimeAndNode) {
  World world(2);
  Process a(world.add_node("alpha"));
  std::vector<std::string> lines;
  const WorldLog log(
      world,
      [](void* context, std::string_view line) {
        static_cast<std::vector<std::string>*>(context)->emplace_back(line);
      },
      &lines);
  struct Speak {
    static Task<void> up() {
      LOG_WARN("hello {}", 7);
      co_return;
    }
  };
  a.spawn(Speak::up());
  world.run_for(milliseconds(1));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("alpha warn: hello 7"), std::string::npos) << lines[0];
  EXPECT_TRUE(lines[0].starts_with("1.000")) << lines[0];
}

Task<void> watch_clock(SimEnv& env, Duration& longest) {
  Instant last = env.now();
  for (int i = 0; i < 20000; ++i) {
    const Instant now = env.now();
    CHECK(now >= last);
    longest = std::max(longest, now - last);
    last = now;
  }
  co_return;
}

TEST(World, StallsJumpTimeInsideATask) {
  WorldOptions options;
  options.stall_rate = 0.001;
  World world(3, options);
  Process a(world.add_node("a"));
  Duration longest;
  a.spawn(watch_clock(a.node.env(), longest));
  world.run_for(seconds(1));
  EXPECT_GT(longest, milliseconds(1));
  EXPECT_GT(a.node.env().preemptions(), 0u);
}

}  // namespace
}  // namespace pangu::env::sim
