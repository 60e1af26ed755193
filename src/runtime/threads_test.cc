#include <mutex>
#include <sys/resource.h>
#include <thread>

#include "base/log.h"
#include "env/linux/linux_env.h"
#include "env/linux/periodic_thread.h"
#include "runtime/await.h"
#include "runtime/buffer_pool.h"
#include "runtime/sync.h"
#include "runtime/watchdog.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PANGU_OWN_ALLOCATOR 1
#endif
#endif

#ifndef PANGU_OWN_ALLOCATOR
// Counts what this thread allocates: the data path must not.
namespace {
thread_local pangu::u64 t_allocations = 0;
}
void* operator new(size_t size) {
  ++t_allocations;
  void* memory = std::malloc(size);
  CHECK(memory != nullptr);
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
#endif

// The reactor over the real Envs: other threads, sockets, files, the watchdog.
namespace pangu {
namespace {

class RealTest : public testing::TestWithParam<env::EnvKind> {
 protected:
  void SetUp() override {
    auto made = env::make_env(GetParam());
    if (!made.ok()) {
      GTEST_SKIP() << made.error().message();
    }
    env_ = std::move(*made);
  }
  env::Env& env() { return *env_; }

 private:
  std::unique_ptr<env::Env> env_;
};
INSTANTIATE_TEST_SUITE_P(Real, RealTest,
                         testing::Values(env::EnvKind::epoll, env::EnvKind::io_uring),
                         [](const auto& info) {
                           return info.param == env::EnvKind::epoll ? "epoll" : "io_uring";
                         });

struct Token : PostedMessage {
  std::atomic<u64> seen{0};
  Token() {
    run = [](PostedMessage* message) noexcept {
      auto* self = static_cast<Token*>(message);
      self->seen.fetch_add(1);
    };
  }
};

// The reactor falls asleep again and again while another thread posts at every point of that.
TEST_P(RealTest, NoPostIsLostOnTheWayToSleep) {
  constexpr u64 kRounds = 100'000;
  Reactor reactor(env(), {});
  std::thread loop([&] { reactor.run(); });
  Token token;
  u64 patience = 0;
  for (u64 i = 0; i < kRounds; ++i) {
    reactor.post(token);
    while (token.seen.load() <= i) {
      if (++patience % 64 == 0) {
        std::this_thread::yield();
      }
    }
    // A pause of changing length: now it is asleep, now it is about to be.
    for (u64 pause = 0; pause < (i * 7) % 97; ++pause) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
  }
  reactor.stop();
  loop.join();
  EXPECT_EQ(token.seen.load(), kRounds);
  EXPECT_GT(reactor.counters().sleeps, 0u);
}

TEST_P(RealTest, NoPostIsLostWhileSpinning) {
  constexpr u64 kRounds = 20'000;
  Reactor reactor(env(), {.spin = microseconds(20)});
  std::thread loop([&] { reactor.run(); });
  Token token;
  for (u64 i = 0; i < kRounds; ++i) {
    reactor.post(token);
    while (token.seen.load() <= i) {
      std::this_thread::yield();
    }
    const Instant until = reactor.now() + microseconds(static_cast<i64>(i % 40));
    while (reactor.now() < until && i % 16 == 0) {
    }
  }
  reactor.stop();
  loop.join();
  EXPECT_EQ(token.seen.load(), kRounds);
}

TEST_P(RealTest, ManyThreadsPost) {
  constexpr u64 kThreads = 4;
  constexpr u64 kEach = 5'000;
  Reactor reactor(env(), {});
  std::vector<Token> tokens(kThreads);
  std::vector<std::thread> posters;
  for (Token& token : tokens) {
    posters.emplace_back([&reactor, &token] {
      for (u64 i = 0; i < kEach; ++i) {
        reactor.post(token);
        while (token.seen.load() <= i) {
          std::this_thread::yield();
        }
      }
    });
  }
  const auto sum = [&] {
    u64 total = 0;
    for (const Token& token : tokens) {
      total += token.seen.load();
    }
    return total;
  };
  while (sum() < kThreads * kEach) {
    reactor.run_once(reactor.now() + milliseconds(1));
  }
  for (std::thread& poster : posters) {
    poster.join();
  }
}

Task<u64> add_in_background(u64 rounds) {
  u64 total = 0;
  for (u64 i = 0; i < rounds; ++i) {
    const u64 value = co_await run_in_background([i] { return i + 1; });
    total += value;
  }
  co_return total;
}

TEST_P(RealTest, BackgroundWorkComesBack) {
  Reactor reactor(env(), {});
  EXPECT_EQ(run_blocking(reactor, add_in_background(500)), 500u * 501 / 2);
}

struct Ends {
  std::unique_ptr<env::Listener> listener;
  std::unique_ptr<env::Socket> server;
  std::unique_ptr<env::Socket> client;
};
Task<i64> accept_one(Ends& ends) {
  const i64 result = co_await async_accept(*ends.listener, ends.server);
  co_return result;
}
Task<i64> connect_one(env::Env& world, Ends& ends) {
  const i64 result = co_await async_connect(world, ends.listener->address(), ends.client);
  co_return result;
}
Task<void> serve(env::Socket& socket) {
  std::byte bytes[64];
  for (;;) {
    const i64 got = co_await async_receive(socket, MutableBytes(bytes));
    if (got < 64) {
      break;
    }
    const iovec piece{bytes, sizeof bytes};
    const std::span<const iovec> pieces(&piece, 1);
    const i64 sent = co_await async_send(socket, pieces);
    if (sent < 0) {
      break;
    }
  }
}
Task<u64> ping(env::Socket& socket, u64 rounds) {
  std::byte bytes[64] = {};
  for (u64 i = 0; i < rounds; ++i) {
    const iovec piece{bytes, sizeof bytes};
    const std::span<const iovec> pieces(&piece, 1);
    const i64 sent = co_await async_send(socket, pieces);
    const i64 got = co_await async_receive(socket, MutableBytes(bytes));
    if (sent != 64 || got != 64) {
      co_return i;
    }
  }
  co_return rounds;
}

TEST_P(RealTest, ConversationAllocatesNothingAfterWarmUp) {
  Reactor reactor(env(), {});
  Ends ends;
  auto listening = env().listen(*env::parse_address("127.0.0.1:0"));
  ASSERT_TRUE(listening.ok());
  ends.listener = std::move(*listening);
  EXPECT_EQ(run_blocking(reactor, connect_one(env(), ends)), 0);
  EXPECT_EQ(run_blocking(reactor, accept_one(ends)), 0);
  reactor.spawn("server", TaskClass::foreground, serve(*ends.server));
  EXPECT_EQ(run_blocking(reactor, ping(*ends.client, 100)), 100u);
#ifndef PANGU_OWN_ALLOCATOR
  const u64 before = t_allocations;
  EXPECT_EQ(run_blocking(reactor, ping(*ends.client, 1000)), 1000u);
  EXPECT_EQ(t_allocations, before);
#endif
  ends.client->shutdown();
  while (reactor.tasks() > 0) {
    reactor.run_once(reactor.now() + milliseconds(1));
  }
}

Task<i64> write_and_read(env::File& file, BufferPool& pool) {
  std::optional<Slice> out = pool.try_take(64 * kKiB);
  std::memset(out->data(), 0x5a, out->size());
  const i64 wrote = co_await async_write(file, 0, out->bytes(), env::Durability::durable_write,
                                         out->block()->registered_slot);
  std::optional<Slice> in = pool.try_take(64 * kKiB);
  const i64 got = co_await async_read(file, 0, in->mutable_bytes());
  const i64 flushed = co_await async_flush(file);
  const bool same = std::memcmp(in->data(), out->data(), out->size()) == 0;
  co_return wrote == got&& same&& flushed == 0 ? got : -1;
}

TEST_P(RealTest, PooledBuffersGoToDiskAndBack) {
  const char* base = std::getenv("TMPDIR");
  std::string directory = std::string(base == nullptr ? "/tmp" : base) + "/pangu-test-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/disk";
  {
    Reactor reactor(env(), {});
    BufferPool pool(env(), {});
    const env::OpenOptions options{.create = true, .direct = true};
    auto file = env().files().open(path, options);
    ASSERT_TRUE(file.ok()) << file.error().message();
    EXPECT_EQ(run_blocking(reactor, write_and_read(**file, pool)), 64 * 1024);
  }
  EXPECT_TRUE(env().files().remove(path).ok());
  EXPECT_TRUE(env().files().remove(directory).ok());
}

TEST_P(RealTest, AnIdleReactorUsesNoProcessor) {
  Reactor reactor(env(), {.spin = microseconds(50)});
  const auto processor_time = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    const auto us = [](const timeval& time) { return i64{time.tv_sec} * 1'000'000 + time.tv_usec; };
    return us(usage.ru_utime) + us(usage.ru_stime);
  };
  const i64 before = processor_time();
  const Instant end = reactor.now() + milliseconds(200);
  while (reactor.now() < end) {
    reactor.run_once(end);
  }
  EXPECT_LT(processor_time() - before, 20'000);
}

// ---- watchdog

TEST(StuckDetectorTest, TellsOnceThenAtEachDoublingThenWhenItIsOver) {
  StuckDetector detector(seconds(1));
  Instant now{1};
  EXPECT_FALSE(detector.observe(7, now));
  EXPECT_FALSE(detector.observe(7, now + milliseconds(900)));
  auto report = detector.observe(7, now + milliseconds(1100));
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->stuck);
  EXPECT_EQ(report->since, milliseconds(1100));
  EXPECT_FALSE(detector.observe(7, now + milliseconds(2100)));
  EXPECT_TRUE(detector.observe(7, now + milliseconds(2200)));
  report = detector.observe(8, now + milliseconds(2300));
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->stuck);
  EXPECT_FALSE(detector.observe(9, now + milliseconds(2400)));
}

TEST(StuckDetectorTest, AnIdleReactorIsNotStuck) {
  StuckDetector detector(seconds(1));
  EXPECT_FALSE(detector.observe(8, Instant{1}));
  EXPECT_FALSE(detector.observe(8, Instant{1} + seconds(100)));
  EXPECT_FALSE(detector.observe(9, Instant{1} + seconds(101)));
  EXPECT_FALSE(detector.observe(11, Instant{1} + seconds(102)));
}

Task<void> hang_until_noticed(Reactor& reactor, const Watchdog& watchdog) {
  const Instant limit = reactor.now() + seconds(30);
  while (watchdog.stuck_seen() == 0 && reactor.now() < limit) {
  }
  co_return;
}

TEST_P(RealTest, WatchdogNamesTheTaskThatHoldsItsReactor) {
  static std::mutex mutex;
  static std::string lines;
  lines.clear();
  set_log_sink(
      [](void*, LogLevel, std::string_view text) {
        const std::lock_guard lock(mutex);
        lines += text;
        lines += '\n';
      },
      nullptr);
  Reactor reactor(env(), {});
  {
    Watchdog watchdog(milliseconds(20));
    watchdog.watch(reactor, "number 3");
    const env::PeriodicThread thread("watchdog", milliseconds(5),
                                     [&watchdog](Instant now) { watchdog.look(now); });
    reactor.spawn("hanging task", TaskClass::foreground, hang_until_noticed(reactor, watchdog));
    while (reactor.tasks() > 0) {
      reactor.run_once(reactor.now() + milliseconds(1));
    }
    EXPECT_GE(watchdog.stuck_seen(), 1u);
  }
  set_log_sink(nullptr, nullptr);
  EXPECT_NE(lines.find("reactor number 3 has been inside task hanging task"), std::string::npos)
      << lines;
  EXPECT_NE(describe_slices(reactor).find("hanging task"), std::string::npos);
}

}  // namespace
}  // namespace pangu
