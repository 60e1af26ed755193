// The shared Raft log: entries made durable in a second, and device writes for each of them, with
// many groups that write at the same time.
//   File:   a folder under $TMPDIR (choose one on the disk that counts), through the Env of the
//           machine
//   Memory: env/sim, whose disk costs simulated time only: what the code itself takes
// Arguments: groups / bytes of an entry. Each group has one write of one entry under way.
#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "env/linux/linux_env.h"
#include "env/sim/world.h"
#include "raft/driver/shared_log.h"
#include "runtime/await.h"

namespace pangu::raft {
namespace {

constexpr Index kKept = 1000;  // entries of a group that are not compacted

class Load {
 public:
  Load(Reactor& reactor, const std::string& folder, benchmark::State& state)
      : groups_(static_cast<u64>(state.range(0))),
        payload_(Payload::copy_of(std::string(static_cast<size_t>(state.range(1)), 'x'))),
        log_(reactor, {.directory = folder, .log = {.high = 1, .low = 2}}) {}

  Task<Unit> start(Reactor& reactor) {
    const Status opened = co_await log_.open();
    CHECK(opened.ok());
    for (u64 id = 1; id <= groups_; ++id) {
      const Status made = co_await log_.create_group({id}, SnapshotMeta{});
      CHECK(made.ok());
    }
    for (u64 id = 1; id <= groups_; ++id) {
      reactor.spawn("load", TaskClass::foreground, append_for_ever(id));
    }
    co_return Unit{};
  }
  Task<Unit> stop() {
    ending_ = true;
    while (running_ > 0) {
      co_await yield_now();
    }
    co_await log_.stop();
    co_return Unit{};
  }
  u64 written() const { return log_.counters().entries; }
  const SharedLogCounters& counters() const { return log_.counters(); }

 private:
  Task<void> append_for_ever(u64 id) {
    ++running_;
    for (Index index = 1; !ending_; ++index) {
      LogWrite write{.group = {id}};
      write.entries.push_back({.term = {1}, .index = index, .payload = payload_});
      const Status written = co_await log_.write(std::move(write));
      CHECK(written.ok());
      if (index % kKept == 0 && index > kKept) {
        CHECK(log_.compact({id}, index - kKept).ok());
      }
    }
    --running_;
  }

  u64 groups_;
  Payload payload_;
  SharedLog log_;
  bool ending_ = false;
  u64 running_ = 0;
};

void report(benchmark::State& state, u64 entries, u64 device_writes, u64 bytes) {
  state.SetItemsProcessed(static_cast<i64>(entries));
  const auto each = static_cast<double>(entries);
  state.counters["device_writes/entry"] = static_cast<double>(device_writes) / each;
  state.counters["bytes/entry"] = static_cast<double>(bytes) / each;
}

// One iteration: each group has written once, on average.
template <class Advance>
void measure(benchmark::State& state, Load& load, Advance advance) {
  const SharedLogCounters before = load.counters();
  for (auto _ : state) {
    const u64 target = load.written() + static_cast<u64>(state.range(0));
    while (load.written() < target) {
      advance();
    }
  }
  const SharedLogCounters& after = load.counters();
  report(state, after.entries - before.entries, after.device_writes - before.device_writes,
         after.bytes_written - before.bytes_written);
}

void BM_File(benchmark::State& state) {
  const auto env = std::move(*env::make_env());
  Reactor reactor(*env, {});
  const char* base = std::getenv("TMPDIR");
  std::string folder = std::string(base == nullptr ? "." : base) + "/raft_log_bench.XXXXXX";
  CHECK(mkdtemp(folder.data()) != nullptr);
  {
    Load load(reactor, folder, state);
    run_blocking(reactor, load.start(reactor));
    measure(state, load, [&] { reactor.run_once(Instant::never()); });
    run_blocking(reactor, load.stop());
  }
  const std::vector<std::string> names = *env->files().list(folder);
  for (const std::string& name : names) {
    CHECK(env->files().remove(folder + "/" + name).ok());
  }
  CHECK(env->files().remove(folder).ok());
}

void BM_Memory(benchmark::State& state) {
  env::sim::World world(1);
  env::sim::Node& node = world.add_node("raft");
  CHECK(node.env().files().make_directories("/log").ok());
  Reactor reactor(node.env(), {});
  Load load(reactor, "/log", state);
  run_blocking(reactor, load.start(reactor));
  measure(state, load, [&] { reactor.run_once(Instant::never()); });
  run_blocking(reactor, load.stop());
}

void arguments(benchmark::internal::Benchmark* each) {
  for (const int groups : {1, 10, 100, 1000}) {
    each->Args({groups, 100});
  }
  each->Args({100, 4096});
}
BENCHMARK(BM_File)->Apply(arguments)->UseRealTime();
BENCHMARK(BM_Memory)->Apply(arguments);

}  // namespace
}  // namespace pangu::raft
