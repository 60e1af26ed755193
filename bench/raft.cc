#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "env/linux/linux_env.h"
#include "raft/driver/testing/real_hosts.h"

// Proposals a second of one Raft group with several members, and how long one takes: all members on
// one core, the real rpc over loopback between them.
//   bench_raft FOLDER|memory [SECONDS [MEMBERS [BYTES [io_uring|epoll]]]]
// FOLDER must not exist; its disk is what is measured. First line: the parameters.
namespace pangu::raft::testing {
namespace {

struct Run {
  Reactor& reactor;
  Replica& replica;
  u64 bytes;
  Instant end;
  std::vector<i64> latencies_us{};
};

Task<void> client(Run& run) {
  while (run.reactor.now() < run.end) {
    const Instant begin = run.reactor.now();
    auto index = co_await run.replica.propose(std::string(run.bytes, 'x'), begin + seconds(10));
    CHECK_NOTE(index.ok(), index.ok() ? "" : index.error().message());
    run.latencies_us.push_back((run.reactor.now() - begin).us());
  }
}

Task<void> clients(Run& run, u64 count) {
  Gate gate;
  for (u64 i = 0; i < count; ++i) {
    gate.spawn(run.reactor, "client", TaskClass::foreground, client(run));
  }
  co_await gate.close();
}

Task<void> reader(Run& run) {
  while (run.reactor.now() < run.end) {
    const Instant begin = run.reactor.now();
    const Status done = co_await run.replica.read_barrier(begin + seconds(10));
    CHECK(done.ok());
    run.latencies_us.push_back((run.reactor.now() - begin).us());
  }
}

Task<void> reads(Run& run, u64 count) {
  Gate gate;
  for (u64 i = 0; i < count; ++i) {
    gate.spawn(run.reactor, "reader", TaskClass::foreground, reader(run));
  }
  co_await gate.close();
}

void print(const char* what, u64 count, Run& run, double took) {
  std::vector<i64>& all = run.latencies_us;
  std::sort(all.begin(), all.end());
  std::printf("%-9s %5llu clients: %8.0f/s, median %6lld us, 99%% %6lld us\n", what,
              static_cast<unsigned long long>(count), static_cast<double>(all.size()) / took,
              static_cast<long long>(all[all.size() / 2]),
              static_cast<long long>(all[all.size() * 99 / 100]));
}

Task<void> measure(Reactor& reactor, std::string folder, u64 members, u64 bytes, u64 each_s) {
  RealHosts cluster(reactor, static_cast<u32>(members), folder);
  const Status started = co_await cluster.start();
  CHECK_NOTE(started.ok(), started.ok() ? "" : started.error().message());
  for (RealHost& host : cluster.hosts) {
    host.counter.keep_log = false;
  }
  Replica* leader = co_await cluster.wait_leader(reactor.now() + seconds(20));
  CHECK(leader != nullptr);
  const Duration length = seconds(static_cast<i64>(each_s));
  for (const u64 count : {u64{1}, u64{16}, u64{256}, u64{2048}}) {
    for (const bool write : {true, false}) {
      Run run{.reactor = reactor, .replica = *leader, .bytes = bytes, .end = reactor.now() + length};
      const Instant begin = reactor.now();
      if (write) {
        co_await clients(run, count);
      } else {
        co_await reads(run, count);
      }
      print(write ? "proposals" : "reads", count, run, (reactor.now() - begin).seconds());
    }
  }
  for (RealHost& host : cluster.hosts) {
    co_await cluster.stop(host);
  }
}

}  // namespace
}  // namespace pangu::raft::testing

int main(int argc, char** argv) {
  using namespace pangu;
  if (argc < 2) {
    std::fprintf(stderr,
                 "usage: bench_raft FOLDER|memory [SECONDS [MEMBERS [BYTES [io_uring|epoll]]]]\n");
    return 2;
  }
  const std::string folder = std::string_view(argv[1]) == "memory" ? "" : argv[1];
  const u64 each_s = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 3;
  const u64 members = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 3;
  const u64 bytes = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 100;
  const bool epoll = argc > 5 && std::string_view(argv[5]) == "epoll";
  auto world =
      std::move(*env::make_env(epoll ? env::EnvKind::epoll : env::EnvKind::automatic));
  std::printf("one group, %llu members on one core, %s, commands of %llu bytes, log: %s\n",
              static_cast<unsigned long long>(members), std::string(world->name()).c_str(),
              static_cast<unsigned long long>(bytes), argv[1]);
  Reactor reactor(*world, ReactorOptions{});
  run_blocking(reactor, raft::testing::measure(reactor, folder, members, bytes, each_s));
  return 0;
}
