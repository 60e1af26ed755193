#pragma once
#include <gtest/gtest.h>

#include "env/sim/world.h"
#include "rpc/test_service.h"

// Simulated hosts with servers and channels on them, for the tests of this room.
namespace pangu::rpc::test {

inline constexpr Uuid kCluster = {.high = 0xc1, .low = 0x05};

inline Identity identity(u32 server, bool keyed = true) {
  Identity out{.cluster = kCluster, .server = {server}, .key = {}};
  if (keyed) {
    out.key.emplace();
    out.key->fill(std::byte{0x5a});
  }
  return out;
}

// One process on one node, with a reactor and a pool.
struct Host {
  env::sim::Node& node;
  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<BufferPool> pool;
  u64 pool_bytes;

  explicit Host(env::sim::Node& n, u64 bytes = 16 * kMiB) : node(n), pool_bytes(bytes) { boot(); }
  ~Host() {
    pool.reset();
    if (node.up() && reactor && !reactor->abandoned()) {
      node.env().detach();
    }
  }
  void boot() {
    reactor = std::make_unique<Reactor>(node.env(), ReactorOptions{});
    pool = std::make_unique<BufferPool>(
        node.env(),
        BufferPoolOptions{.bytes = pool_bytes, .huge_pages = false, .registered = false});
    node.env().attach(*reactor);
  }
};

// A TestService behind a Server.
struct ServerHost : Host {
  ServerOptions options;
  u16 port;
  std::unique_ptr<TestService> service;
  std::unique_ptr<Server> server;

  ServerHost(env::sim::Node& n, const ServerOptions& o, u16 p = 7200)
      : Host(n), options(o), port(p) {
    serve();
  }
  ~ServerHost() { reset(); }
  void serve() {
    service = std::make_unique<TestService>(*pool);
    server = std::make_unique<Server>(*reactor, *service, *pool, options);
    const Status listening = server->listen(node.address(port));
    CHECK_NOTE(listening.ok(), listening.ok() ? "" : listening.error().message());
  }
  void reset() {
    server.reset();
    service.reset();
  }
  void crash(env::sim::Crash how) {
    node.crash(how);
    reactor->abandon();
    reset();
    pool.reset();
    reactor.reset();
  }
  void restart() {
    node.restart();
    boot();
    serve();
  }
  env::Address address() const { return node.address(port); }
};

struct Rig {
  env::sim::World world;
  ServerHost server;
  Host client;

  explicit Rig(u64 seed, const ServerOptions& options = {.identity = identity(1)},
               const env::sim::WorldOptions& world_options = {})
      : world(seed, world_options),
        server(world.add_node("server"), options),
        client(world.add_node("client")) {}

  std::unique_ptr<Channel> channel(ConnectionKind kind) {
    return channel({.identity = identity(0), .kind = kind});
  }
  std::unique_ptr<Channel> channel(const ChannelOptions& options) {
    return std::make_unique<Channel>(*client.reactor, *client.pool, server.address(), options);
  }
  // Runs `task` on a host until it is done; a test failure if that takes longer than `limit`.
  void run(Host& host, Task<void> task, Duration limit = seconds(60)) {
    bool finished = false;
    host.reactor->spawn("test", TaskClass::foreground,
                        detail::store_result_void(std::move(task), finished));
    EXPECT_TRUE(world.run_until([&] { return finished; }, world.now() + limit))
        << "the test's task did not end";
  }
  void run(Task<void> task, Duration limit = seconds(60)) { run(client, std::move(task), limit); }
  // Ends everything and checks that nothing is left.
  void finish(std::unique_ptr<Channel>& channel) {
    if (channel) {
      run(channel->stop());
      EXPECT_EQ(channel->counters().calls_open, 0u);
      EXPECT_EQ(channel->counters().bytes_queued, 0u);
      channel.reset();
    }
    finish_server();
  }
  void finish_server() {
    if (server.reactor) {
      run(server, server.server->stop());
      EXPECT_EQ(server.server->counters().connections_open, 0u);
      EXPECT_EQ(server.server->counters().requests_open, 0u);
      EXPECT_EQ(server.server->counters().payload_bytes_open, 0u);
      server.reset();
      EXPECT_EQ(server.pool->counters().blocks_in_use, 0u);
      EXPECT_EQ(server.reactor->tasks(), 0u);
    }
    EXPECT_EQ(client.pool->counters().blocks_in_use, 0u);
    EXPECT_EQ(client.reactor->tasks(), 0u);
  }
};

// Over loopback of one node: that is where servers without a key may listen.
struct LoopbackRig {
  env::sim::World world;
  Host host;
  TestService service;
  Server server;
  LoopbackRig(u64 seed, const ServerOptions& options,
              const env::sim::WorldOptions& world_options = {})
      : world(seed, world_options),
        host(world.add_node("node")),
        service(*host.pool),
        server(*host.reactor, service, *host.pool, options) {
    const Status listening = server.listen(*env::parse_address("127.0.0.1:0"));
    EXPECT_TRUE(listening.ok()) << listening.error().message();
  }
  void run(Task<void> task, Duration limit = seconds(60)) {
    bool finished = false;
    host.reactor->spawn("test", TaskClass::foreground,
                        detail::store_result_void(std::move(task), finished));
    EXPECT_TRUE(world.run_until([&] { return finished; }, world.now() + limit))
        << "the test's task did not end";
  }
};

inline std::string kind_name(const testing::TestParamInfo<ConnectionKind>& info) {
  return info.param == ConnectionKind::data ? "data" : "control";
}

}  // namespace pangu::rpc::test
