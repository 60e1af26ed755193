#include <thread>

#include "env/conformance.h"

// Clock, waiting, waking, background work.
namespace pangu::env::conformance {
namespace {

TEST_P(Conformance, ClockNeverGoesBack) {
  Instant last = env().now();
  for (int i = 0; i < 1000; ++i) {
    const Instant now = env().now();
    EXPECT_GE(now, last);
    last = now;
  }
  world().run_for(milliseconds(2));
  EXPECT_GE(env().now() - last, milliseconds(1));
}

TEST_P(Conformance, RandomNumbersDiffer) {
  std::set<u64> seen;
  for (int i = 0; i < 1000; ++i) {
    seen.insert(env().random());
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST_P(Conformance, WallClockIsAfterTheYear2001) {
  EXPECT_GT(env().wall_clock_us(), 1'000'000'000'000'000);
}

TEST_P(Conformance, PollOfAnIdleEnvFindsNothing) {
  EXPECT_EQ(env().poll(), 0u);
  EXPECT_EQ(env().poll(), 0u);
}

TEST_P(Conformance, WaitEndsAtItsDeadline) {
  if (!world().can_block()) {
    GTEST_SKIP();
  }
  for (const Duration time : {microseconds(300), milliseconds(5), milliseconds(20)}) {
    const Instant start = env().now();
    while (env().now() < start + time) {
      EXPECT_EQ(env().wait(start + time), 0u);
    }
    EXPECT_LT(env().now() - start, time + seconds(2));
  }
  // Deadlines in the past do not wait.
  const Instant start = env().now();
  env().wait(Instant{0});
  env().wait(start);
  EXPECT_LT(env().now() - start, seconds(2));
}

TEST_P(Conformance, WakeBeforeWaitEndsIt) {
  if (!world().can_block()) {
    GTEST_SKIP();
  }
  for (int i = 0; i < 100; ++i) {
    env().wake();
    env().wake();
    EXPECT_EQ(env().wait(Instant::never()), 0u);
  }
  // Each wake-up ends one wait, no more than one.
  for (int i = 0; i < 3; ++i) {
    env().wait(env().now() + milliseconds(1));
  }
  const Instant start = env().now();
  while (env().now() < start + milliseconds(3)) {
    env().wait(start + milliseconds(3));
  }
}

TEST_P(Conformance, WakeIsRememberedAcrossPolls) {
  if (!world().can_block()) {
    GTEST_SKIP();
  }
  env().wake();
  env().poll();
  env().poll();
  EXPECT_EQ(env().wait(Instant::never()), 0u);
}

TEST_P(Conformance, NoWakeFromAnotherThreadIsLost) {
  if (!world().can_block() || !world().has_threads()) {
    GTEST_SKIP();
  }
  constexpr u64 kRounds = 20'000;
  std::atomic<u64> asked{0};
  std::atomic<u64> seen{0};
  std::thread other([&] {
    for (u64 i = 1; i <= kRounds; ++i) {
      asked.store(i);
      env().wake();
      while (seen.load() < i) {
        // A different delay each time, so that the wake-up meets every point of the other loop.
        for (u64 spin = 0; spin < i % 64; ++spin) {
          std::atomic_signal_fence(std::memory_order_seq_cst);
        }
        std::this_thread::yield();
      }
    }
  });
  const Instant limit = env().now() + seconds(60);
  while (seen.load() < kRounds && env().now() < limit) {
    if (asked.load() == seen.load()) {
      env().wait(limit);
    }
    seen.store(asked.load());
  }
  EXPECT_EQ(seen.load(), kRounds);
  seen.store(kRounds);
  other.join();
}

struct Background : Waited {
  std::atomic<int> runs{0};
  std::thread::id ran_on;
  std::thread::id done_on;
  Background() {
    run = [](BackgroundOperation* op) {
      auto* self = static_cast<Background*>(op);
      ++self->runs;
      self->ran_on = std::this_thread::get_id();
    };
  }
};

TEST_P(Conformance, BackgroundWorkRunsOnceAndReportsHere) {
  std::vector<Background> work(200);
  for (Background& each : work) {
    env().run_in_background(each);
    EXPECT_FALSE(each.finished);
  }
  for (Background& each : work) {
    EXPECT_EQ(finish(world(), each), 0);
    EXPECT_EQ(each.runs, 1);
    if (world().has_threads()) {
      EXPECT_NE(each.ran_on, std::this_thread::get_id());
    }
  }
}

TEST_P(Conformance, BackgroundWorkEndsAWait) {
  if (!world().can_block()) {
    GTEST_SKIP();
  }
  for (int i = 0; i < 50; ++i) {
    Background work;
    env().run_in_background(work);
    while (!work.finished) {
      env().wait(Instant::never());
    }
  }
}

}  // namespace
}  // namespace pangu::env::conformance
