#include <gtest/gtest.h>

#include "env/sim/world.h"
#include "runtime/await.h"
#include "runtime/sync.h"

// The simulator under its own faults: processes that talk to each other and write files while they
// are crashed, paused and cut off. What is checked: streams are prefixes, nothing leaks, and the
// whole is the same twice.
namespace pangu::env::sim {
namespace {

constexpr u16 kPort = 7000;

// The byte at a place of the stream that goes with `key`.
std::byte byte_of(u64 key, u64 at) {
  return static_cast<std::byte>(hash_combine(key, at / 8) >> (at % 8 * 8));
}

// Serves one connection: the first 8 bytes are a key, the rest must be its stream.
Task<void> check_stream(std::unique_ptr<Socket> socket, u64& checked) {
  std::array<std::byte, 8> head;
  const i64 got_head = co_await async_receive(*socket, head);
  if (got_head != 8) {
    co_return;
  }
  const u64 key = load_le<u64>(head.data());
  std::vector<std::byte> bytes(5000);
  for (u64 at = 0;;) {
    const i64 got = co_await async_receive_some(*socket, bytes);
    if (got <= 0) {
      co_return;
    }
    for (i64 i = 0; i < got; ++i) {
      CHECK(bytes[static_cast<size_t>(i)] == byte_of(key, at++));
    }
    checked += static_cast<u64>(got);
  }
}

Task<void> serve(SimEnv& env, Gate& gate, u64& checked) {
  auto listener = env.listen(env.node().address(kPort));
  CHECK(listener.ok());
  for (;;) {
    std::unique_ptr<Socket> socket;
    const i64 accepted = co_await async_accept(**listener, socket);
    CHECK(accepted == 0);
    gate.spawn(Reactor::current(), "stream", TaskClass::foreground,
               check_stream(std::move(socket), checked));
  }
}

Task<void> talk(SimEnv& env, std::vector<Address> servers) {
  for (;;) {
    std::unique_ptr<Socket> socket;
    const Address to = servers[env.random() % servers.size()];
    const i64 connected = co_await async_connect(env, to, socket);
    if (connected < 0) {
      co_await sleep_for(milliseconds(5));
      continue;
    }
    const u64 key = env.random();
    std::vector<std::byte> bytes(8);
    store_le(bytes.data(), key);
    u64 at = 0;
    for (u64 sends = env.random() % 40; sends > 0; --sends) {
      const iovec piece{bytes.data(), bytes.size()};
      const i64 sent = co_await async_send(*socket, {&piece, 1});
      if (sent < 0) {
        break;
      }
      bytes.resize(1 + env.random() % 9000);
      for (std::byte& each : bytes) {
        each = byte_of(key, at++);
      }
      co_await sleep_for(microseconds(static_cast<i64>(env.random() % 300)));
    }
  }
}

Task<void> write_files(SimEnv& env) {
  auto file = env.files().open("data", {.create = true, .lock = true});
  CHECK(file.ok());
  std::vector<std::byte> bytes(20'000);
  for (;;) {
    const u64 at = env.random() % 1'000'000;
    const i64 written = co_await async_write(**file, at, bytes, Durability{env.random() % 4 == 0});
    if (written > 0 && env.random() % 3 == 0) {
      static_cast<void>(co_await async_flush(**file));
    }
    co_await sleep_for(microseconds(static_cast<i64>(env.random() % 500)));
  }
}

struct Process {
  Node& node;
  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<Gate> gate;
};

class Chaos {
 public:
  explicit Chaos(u64 seed) : world_(seed, options()), prng_(seed + 1) {
    for (int i = 0; i < 5; ++i) {
      Node& node = world_.add_node("n" + std::to_string(i));
      addresses_.push_back(node.address(kPort));
      processes_.push_back({node, nullptr, nullptr});
    }
  }
  ~Chaos() {
    for (Process& process : processes_) {
      if (process.node.up()) {
        stop(process, Crash::process);
      }
    }
  }
  void run(int faults) {
    for (Process& process : processes_) {
      start(process);
    }
    for (int i = 0; i < faults; ++i) {
      world_.run_for(microseconds(static_cast<i64>(prng_.below(20'000))));
      one_fault();
    }
    world_.net().heal_all();
  }
  World& world() { return world_; }
  u64 checked() const { return checked_; }

 private:
  static WorldOptions options() {
    WorldOptions options;
    options.stall_rate = 0.001;
    options.net.reset_rate = 0.003;
    options.net.slow_rate = 0.01;
    options.net.window_min = 3000;
    options.net.window_max = 20'000;
    options.net.user_timeout = milliseconds(300);
    options.disk.write_error_rate = 0.01;
    options.disk.flush_error_rate = 0.02;
    options.disk.slow_rate = 0.01;
    return options;
  }
  void start(Process& process) {
    SimEnv& env = process.node.env();
    process.reactor = std::make_unique<Reactor>(env, ReactorOptions{});
    process.gate = std::make_unique<Gate>();
    env.attach(*process.reactor);
    const auto spawn = [&](Task<void> task) {
      process.reactor->spawn("chaos", TaskClass::foreground, std::move(task));
    };
    spawn(serve(env, *process.gate, checked_));
    spawn(talk(env, addresses_));
    spawn(talk(env, addresses_));
    spawn(write_files(env));
  }
  void stop(Process& process, Crash how) {
    process.node.crash(how);
    process.reactor->abandon();
    const ReactorScope scope(process.reactor.get());
    process.gate.reset();
    process.reactor.reset();
  }
  void one_fault() {
    Process& process = processes_[prng_.below(processes_.size())];
    Process& other = processes_[prng_.below(processes_.size())];
    Node& node = process.node;
    Network& net = world_.net();
    if (!node.up()) {
      node.restart();
      start(process);
      return;
    }
    switch (prng_.below(10)) {
      case 0:
        return stop(process, Crash::process);
      case 1:
        return stop(process, Crash::power);
      case 2:
        return node.pause();
      case 3:
        return node.resume();
      case 4:
        return net.cut(node, other.node);
      case 5:
        return net.isolate(node);
      case 6:
        return net.heal_all();
      case 7:
        return net.reset_connections(node, other.node);
      case 8:
        return node.disk().set_stuck(!node.disk().stuck());
      default:
        return net.hang(node, other.node);
    }
  }

  World world_;
  Prng prng_;
  std::vector<Address> addresses_;
  std::vector<Process> processes_;
  u64 checked_ = 0;
};

TEST(SimChaos, StreamsStayPrefixesAndTracesRepeat) {
  u64 checked = 0;
  for (u64 seed = 1; seed <= 6; ++seed) {
    u64 hashes[2];
    for (u64& hash : hashes) {
      Chaos chaos(seed);
      chaos.run(50);
      hash = chaos.world().trace_hash();
      checked += chaos.checked();
    }
    EXPECT_EQ(hashes[0], hashes[1]) << "seed " << seed;
  }
  EXPECT_GT(checked, 1'000'000u);
}

TEST(SimChaos, NoConnectionIsLeftBehind) {
  Chaos chaos(77);
  chaos.run(100);
  chaos.world().run_for(seconds(1));
  RecordProperty("open", static_cast<int>(chaos.world().net().connections_open()));
  // Each of five processes holds a few; what a crash or a fault forgot would pile up beyond that.
  EXPECT_LT(chaos.world().net().connections_open(), 100u);
}

}  // namespace
}  // namespace pangu::env::sim
