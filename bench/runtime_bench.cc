#include <benchmark/benchmark.h>
#include <thread>

#include "env/linux/linux_env.h"
#include "runtime/await.h"
#include "runtime/buffer_pool.h"
#include "runtime/sync.h"

// What the reactor itself costs: switches, awaits, buffers, and one conversation over loopback TCP.
// The conversation prints the waiting mode: spinning and sleeping are different worlds.
namespace pangu {
namespace {

using env::EnvKind;

struct World {
  std::unique_ptr<env::Env> env;
  Reactor reactor;
  explicit World(EnvKind kind = EnvKind::automatic, Duration spin = {})
      : env(std::move(*env::make_env(kind))), reactor(*env, {.spin = spin}) {}
};

Task<void> yield_for(benchmark::State& state) {
  for (auto _ : state) {
    co_await yield_now();
  }
}
void BM_Yield(benchmark::State& state) {
  World world;
  run_blocking(world.reactor, yield_for(state));
}
BENCHMARK(BM_Yield);

Task<int> give(int value) {
  co_return value;
}
Task<void> await_for(benchmark::State& state) {
  for (auto _ : state) {
    const int value = co_await give(1);
    benchmark::DoNotOptimize(value);
  }
}
void BM_AwaitTask(benchmark::State& state) {
  World world;
  run_blocking(world.reactor, await_for(state));
}
BENCHMARK(BM_AwaitTask);

Task<void> count_to(u64& counter) {
  ++counter;
  co_return;
}
Task<void> spawn_for(benchmark::State& state, Reactor& reactor) {
  u64 counter = 0;
  for (auto _ : state) {
    reactor.spawn("bench", TaskClass::foreground, count_to(counter));
    co_await yield_now();
  }
}
void BM_SpawnAndRun(benchmark::State& state) {
  World world;
  run_blocking(world.reactor, spawn_for(state, world.reactor));
}
BENCHMARK(BM_SpawnAndRun);

Task<void> semaphore_for(benchmark::State& state, Semaphore& units) {
  for (auto _ : state) {
    const bool taken = co_await units.take(1);
    benchmark::DoNotOptimize(taken);
    units.give(1);
  }
}
void BM_Semaphore(benchmark::State& state) {
  World world;
  Semaphore units(1);
  run_blocking(world.reactor, semaphore_for(state, units));
}
BENCHMARK(BM_Semaphore);

void BM_TimerArmAndCancel(benchmark::State& state) {
  World world;
  Timer timer([](Timer*) noexcept {});
  const Instant when = world.reactor.now() + seconds(1000);
  for (auto _ : state) {
    timer.arm(world.reactor, when);
    timer.cancel();
  }
}
BENCHMARK(BM_TimerArmAndCancel);

void BM_BufferTakeAndGive(benchmark::State& state) {
  World world;
  BufferPool pool(*world.env, {});
  for (auto _ : state) {
    auto slice = pool.try_take(static_cast<size_t>(state.range(0)));
    benchmark::DoNotOptimize(slice->data());
  }
}
BENCHMARK(BM_BufferTakeAndGive)->Arg(4096)->Arg(1 << 20);

void BM_IdlePoll(benchmark::State& state) {
  World world(static_cast<EnvKind>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(world.env->poll());
  }
  state.SetLabel(std::string(world.env->name()));
}
BENCHMARK(BM_IdlePoll)
    ->Arg(static_cast<int>(EnvKind::io_uring))
    ->Arg(static_cast<int>(EnvKind::epoll));

void BM_WakeNobody(benchmark::State& state) {
  World world;
  for (auto _ : state) {
    world.env->wake();
  }
}
BENCHMARK(BM_WakeNobody);

void BM_Now(benchmark::State& state) {
  World world;
  for (auto _ : state) {
    benchmark::DoNotOptimize(world.env->now());
  }
}
BENCHMARK(BM_Now);

// ---- durable writes: 8 KiB over blocks of a file that was written before

constexpr size_t kFileBytes = 64 * kMiB;
constexpr size_t kWriteBytes = 8 * kKiB;

Task<void> fill_file(env::File& file, MutableBytes bytes) {
  for (u64 offset = 0; offset < kFileBytes; offset += bytes.size()) {
    const i64 wrote = co_await async_write(file, offset, bytes, env::Durability::volatile_write);
    CHECK(wrote == static_cast<i64>(bytes.size()));
  }
  const i64 flushed = co_await async_flush(file);
  CHECK(flushed == 0);
}
Task<void> write_for(benchmark::State& state, env::File& file, Slice from) {
  u64 offset = 0;
  std::vector<i64> times;  // the mean of a shared disk says little
  for (auto _ : state) {
    const Instant start = Reactor::current().now();
    const i64 wrote = co_await async_write(
        file, offset, from.bytes(), env::Durability::durable_write, from.block()->registered_slot);
    CHECK(wrote == static_cast<i64>(kWriteBytes));
    offset = (offset + 7 * kWriteBytes) % kFileBytes;
    times.push_back((Reactor::current().now() - start).us());
  }
  std::sort(times.begin(), times.end());
  state.counters["p50_us"] = static_cast<double>(times[times.size() / 2]);
  state.counters["p99_us"] = static_cast<double>(times[times.size() * 99 / 100]);
}
void BM_DurableWrite(benchmark::State& state) {
  World world(static_cast<EnvKind>(state.range(0)));
  BufferPool pool(*world.env, {});
  const std::string path = "bench_runtime.tmp";
  auto file = world.env->files().open(path, {.create = true, .direct = true});
  CHECK(file.ok());
  {
    auto big = pool.try_take(kMiB);
    run_blocking(world.reactor, fill_file(**file, big->mutable_bytes()));
  }
  run_blocking(world.reactor, write_for(state, **file, *pool.try_take(kWriteBytes)));
  CHECK(world.env->files().remove(path).ok());
  state.SetLabel(std::string(world.env->name()));
}
BENCHMARK(BM_DurableWrite)
    ->Arg(static_cast<int>(EnvKind::io_uring))
    ->Arg(static_cast<int>(EnvKind::epoll))
    ->UseRealTime();

// ---- ping-pong

struct Ends {
  std::unique_ptr<env::Listener> listener;
  std::unique_ptr<env::Socket> server;
  std::unique_ptr<env::Socket> client;
};
Task<void> connect_ends(env::Env& world, Ends& ends) {
  auto listening = world.listen(*env::parse_address("127.0.0.1:0"));
  ends.listener = std::move(*listening);
  const i64 connected = co_await async_connect(world, ends.listener->address(), ends.client);
  CHECK(connected == 0);
  const i64 accepted = co_await async_accept(*ends.listener, ends.server);
  CHECK(accepted == 0);
}
Task<void> echo(env::Socket& socket, MutableBytes bytes) {
  for (;;) {
    const i64 got = co_await async_receive(socket, bytes);
    if (got != static_cast<i64>(bytes.size())) {
      co_return;
    }
    const iovec piece{bytes.data(), bytes.size()};
    const std::span<const iovec> pieces(&piece, 1);
    const i64 sent = co_await async_send(socket, pieces);
    if (sent < 0) {
      co_return;
    }
  }
}
Task<void> ping_for(benchmark::State& state, env::Socket& socket, MutableBytes bytes) {
  for (auto _ : state) {
    const iovec piece{bytes.data(), bytes.size()};
    const std::span<const iovec> pieces(&piece, 1);
    const i64 sent = co_await async_send(socket, pieces);
    const i64 got = co_await async_receive(socket, bytes);
    CHECK(sent == got);
  }
}

// Both ends on one reactor: what the software costs, without another core to wake.
void BM_PingPongOneReactor(benchmark::State& state) {
  World world(static_cast<EnvKind>(state.range(0)));
  const auto size = static_cast<size_t>(state.range(1));
  Ends ends;
  run_blocking(world.reactor, connect_ends(*world.env, ends));
  const Slice there = Slice::allocate(size);
  const Slice here = Slice::allocate(size);
  world.reactor.spawn("echo", TaskClass::foreground, echo(*ends.server, there.mutable_bytes()));
  run_blocking(world.reactor, ping_for(state, *ends.client, here.mutable_bytes()));
  ends.client->shutdown();
  while (world.reactor.tasks() > 0) {
    world.reactor.run_once(world.reactor.now() + milliseconds(1));
  }
  state.SetLabel(std::string(world.env->name()));
}
BENCHMARK(BM_PingPongOneReactor)
    ->ArgsProduct({{static_cast<int>(EnvKind::io_uring), static_cast<int>(EnvKind::epoll)},
                   {64, 4096, 65536}});

// Two reactors on two threads, as between machines.
void BM_PingPongTwoReactors(benchmark::State& state) {
  const Duration spin = microseconds(state.range(1));
  World server(static_cast<EnvKind>(state.range(0)), spin);
  World client(static_cast<EnvKind>(state.range(0)), spin);
  auto listening = server.env->listen(*env::parse_address("127.0.0.1:0"));
  struct Accepting : env::Operation {
    bool finished = false;
  } accepting;
  accepting.done = [](env::Operation* op, i64) noexcept {
    static_cast<Accepting*>(op)->finished = true;
  };
  std::unique_ptr<env::Socket> client_socket;
  const Slice there = Slice::allocate(64);
  const Slice here = Slice::allocate(64);
  const env::Address address = (*listening)->address();
  std::thread thread([&] {
    std::unique_ptr<env::Socket> socket;
    (*listening)->accept(accepting, socket);
    while (!accepting.finished) {
      server.env->wait(Instant::never());
    }
    run_blocking(server.reactor, echo(*socket, there.mutable_bytes()));
  });
  struct Connecting : env::Operation {
    bool finished = false;
  } connecting;
  connecting.done = [](env::Operation* op, i64) noexcept {
    static_cast<Connecting*>(op)->finished = true;
  };
  client.env->connect(connecting, address, client_socket);
  while (!connecting.finished) {
    client.env->wait(Instant::never());
  }
  run_blocking(client.reactor, ping_for(state, *client_socket, here.mutable_bytes()));
  client_socket->shutdown();
  client_socket.reset();
  thread.join();
  state.SetLabel(std::string(client.env->name()) + (spin.ns > 0 ? ", spinning" : ", sleeping"));
}
BENCHMARK(BM_PingPongTwoReactors)
    ->ArgsProduct({{static_cast<int>(EnvKind::io_uring), static_cast<int>(EnvKind::epoll)},
                   {0, 1000}})
    ->UseRealTime();

}  // namespace
}  // namespace pangu
