#include <benchmark/benchmark.h>

#include <chrono>
#include <deque>

#include "chunk/store/test_store.h"

// What the chunk store itself costs: units cut and checked, and appends and reads on a device in
// memory, where no disk hides it. Times are those of the store alone: the runs are cut beforehand.
namespace pangu::chunk {
namespace {

constexpr u64 kDeviceBytes = 256 * kMiB;
constexpr u32 kChunkBytes = 4 * kMiB;  // of payload: up to twice that on the medium
constexpr size_t kBatch = 32;  // runs of 4 and 64 KiB cut at a time

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void cut(benchmark::State& state) {
  const auto size = static_cast<u32>(state.range(0));
  const Slice data = Slice::allocate(size);
  const Slice units = Slice::allocate(size_t{wire::units_for(size)} * wire::kUnitBytes);
  const Bytes piece = data.bytes();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        wire::cut_run({.chunk = chunk_id(1), .epoch = {1}}, {&piece, 1}, units.mutable_bytes()));
  }
  state.SetBytesProcessed(state.iterations() * size);
}
BENCHMARK(cut)->Arg(4 << 10)->Arg(64 << 10)->Arg(1'000'000);

void check(benchmark::State& state) {
  const auto size = static_cast<u32>(state.range(0));
  TestWriter writer{.chunk = chunk_id(1)};
  const TestRun run = writer.next(size);
  for (auto _ : state) {
    const bool ok =
        wire::check_run({.chunk = writer.chunk, .epoch = {1}}, size, run.run.bytes()).ok();
    benchmark::DoNotOptimize(ok);
  }
  state.SetBytesProcessed(state.iterations() * size);
}
BENCHMARK(check)->Arg(4 << 10)->Arg(64 << 10)->Arg(1'000'000);

size_t batch_for(u32 size) { return size < 100'000 ? kBatch : 4; }

// Touches every page of the device, once: the kernel's price for fresh memory is not the store's.
void touch(TestStore& on) {
  const std::vector<std::byte> zero(64 * kKiB);
  for (u64 at = kMiB * 2; at < on.file().size(); at += zero.size()) {
    on.file().poke(at, zero);
  }
}

// Chunks that are filled and deleted again, so that the device never is full.
class Filler {
 public:
  explicit Filler(TestStore& on) : on_(on) { renew(); }
  std::vector<TestRun> cut_batch(u32 size) {
    if (writer_.offset + size * batch_for(size) > kChunkBytes) {
      CHECK(on_.remove(writer_.chunk).code == Code::kOk);
      renew();
    }
    std::vector<TestRun> out;
    for (size_t i = 0; i < batch_for(size); ++i) {
      out.push_back(writer_.next(size));
    }
    return out;
  }

 private:
  void renew() { writer_ = {.chunk = chunk_id(++file_)}; }
  TestStore& on_;
  TestWriter writer_;
  static inline u64 file_ = 1000;
};

// One at a time.
void append(benchmark::State& state) {
  const auto size = static_cast<u32>(state.range(0));
  TestStore on(kDeviceBytes);
  touch(on);
  CHECK(on.open().ok());
  Filler filler(on);
  for (auto _ : state) {
    const std::vector<TestRun> runs = filler.cut_batch(size);
    const auto start = Clock::now();
    for (const TestRun& run : runs) {
      CHECK(on.append(run).code == Code::kOk);
    }
    state.SetIterationTime(seconds_since(start));
  }
  const auto appends = state.iterations() * static_cast<i64>(batch_for(size));
  state.SetItemsProcessed(appends);
  state.SetBytesProcessed(appends * size);
  CHECK(on.store().counters().payload_copies == 0);
}
BENCHMARK(append)->Arg(4 << 10)->Arg(64 << 10)->Arg(1'000'000)->UseManualTime();

Task<void> append_task(ChunkStore& store, const TestRun& run) {
  const AppendOutcome out = co_await store.append(run.args, run.run);
  CHECK_NOTE(out.code == Code::kOk, code_name(out.code));
}

// The `i`-th run of every stream.
Task<void> append_together(TestStore& on, const std::vector<std::vector<TestRun>>& runs, size_t i) {
  Gate gate;
  for (const std::vector<TestRun>& stream : runs) {
    gate.spawn(on.reactor(), "append", TaskClass::foreground, append_task(on.store(), stream[i]));
  }
  co_await gate.close();
}

// 16 streams, one append of each in flight.
void append_streams(benchmark::State& state) {
  const auto size = static_cast<u32>(state.range(0));
  TestStore on(kDeviceBytes);
  touch(on);
  CHECK(on.open().ok());
  std::deque<Filler> fillers;
  while (fillers.size() < 16) {
    fillers.emplace_back(on);
  }
  for (auto _ : state) {
    std::vector<std::vector<TestRun>> runs;
    for (Filler& filler : fillers) {
      runs.push_back(filler.cut_batch(size));
    }
    const auto start = Clock::now();
    for (size_t i = 0; i < kBatch; ++i) {
      on.wait(append_together(on, runs, i));
    }
    state.SetIterationTime(seconds_since(start));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<i64>(kBatch * fillers.size()));
}
BENCHMARK(append_streams)->Arg(4 << 10)->UseManualTime();

void read(benchmark::State& state) {
  const auto size = static_cast<u32>(state.range(0));
  TestStore on(kDeviceBytes);
  CHECK(on.open().ok());
  TestWriter writer{.chunk = chunk_id(1)};
  while (writer.offset < kChunkBytes) {
    CHECK(on.append(writer, 64 << 10).code == Code::kOk);
  }
  CHECK(on.finalize(writer.chunk, writer.offset).code == Code::kOk);
  Prng prng(1);
  for (auto _ : state) {
    const auto offset = static_cast<u32>(prng.below(writer.offset - size));
    const ReadOutcome out = on.read(writer.chunk, offset, size);
    CHECK(out.code == Code::kOk);
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * size);
}
BENCHMARK(read)->Arg(4 << 10)->Arg(64 << 10)->Arg(1'000'000);

}  // namespace
}  // namespace pangu::chunk
