// How many events a simulated world fires per second on one core: pairs of nodes that echo over
// connections, write and flush files, and sleep. Usage: bench_sim_events [pairs] [simulated
// seconds]
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "env/sim/world.h"
#include "runtime/await.h"

namespace pangu::env::sim {
namespace {

Task<void> echo(Listener& listener) {
  std::unique_ptr<Socket> socket;
  const i64 accepted = co_await async_accept(listener, socket);
  CHECK(accepted == 0);
  std::vector<std::byte> bytes(4096);
  for (;;) {
    const i64 got = co_await async_receive(*socket, bytes);
    if (got != 4096) {
      co_return;
    }
    const iovec piece{bytes.data(), bytes.size()};
    const i64 sent = co_await async_send(*socket, {&piece, 1});
    if (sent != 4096) {
      co_return;
    }
  }
}

Task<void> call(SimEnv& env, Address to) {
  std::unique_ptr<Socket> socket;
  const i64 connected = co_await async_connect(env, to, socket);
  CHECK(connected == 0);
  std::vector<std::byte> bytes(4096);
  const iovec piece{bytes.data(), bytes.size()};
  for (;;) {
    const i64 sent = co_await async_send(*socket, {&piece, 1});
    const i64 got = co_await async_receive(*socket, bytes);
    if (sent != 4096 || got != 4096) {
      co_return;
    }
  }
}

Task<void> write_file(SimEnv& env) {
  auto file = env.files().open("data", {.create = true});
  CHECK(file.ok());
  std::vector<std::byte> bytes(8192);
  for (u64 i = 0;; ++i) {
    const i64 written =
        co_await async_write(**file, i % 1000 * bytes.size(), bytes, Durability::volatile_write);
    CHECK(written == 8192);
    if (i % 4 == 0) {
      const i64 flushed = co_await async_flush(**file);
      CHECK(flushed == 0);
    }
  }
}

Task<void> sleep_again_and_again() {
  for (;;) {
    co_await sleep_for(microseconds(100));
  }
}

double seconds_of_cpu() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

void run(u32 pairs, i64 simulated_s) {
  World world(1);
  std::vector<std::unique_ptr<Reactor>> reactors;
  std::vector<std::unique_ptr<Listener>> listeners;
  const auto start = [&](Node& node) -> Reactor& {
    reactors.push_back(std::make_unique<Reactor>(node.env(), ReactorOptions{}));
    node.env().attach(*reactors.back());
    return *reactors.back();
  };
  for (u32 i = 0; i < pairs; ++i) {
    Node& server = world.add_node("server");
    Node& client = world.add_node("client");
    listeners.push_back(std::move(*server.env().listen(server.address(7000))));
    Reactor& s = start(server);
    Reactor& c = start(client);
    s.spawn("echo", TaskClass::foreground, echo(*listeners.back()));
    s.spawn("write", TaskClass::foreground, write_file(server.env()));
    c.spawn("call", TaskClass::foreground, call(client.env(), server.address(7000)));
    c.spawn("sleep", TaskClass::foreground, sleep_again_and_again());
  }
  const double before = seconds_of_cpu();
  world.run_for(seconds(simulated_s));
  const double took = seconds_of_cpu() - before;
  std::printf("pairs=%u simulated_s=%lld events=%llu cpu_s=%.3f events_per_s=%.0f trace=%016llx\n",
              pairs, static_cast<long long>(simulated_s),
              static_cast<unsigned long long>(world.events()), took,
              static_cast<double>(world.events()) / took,
              static_cast<unsigned long long>(world.trace_hash()));
  for (const auto& node : world.nodes()) {
    node->crash(Crash::process);
  }
  for (const auto& reactor : reactors) {
    reactor->abandon();
  }
}

}  // namespace
}  // namespace pangu::env::sim

int main(int argc, char** argv) {
  pangu::env::sim::run(argc > 1 ? static_cast<pangu::u32>(std::atoi(argv[1])) : 8,
                       argc > 2 ? std::atoi(argv[2]) : 10);
}
