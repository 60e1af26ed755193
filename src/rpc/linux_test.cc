#include <gtest/gtest.h>

#include "base/prng.h"
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
  std::unique_ptr<Server> server;
  std::unique_ptr<Channel> channel;

  explicit Rig(std::unique_ptr<env::Env> e)
      : env(std::move(e)),
        reactor(*env, ReactorOptions{}),
        pool(*env, BufferPoolOptions{}),
        service(pool) {}
  void serve(const env::Address& address) {
    server = std::make_unique<Server>(reactor, service, pool, ServerOptions{});
    const Status listening = server->listen(address);
    CHECK_NOTE(listening.ok(), listening.ok() ? "" : listening.error().message());
  }
  void start(ConnectionKind kind) {
    serve(*env::parse_address("127.0.0.1:0"));
    channel = std::make_unique<Channel>(reactor, pool, server->address(),
                                        ChannelOptions{.identity = {}, .kind = kind});
  }
  Task<void> stop() {
    co_await channel->stop();
    co_await server->stop();
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
  EXPECT_EQ(rig_->server->counters().requests, 35u);
  EXPECT_EQ(rig_->server->counters().replies, 35u);
}

// Many channels, each with calls of every size at once.
Task<void> one_caller(Rig& rig, Channel& channel, u64 seed, u64& running, Event& all_done) {
  Prng prng(seed);
  for (int i = 0; i < 20; ++i) {
    const u64 pattern = prng.next();
    const size_t payload = prng.chance(0.5) ? 0 : prng.below(prng.chance(0.1) ? kMiB : 20'000);
    const std::string body(prng.below(300), static_cast<char>('a' + pattern % 26));
    auto response =
        co_await channel.call(kEcho, as_bytes_of(std::string_view(body)),
                              pattern_payload(payload, pattern), within(rig.reactor, seconds(20)));
    CHECK_NOTE(response.ok(), response.ok() ? "" : response.error().message());
    EXPECT_EQ(response->code, Code::kOk) << response->text();
    EXPECT_EQ(as_text(response->body.bytes()), body);
    EXPECT_TRUE(has_pattern(response->payload.bytes(), pattern));
  }
  if (--running == 0) {
    all_done.set();
  }
}

Task<void> crowd(Rig& rig, ConnectionKind kind) {
  std::vector<std::unique_ptr<Channel>> channels;
  u64 running = 0;
  Event all_done;
  for (u64 i = 0; i < 8; ++i) {
    channels.push_back(std::make_unique<Channel>(rig.reactor, rig.pool, rig.server->address(),
                                                 ChannelOptions{.identity = {}, .kind = kind}));
    for (u64 j = 0; j < 6; ++j) {
      ++running;
      rig.reactor.spawn("caller", TaskClass::foreground,
                        one_caller(rig, *channels.back(), i * 100 + j, running, all_done));
    }
  }
  co_await all_done.wait();
  for (auto& channel : channels) {
    EXPECT_EQ(channel->counters().connects, 1u);
    co_await channel->stop();
  }
}

TEST_P(LinuxRpc, ManyChannelsAtOnce) {
  run_blocking(rig_->reactor, crowd(*rig_, std::get<1>(GetParam())));
  EXPECT_EQ(rig_->server->counters().requests, 8u * 6 * 20);
  EXPECT_EQ(rig_->service.payload_held, 0u);
}

Task<Code> echo_code(Rig& rig) {
  auto response =
      co_await rig.channel->call(kEcho, as_bytes_of(std::string_view("x")),
                                 pattern_payload(5000, 1), within(rig.reactor, seconds(10)));
  co_return response.code();
}

TEST_P(LinuxRpc, AServerGoesAndComesBack) {
  EXPECT_EQ(run_blocking(rig_->reactor, echo_code(*rig_)), Code::kOk);
  const env::Address address = rig_->server->address();
  run_blocking(rig_->reactor, rig_->server->stop());
  rig_->server.reset();
  EXPECT_EQ(run_blocking(rig_->reactor, echo_code(*rig_)), Code::kConnectFailed);
  EXPECT_FALSE(rig_->channel->connected());
  rig_->serve(address);
  EXPECT_EQ(run_blocking(rig_->reactor, echo_code(*rig_)), Code::kOk);
  EXPECT_EQ(rig_->channel->counters().losses, 1u);
  EXPECT_EQ(rig_->channel->counters().connects, 2u);
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
