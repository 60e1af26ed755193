#include <gtest/gtest.h>

#include "base/hash.h"
#include "env/linux/linux_env.h"
#include "rpc/test_service.h"

// Over real sockets on loopback, with each Env that this machine allows.
namespace pangu::rpc {
namespace {

using namespace test;  // NOLINT: the tests are about nothing else

struct Rig {
  std::unique_ptr<env::Env> env;
  Reactor reactor;
  BufferPool pool;
  TestService service;
  Server server;
  std::unique_ptr<Channel> channel;

  explicit Rig(std::unique_ptr<env::Env> e, const ServerOptions& options = {})
      : env(std::move(e)),
        reactor(*env, ReactorOptions{}),
        pool(*env, BufferPoolOptions{}),
        service(pool),
        server(reactor, service, pool, options) {}
  void start(ConnectionKind kind) {
    const Status listening = server.listen(*env::parse_address("127.0.0.1:0"));
    CHECK_NOTE(listening.ok(), listening.ok() ? "" : listening.error().message());
    channel = std::make_unique<Channel>(reactor, pool, server.address(),
                                        ChannelOptions{.identity = {}, .kind = kind});
  }
  Task<void> stop() {
    if (channel) {
      co_await channel->stop();
    }
    co_await server.stop();
  }
};

class LinuxRpc : public testing::TestWithParam<std::tuple<env::EnvKind, ConnectionKind>> {
 protected:
  void SetUp() override {
    auto env = env::make_env(std::get<0>(GetParam()));
    if (!env.ok()) {
      GTEST_SKIP() << env.error().message();
    }
    rig_ = std::make_unique<Rig>(std::move(*env));
    rig_->start(std::get<1>(GetParam()));
  }
  void TearDown() override {
    if (rig_) {
      run_blocking(rig_->reactor, rig_->stop());
    }
  }
  std::unique_ptr<Rig> rig_;
};

Task<void> round_trips(Rig& rig) {
  for (size_t size : {0u, 1u, 100u, 128u, 129u, 5000u, 70000u}) {
    for (size_t payload : {0u, 1u, 4096u, 8192u, 1u << 20}) {
      std::string body(size, 'b');
      const u64 seed = size * 7 + payload;
      auto response = co_await rig.channel->call(kEcho, as_bytes_of(std::string_view(body)),
                                                 pattern_payload(payload, seed),
                                                 within(rig.reactor, seconds(10)));
      CHECK_NOTE(response.ok(), response.ok() ? "" : response.error().message());
      EXPECT_EQ(response->code, Code::kOk);
      EXPECT_EQ(as_text(response->body.bytes()), body);
      EXPECT_EQ(response->payload.size(), payload);
      EXPECT_TRUE(has_pattern(response->payload.bytes(), seed));
      EXPECT_EQ(reinterpret_cast<u64>(response->payload.data()) % 4096, 0u);
    }
  }
}

TEST_P(LinuxRpc, RoundTrips) {
  run_blocking(rig_->reactor, round_trips(*rig_));
  EXPECT_TRUE(rig_->channel->connected());
  EXPECT_GT(rig_->channel->round_trip().ns, 0);
  EXPECT_EQ(rig_->server.counters().requests, 35u);
  EXPECT_EQ(rig_->server.counters().replies, 35u);
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, LinuxRpc,
    testing::Combine(testing::Values(env::EnvKind::io_uring, env::EnvKind::epoll),
                     testing::Values(ConnectionKind::control, ConnectionKind::data)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param) == env::EnvKind::io_uring ? "uring" : "epoll") +
             (std::get<1>(info.param) == ConnectionKind::data ? "_data" : "_control");
    });

}  // namespace
}  // namespace pangu::rpc
