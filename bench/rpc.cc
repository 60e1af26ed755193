// The RPC round trip over loopback TCP, beside a bare exchange of the same bytes in the same Env.
//   one reactor: client and server share a thread, so nothing is ever woken up
//   two threads: what two processes on one machine would see, sleeping or spinning
// Arguments: payload bytes each way / calls in flight. Counters: allocations and send operations of
// the client, both per call.
#include <benchmark/benchmark.h>
#include <cstdlib>
#include <new>
#include <thread>

#include "base/histogram.h"
#include "env/linux/linux_env.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "runtime/await.h"

namespace {
pangu::u64 g_allocations = 0;  // of whatever thread; read when nothing runs
}  // namespace
void* operator new(size_t size) {
  ++g_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) {
    std::abort();
  }
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace pangu::rpc {
namespace {

class EchoService final : public Service {
 public:
  explicit EchoService(BufferPool& pool) : pool_(pool) {}
  Result<Placement> place(const wire::FrameHeader& header, Bytes) override {
    auto slice = pool_.try_take(header.payload_len);
    if (!slice) {
      return Code::kBusy;
    }
    Placement out{.buffer = std::move(*slice), .pieces = {}, .count = 1};
    out.pieces[0] = {out.buffer.data(), out.buffer.size()};
    return out;
  }
  Task<Reply> handle(Request request) override {
    Reply reply;
    if (request.method == wire::Method::read) {
      reply.payload = std::move(request.payload);
    }
    co_return reply;
  }

 private:
  BufferPool& pool_;
};

// A thread's worth of everything.
struct Side {
  std::unique_ptr<env::Env> env;
  Reactor reactor;
  BufferPool pool;
  explicit Side(Duration spin)
      : env(std::move(*env::make_env())),
        reactor(*env, ReactorOptions{.spin = spin}),
        pool(*env, BufferPoolOptions{}) {}
};

struct ServerSide : Side {
  EchoService service;
  Server server;
  explicit ServerSide(Duration spin)
      : Side(spin), service(pool), server(reactor, service, pool, ServerOptions{}) {
    CHECK(server.listen(*env::parse_address("127.0.0.1:0")).ok());
  }
};

Task<void> calls(Reactor& reactor, Channel& channel, wire::Method method, const Payload& payload,
                 u64 count, Histogram& times, u64& running, Event& all_done) {
  std::array<std::byte, 104> body{};
  for (u64 i = 0; i < count; ++i) {
    const Instant begin = reactor.now();
    auto response = co_await channel.call(method, body, payload, {.deadline = begin + seconds(10)});
    CHECK(response.ok() && response->code == Code::kOk);
    times.add(static_cast<u64>((reactor.now() - begin).ns));
  }
  if (--running == 0) {
    all_done.set();
  }
}

Task<void> wait_for(Event& event) {
  co_await event.wait();
}

Payload payload_of(size_t size) {
  Payload payload;
  if (size > 0) {
    payload.owner = Slice::allocate(size);
    payload.pieces[0] = payload.owner.bytes();
    payload.count = 1;
  }
  return payload;
}

void measure(benchmark::State& state, Side& client, const env::Address& address,
             wire::Method method) {
  Channel channel(client.reactor, client.pool, address,
                  ChannelOptions{.identity = {}, .kind = ConnectionKind::data});
  const Payload payload = payload_of(static_cast<size_t>(state.range(0)));
  const u64 in_flight = static_cast<u64>(state.range(1));
  const u64 each = 2000 / in_flight;
  Histogram times;
  u64 done = 0;
  const auto round = [&](Histogram& into) {
    u64 running = in_flight;
    Event all_done;
    for (u64 i = 0; i < in_flight; ++i) {
      client.reactor.spawn(
          "calls", TaskClass::foreground,
          calls(client.reactor, channel, method, payload, each, into, running, all_done));
    }
    run_blocking(client.reactor, wait_for(all_done));
  };
  Histogram warm_up;
  round(warm_up);
  const u64 allocations = g_allocations;
  const u64 sends = channel.counters().sends;
  for (auto _ : state) {
    round(times);
    done += each * in_flight;
  }
  const double calls_made = static_cast<double>(done);
  state.SetItemsProcessed(static_cast<i64>(done));
  state.counters["allocs"] = static_cast<double>(g_allocations - allocations) / calls_made;
  state.counters["sends"] = static_cast<double>(channel.counters().sends - sends) / calls_made;
  state.counters["p50_us"] = static_cast<double>(times.percentile(0.5)) / 1000;
  state.counters["p99_us"] = static_cast<double>(times.percentile(0.99)) / 1000;
  run_blocking(client.reactor, channel.stop());
}

void rpc_one_reactor(benchmark::State& state) {
  ServerSide both(Duration{});
  measure(state, both, both.server.address(), wire::Method::read);
  run_blocking(both.reactor, both.server.stop());
}

// Payload one way only, as appends have it.
void append_one_reactor(benchmark::State& state) {
  ServerSide both(Duration{});
  measure(state, both, both.server.address(), wire::Method::append);
  run_blocking(both.reactor, both.server.stop());
}

void rpc_two_threads(benchmark::State& state) {
  const Duration spin = microseconds(state.range(2));
  std::unique_ptr<ServerSide> server;
  env::Address address;
  std::atomic<bool> listening{false};
  std::thread thread([&] {
    server = std::make_unique<ServerSide>(spin);
    address = server->server.address();
    listening = true;
    listening.notify_one();
    server->reactor.run();
    run_blocking(server->reactor, server->server.stop());
    server.reset();
  });
  listening.wait(false);
  Side client(spin);
  measure(state, client, address, wire::Method::read);
  server->reactor.stop();
  thread.join();
}

// The same bytes over bare sockets: what no RPC can beat.
Task<void> bare_server(env::Listener& listener, size_t size, Event& ended) {
  std::unique_ptr<env::Socket> socket;
  static_cast<void>(co_await async_accept(listener, socket));
  std::vector<std::byte> bytes(size);
  for (;;) {
    const i64 got = co_await async_receive(*socket, bytes);
    if (got != static_cast<i64>(size)) {
      ended.set();
      co_return;
    }
    const iovec piece{bytes.data(), bytes.size()};
    static_cast<void>(co_await async_send(*socket, std::span<const iovec>(&piece, 1)));
  }
}

Task<void> bare_client(env::Socket& socket, size_t size, u64 count) {
  std::vector<std::byte> bytes(size);
  for (u64 i = 0; i < count; ++i) {
    const iovec piece{bytes.data(), bytes.size()};
    static_cast<void>(co_await async_send(socket, std::span<const iovec>(&piece, 1)));
    static_cast<void>(co_await async_receive(socket, bytes));
  }
}

Task<std::unique_ptr<env::Socket>> bare_connect(env::Env& env, env::Address to) {
  std::unique_ptr<env::Socket> socket;
  static_cast<void>(co_await async_connect(env, to, socket));
  co_return socket;
}

void bare_one_reactor(benchmark::State& state) {
  Side both(Duration{});
  auto listener = std::move(*both.env->listen(*env::parse_address("127.0.0.1:0")));
  const size_t size = wire::kDataPrefixBytes + static_cast<size_t>(state.range(0));
  Event ended;
  both.reactor.spawn("server", TaskClass::foreground, bare_server(*listener, size, ended));
  auto socket = run_blocking(both.reactor, bare_connect(*both.env, listener->address()));
  constexpr u64 kEach = 2000;
  u64 done = 0;
  for (auto _ : state) {
    run_blocking(both.reactor, bare_client(*socket, size, kEach));
    done += kEach;
  }
  state.SetItemsProcessed(static_cast<i64>(done));
  socket->shutdown();
  socket.reset();
  run_blocking(both.reactor, wait_for(ended));
}

BENCHMARK(bare_one_reactor)->Args({0})->Args({8192})->UseRealTime();
BENCHMARK(rpc_one_reactor)
    ->Args({0, 1})
    ->Args({8192, 1})
    ->Args({0, 32})
    ->Args({8192, 32})
    ->Args({65536, 8})
    ->UseRealTime();
BENCHMARK(append_one_reactor)
    ->Args({8192, 1})
    ->Args({8192, 8})
    ->Args({8192, 32})
    ->Args({65536, 8})
    ->UseRealTime();
BENCHMARK(rpc_two_threads)
    ->Args({0, 1, 0})
    ->Args({8192, 1, 0})
    ->Args({0, 1, 100})
    ->Args({8192, 1, 100})
    ->Args({0, 32, 0})
    ->Args({8192, 32, 0})
    ->UseRealTime();

}  // namespace
}  // namespace pangu::rpc

BENCHMARK_MAIN();
