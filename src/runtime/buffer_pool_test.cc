#include "runtime/buffer_pool.h"

#include "base/prng.h"
#include "runtime/await.h"
#include "runtime/copy_counter.h"
#include "runtime/fake_env.h"

namespace pangu {
namespace {

constexpr BufferPoolOptions kSmall{.bytes = 4 * kMiB, .huge_pages = false};

TEST(BufferPoolTest, AnIdlePoolMapsNothing) {
  env::FakeEnv env;
  const BufferPool pool(env, {});
  EXPECT_EQ(pool.counters().bytes_max, 12 * kMiB);
  EXPECT_EQ(pool.counters().bytes_mapped, 0u);
}

TEST(BufferPoolTest, SlicesAreAlignedSizedAndRegistered) {
  env::FakeEnv env;
  BufferPool pool(env, {});
  for (const size_t size : {1u, 4096u, 4097u, 65536u, 70000u, 300000u, 1114112u}) {
    auto slice = pool.try_take(size);
    ASSERT_TRUE(slice.has_value()) << size;
    EXPECT_EQ(slice->size(), size);
    EXPECT_EQ(reinterpret_cast<u64>(slice->data()) % 4096, 0u);
    EXPECT_GE(slice->block()->capacity, size);
    EXPECT_EQ(slice->block()->registered_slot, 0);
    std::memset(slice->data(), 0xab, slice->block()->capacity);
  }
  EXPECT_EQ(pool.counters().blocks_in_use, 0u);
  EXPECT_EQ(pool.counters().bytes_in_use, 0u);
  EXPECT_GT(pool.counters().bytes_in_use_peak, kMiB);
  EXPECT_EQ(pool.counters().bytes_registered, pool.counters().bytes_mapped);
  EXPECT_FALSE(pool.try_take(BufferPool::kBlockBytesMax + 1).has_value());
}

TEST(BufferPoolTest, TheLastOneBackIsTheFirstOneOut) {
  env::FakeEnv env;
  BufferPool pool(env, kSmall);
  auto a = pool.try_take(4096);
  auto b = pool.try_take(4096);
  const std::byte* const hot = a->data();
  b.reset();
  a.reset();
  auto c = pool.try_take(4096);
  EXPECT_EQ(c->data(), hot);
}

TEST(BufferPoolTest, WorksWithoutRegistration) {
  env::FakeEnv env;
  env.refuse_registration();
  BufferPool pool(env, kSmall);
  auto slice = pool.try_take(100);
  ASSERT_TRUE(slice.has_value());
  EXPECT_EQ(slice->block()->registered_slot, -1);
  EXPECT_EQ(pool.counters().bytes_registered, 0u);
}

TEST(BufferPoolTest, EveryByteOfThePoolCanBeUsedByEachClass) {
  env::FakeEnv env;
  BufferPool pool(env, kSmall);
  for (const u32 size : BufferPool::kClassBytes) {
    std::vector<Slice> taken;
    while (auto slice = pool.try_take(size)) {
      taken.push_back(std::move(*slice));
    }
    const u64 expected = size == BufferPool::kBlockBytesMax ? 3 : 4 * kMiB / size;
    EXPECT_EQ(taken.size(), expected) << size;
    EXPECT_LE(pool.counters().bytes_in_use, pool.counters().bytes_max);
  }
  EXPECT_GE(pool.counters().refused, 5u);
  EXPECT_GT(pool.counters().reclaimed, 0u);
}

TEST(BufferPoolTest, NoTwoSlicesOverlapUnderRandomUse) {
  env::FakeEnv env;
  BufferPool pool(env, {.bytes = 8 * kMiB, .huge_pages = false});
  const u64 seed = 20260301;
  Prng prng(seed);
  std::vector<std::pair<Slice, u64>> held;
  for (int i = 0; i < 4000; ++i) {
    if (!held.empty() && prng.chance(held.size() > 60 ? 0.7 : 0.4)) {
      const size_t which = prng.below(held.size());
      auto& [slice, mark] = held[which];
      // Whoever overlapped would have overwritten one end.
      EXPECT_EQ(load_le<u64>(slice.data()), mark) << "seed " << seed;
      EXPECT_EQ(load_le<u64>(slice.data() + slice.size() - 8), mark) << "seed " << seed;
      std::swap(held[which], held.back());
      held.pop_back();
      continue;
    }
    const size_t size = 16 + prng.below(u64{1} << prng.between(5, 20));
    if (auto slice = pool.try_take(size)) {
      const u64 mark = prng.next();
      store_le(slice->data(), mark);
      store_le(slice->data() + size - 8, mark);
      held.emplace_back(std::move(*slice), mark);
    }
  }
  u64 in_use = 0;
  for (const auto& [slice, mark] : held) {
    in_use += slice.block()->capacity;
  }
  EXPECT_EQ(pool.counters().bytes_in_use, in_use);
}

Task<void> take_and_note(BufferPool& pool, size_t size, Instant deadline, std::string& trace,
                         std::vector<Slice>& held) {
  std::optional<Slice> slice = co_await pool.take(size, deadline);
  trace += slice ? '+' : '-';
  if (slice) {
    held.push_back(std::move(*slice));
  }
}

TEST(BufferPoolTest, TakeWaitsForRoomUntilItsDeadline) {
  env::FakeEnv env;
  Reactor reactor(env, {});
  BufferPool pool(env, kSmall);
  std::vector<Slice> all;
  while (auto slice = pool.try_take(kMiB)) {
    all.push_back(std::move(*slice));
  }
  std::string trace;
  std::vector<Slice> held;
  const auto spawn = [&](size_t size, Duration time) {
    reactor.spawn("taker", TaskClass::foreground,
                  take_and_note(pool, size, env.now() + time, trace, held));
  };
  spawn(kMiB, milliseconds(1));
  reactor.turn();
  env.clock = env.clock + milliseconds(2);
  reactor.turn();
  EXPECT_EQ(trace, "-");
  spawn(kMiB, seconds(1));
  spawn(2 * kMiB, seconds(1));
  reactor.turn();
  EXPECT_EQ(trace, "--") << "what can never fit is refused at once";
  all.pop_back();
  reactor.turn();
  EXPECT_EQ(trace, "--+");
  EXPECT_EQ(reactor.tasks(), 0u);
}

TEST(BufferPoolTest, HugePagesAreUsedOrDoneWithout) {
  env::FakeEnv env;
  BufferPool pool(env, {.bytes = kMiB, .huge_pages = true});
  EXPECT_EQ(pool.counters().bytes_max, BufferPool::kExtentBytes);
  auto slice = pool.try_take(kMiB);
  ASSERT_TRUE(slice.has_value());
  std::memset(slice->data(), 1, slice->size());
}

TEST(CopyCounterTest, CountsPayloadOnly) {
  const u64 before = payload_bytes_copied;
  const Slice slice = Slice::copy_of(as_bytes_of(std::string_view("hello")));
  EXPECT_EQ(payload_bytes_copied, before);
  const Slice copy = copy_out(slice);
  EXPECT_EQ(as_text(copy.bytes()), "hello");
  EXPECT_EQ(payload_bytes_copied, before + 5);
  char text[5];
  copy_payload(text, slice.bytes());
  copy_payload(text, {});
  EXPECT_EQ(payload_bytes_copied, before + 10);
}

}  // namespace
}  // namespace pangu
