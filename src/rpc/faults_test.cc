#include <map>

#include "rpc/sim_rig.h"

// Channels and servers while connections break, links are cut and processes die.
namespace pangu::rpc {
namespace {

using namespace test;  // NOLINT: the tests are about nothing else

class Faults : public testing::TestWithParam<ConnectionKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Faults,
                         testing::Values(ConnectionKind::control, ConnectionKind::data), kind_name);

Task<void> call_once(Rig& rig, Channel& channel, Duration patience, Code& code, Duration& took) {
  const Instant begin = rig.client.reactor->now();
  auto response = co_await channel.call(kEcho, as_bytes_of(std::string_view("x")),
                                        pattern_payload(5000, 1), {.deadline = begin + patience});
  code = response.code();
  took = rig.client.reactor->now() - begin;
}

struct Outcome {
  Code code = Code::kInternal;
  Duration took;
};
Outcome call_now(Rig& rig, Channel& channel, Duration patience) {
  Outcome out;
  rig.run(call_once(rig, channel, patience, out.code, out.took), patience + seconds(1));
  return out;
}

TEST_P(Faults, NobodyListens) {
  Rig rig(1);
  rig.server.crash(env::sim::Crash::process);
  auto channel = rig.channel(GetParam());
  const Outcome first = call_now(rig, *channel, seconds(5));
  EXPECT_EQ(first.code, Code::kConnectFailed);
  EXPECT_LT(first.took, milliseconds(2));
  // Each attempt waits a little longer, but never long.
  for (int i = 0; i < 20; ++i) {
    const Outcome next = call_now(rig, *channel, seconds(5));
    EXPECT_EQ(next.code, Code::kConnectFailed);
    EXPECT_GT(next.took, milliseconds(2));
    EXPECT_LT(next.took, milliseconds(202));
  }
  rig.server.restart();
  EXPECT_EQ(call_now(rig, *channel, seconds(5)).code, Code::kOk);
  rig.finish(channel);
}

TEST_P(Faults, NobodyAnswers) {
  Rig rig(2);
  rig.world.net().cut_both(rig.client.node, rig.server.node);
  auto channel = rig.channel(GetParam());
  const Outcome refused = call_now(rig, *channel, seconds(10));
  EXPECT_EQ(refused.code, Code::kConnectFailed);
  EXPECT_LT(refused.took, milliseconds(2100)) << "connect_timeout";
  const Outcome late = call_now(rig, *channel, milliseconds(300));
  EXPECT_EQ(late.code, Code::kTimeout);
  EXPECT_LT(late.took, milliseconds(301));
  rig.world.net().heal_all();
  EXPECT_EQ(call_now(rig, *channel, seconds(5)).code, Code::kOk);
  rig.finish(channel);
}

TEST_P(Faults, ALossIsToldAtOnceAndTheNextCallConnects) {
  Rig rig(3);
  auto channel = rig.channel(GetParam());
  EXPECT_EQ(call_now(rig, *channel, seconds(5)).code, Code::kOk);
  std::vector<Code> codes;
  rig.client.reactor->spawn(
      "hold", TaskClass::foreground, [](Rig& r, Channel& c, std::vector<Code>& out) -> Task<void> {
        auto response = co_await c.call(kHold, {}, pattern_payload(100, 1),
                                        within(*r.client.reactor, seconds(30)));
        out.push_back(response.code());
      }(rig, *channel, codes));
  rig.world.run_for(milliseconds(20));
  rig.world.net().reset_connections(rig.client.node, rig.server.node);
  rig.world.run_for(milliseconds(20));
  EXPECT_EQ(codes, std::vector<Code>{Code::kConnectionLost});
  EXPECT_FALSE(channel->connected());
  const Outcome next = call_now(rig, *channel, seconds(5));
  EXPECT_EQ(next.code, Code::kOk);
  EXPECT_LT(next.took, milliseconds(5)) << "the first attempt after a loss is immediate";
  EXPECT_EQ(channel->counters().losses, 1u);
  EXPECT_EQ(channel->counters().connects, 2u);
  rig.server.service->released.set();
  rig.finish(channel);
}

TEST_P(Faults, WhatWasNotSentSurvivesALoss) {
  ServerOptions options{.identity = identity(1)};
  options.connection_credit_bytes = kMiB;
  Rig rig(4, options);
  auto channel = rig.channel(GetParam());
  std::map<Code, u64> codes;
  u64 ended = 0;
  for (int i = 0; i < 10; ++i) {
    rig.client.reactor->spawn(
        "call", TaskClass::foreground,
        [](Rig& r, Channel& c, std::map<Code, u64>& out, u64& count) -> Task<void> {
          auto response = co_await c.call(kHold, {}, pattern_payload(400'000, 1),
                                          within(*r.client.reactor, seconds(30)));
          ++out[response.code()];
          ++count;
        }(rig, *channel, codes, ended));
  }
  rig.world.run_for(milliseconds(100));
  const u64 sent = rig.server.service->handled;
  EXPECT_EQ(sent, 2u);
  rig.world.net().reset_connections(rig.client.node, rig.server.node);
  rig.world.run_for(milliseconds(1));
  rig.server.service->released.set();
  EXPECT_TRUE(rig.world.run_until([&] { return ended == 10; }, rig.world.now() + seconds(10)));
  EXPECT_EQ(codes[Code::kConnectionLost], sent);
  EXPECT_EQ(codes[Code::kOk], 10 - sent);
  rig.finish(channel);
}

TEST_P(Faults, ASilentConnectionIsGivenUp) {
  Rig rig(5);
  auto channel = rig.channel(GetParam());
  EXPECT_EQ(call_now(rig, *channel, seconds(5)).code, Code::kOk);
  // Bytes vanish, and no kernel ever says so.
  rig.world.net().hang(rig.client.node, rig.server.node);
  for (int i = 0; i < 7; ++i) {
    const Outcome outcome = call_now(rig, *channel, milliseconds(500));
    EXPECT_EQ(outcome.code, Code::kTimeout);
    EXPECT_LT(outcome.took, milliseconds(501));
  }
  EXPECT_EQ(channel->counters().losses, 1u);
  rig.world.net().heal_all();
  EXPECT_EQ(call_now(rig, *channel, seconds(5)).code, Code::kOk);
  rig.finish(channel);
}

TEST_P(Faults, ALongWaitIsNoSilence) {
  Rig rig(6);
  auto channel = rig.channel(GetParam());
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    const u64 us = 10'000'000;
    auto response =
        co_await c.call(kDelay, Bytes(reinterpret_cast<const std::byte*>(&us), sizeof us), {},
                        within(*r.client.reactor, seconds(20)));
    EXPECT_TRUE(response.ok());
  }(rig, *channel));
  EXPECT_EQ(channel->counters().losses, 0u);
  rig.finish(channel);
}

TEST_P(Faults, ACrashedServerComesBack) {
  for (const auto how : {env::sim::Crash::process, env::sim::Crash::power}) {
    Rig rig(7);
    auto channel = rig.channel(GetParam());
    EXPECT_EQ(call_now(rig, *channel, seconds(5)).code, Code::kOk);
    rig.server.crash(how);
    const Outcome during = call_now(rig, *channel, seconds(1));
    EXPECT_NE(during.code, Code::kOk);
    EXPECT_LT(during.took, milliseconds(1001));
    rig.server.restart();
    Outcome after = call_now(rig, *channel, seconds(5));
    if (after.code != Code::kOk) {
      after = call_now(rig, *channel, seconds(5));
    }
    EXPECT_EQ(after.code, Code::kOk);
    rig.finish(channel);
  }
}

TEST_P(Faults, AClientThatDiesLeavesNothingAtTheServer) {
  Rig rig(8);
  auto channel = rig.channel(GetParam());
  for (int i = 0; i < 5; ++i) {
    rig.client.reactor->spawn("hold", TaskClass::foreground, [](Rig& r, Channel& c) -> Task<void> {
      auto never = co_await c.call(kHold, {}, pattern_payload(500'000, 1),
                                   within(*r.client.reactor, seconds(30)));
      static_cast<void>(never.ok());
    }(rig, *channel));
  }
  rig.world.run_for(milliseconds(100));
  EXPECT_EQ(rig.server.server->counters().connections_open, 1u);
  rig.client.node.crash(env::sim::Crash::process);
  rig.client.reactor->abandon();
  channel.reset();
  EXPECT_EQ(rig.client.pool->counters().blocks_in_use, 0u);
  rig.world.run_for(milliseconds(100));
  EXPECT_EQ(rig.server.server->counters().connections_open, 0u);
  rig.server.service->released.set();
  rig.finish_server();
}

// Objects that die before the tasks that use them: a crash takes them in any order.
TEST_P(Faults, ACrashDestroysInAnyOrder) {
  Rig rig(9);
  rig.client.reactor->spawn(
      "owner", TaskClass::foreground, [](Rig& r, ConnectionKind kind) -> Task<void> {
        Channel channel(*r.client.reactor, *r.client.pool, r.server.address(),
                        {.identity = identity(0), .kind = kind});
        TestService service(*r.client.pool);
        Server server(*r.client.reactor, service, *r.client.pool, {.identity = identity(2)});
        EXPECT_TRUE(server.listen(r.client.node.address(7300)).ok());
        Channel own(*r.client.reactor, *r.client.pool, r.client.node.address(7300),
                    {.identity = identity(0), .kind = kind});
        for (int i = 0; i < 3; ++i) {
          for (Channel* each : {&channel, &own}) {
            r.client.reactor->spawn(
                "call", TaskClass::foreground, [](Rig& g, Channel& c) -> Task<void> {
                  auto never = co_await c.call(kHold, {}, pattern_payload(500'000, 1),
                                               within(*g.client.reactor, seconds(30)));
                  static_cast<void>(never.ok());
                }(r, *each));
          }
        }
        co_await sleep_for(seconds(30));
      }(rig, GetParam()));
  rig.world.run_for(milliseconds(100));
  EXPECT_EQ(rig.server.service->running, 3u);
  rig.client.node.crash(env::sim::Crash::power);
  rig.client.reactor->abandon();
  EXPECT_EQ(rig.client.pool->counters().blocks_in_use, 0u);
  rig.server.crash(env::sim::Crash::process);
}

// Random calls under random faults. What must hold: every call ends, at its deadline at the latest;
// an answer is the right one; at the end everything works again and nothing is left.
class Storm {
 public:
  explicit Storm(u64 seed) : prng_(seed), rig_(seed, server_options(), world_options(seed)) {}

  u64 run() {
    const u64 channels = 1 + prng_.below(3);
    for (u64 i = 0; i < channels; ++i) {
      channels_.push_back(
          rig_.channel(prng_.chance(0.6) ? ConnectionKind::data : ConnectionKind::control));
      const u64 callers = 1 + prng_.below(6);
      for (u64 j = 0; j < callers; ++j) {
        ++callers_;
        rig_.client.reactor->spawn("caller", static_cast<TaskClass>(prng_.below(4)),
                                   caller(*this, *channels_.back(), prng_.next()));
      }
    }
    while (callers_ > 0) {
      rig_.world.run_for(microseconds(static_cast<i64>(prng_.between(100, 30'000))));
      inject();
      if (rig_.world.now() > Instant{} + seconds(600)) {
        ADD_FAILURE() << "callers did not end";
        break;
      }
    }
    recover();
    for (auto& channel : channels_) {
      rig_.run(expect_echo(*this, *channel));
      rig_.run(channel->stop());
    }
    channels_.clear();
    EXPECT_LE(rig_.server.service->payload_held_peak, server_options().receive_bytes_max);
    rig_.finish_server();
    EXPECT_GT(answered_, 0u);
    rig_.world.trace(answered_);
    return rig_.world.trace_hash();
  }

 private:
  static ServerOptions server_options() {
    ServerOptions options{.identity = identity(1)};
    options.receive_bytes_max = 3 * kMiB;
    options.connection_credit_bytes = 2 * kMiB;
    options.requests_per_connection_max = 8;
    return options;
  }
  static env::sim::WorldOptions world_options(u64 seed) {
    Prng prng(seed * 3);
    env::sim::WorldOptions options;
    options.net.split_rate = prng.unit() * 0.5;
    options.net.partial_rate = prng.unit() * 0.5;
    options.net.slow_rate = prng.chance(0.5) ? 0.02 : 0;
    options.net.reset_rate = prng.chance(0.5) ? 0.01 : 0;
    options.net.window_min = prng.chance(0.3) ? 3000 : 64 * kKiB;
    options.stall_rate = prng.chance(0.3) ? 0.001 : 0;
    return options;
  }

  static Task<void> caller(Storm& self, Channel& channel, u64 seed) {
    Prng prng(seed);
    Reactor& reactor = *self.rig_.client.reactor;
    for (int i = 0; i < 12; ++i) {
      co_await one_call(self, channel, prng);
      if (prng.chance(0.3)) {
        co_await sleep_for(microseconds(static_cast<i64>(prng.below(20'000))));
      }
      static_cast<void>(reactor);
    }
    --self.callers_;
  }

  static Task<void> one_call(Storm& self, Channel& channel, Prng& prng) {
    Reactor& reactor = *self.rig_.client.reactor;
    const u64 patience_us = 1000 + prng.below(prng.chance(0.5) ? 10'000 : 1'500'000);
    const Instant deadline = reactor.now() + microseconds(static_cast<i64>(patience_us));
    const CallOptions options{.task_class = static_cast<TaskClass>(prng.below(4)),
                              .deadline = deadline};
    const u64 what = prng.below(10);
    const u64 seed = prng.next() >> 32;
    Result<Response> response = Error(Code::kInternal);
    std::string body;
    size_t payload = 0;
    if (what < 5) {
      body.assign(prng.below(300), static_cast<char>('a' + seed % 26));
      payload = prng.chance(0.3) ? 0 : prng.below(prng.chance(0.2) ? kMiB : 20'000);
      response = co_await channel.call(kEcho, as_bytes_of(std::string_view(body)),
                                       pattern_payload(payload, seed), options);
    } else if (what < 8) {
      payload = prng.below(prng.chance(0.2) ? kMiB : 20'000);
      const std::array<u32, 2> size = {static_cast<u32>(payload), static_cast<u32>(seed)};
      response = co_await channel.call(kBytes, std::as_bytes(std::span(size)), {}, options);
    } else {
      const u64 us = prng.below(50'000);
      body.assign(reinterpret_cast<const char*>(&us), sizeof us);
      response = co_await channel.call(kDelay, as_bytes_of(std::string_view(body)), {}, options);
    }
    // The thread may have been off its core when the deadline came.
    EXPECT_LE(reactor.now(), deadline + milliseconds(45));
    self.rig_.world.trace(static_cast<u64>(response.code()));
    if (!response.ok()) {
      const Code code = response.code();
      EXPECT_TRUE(code == Code::kTimeout || code == Code::kConnectionLost ||
                  code == Code::kConnectFailed)
          << response.error().message();
      co_return;
    }
    if (response->code != Code::kOk) {
      EXPECT_TRUE(response->code == Code::kTimeout || response->code == Code::kBusy)
          << response->text();
      co_return;
    }
    ++self.answered_;
    EXPECT_EQ(as_text(response->body.bytes()), body);
    EXPECT_EQ(response->payload.size(), payload);
    EXPECT_TRUE(has_pattern(response->payload.bytes(), seed));
  }

  void inject() {
    env::sim::Network& net = rig_.world.net();
    env::sim::Node& client = rig_.client.node;
    env::sim::Node& server = rig_.server.node;
    switch (prng_.below(12)) {
      case 0:
        net.reset_connections(client, server);
        break;
      case 1:
        net.cut_both(client, server);
        break;
      case 2:
        net.cut(client, server);
        break;
      case 3:
        net.hang(server, client);
        break;
      case 4:
        if (server.up()) {
          rig_.server.crash(prng_.chance(0.5) ? env::sim::Crash::process : env::sim::Crash::power);
        }
        break;
      case 5:
        if (server.up() && !server.paused()) {
          server.pause();
        }
        break;
      default:
        recover();
        break;
    }
  }

  void recover() {
    rig_.world.net().heal_all();
    if (!rig_.server.node.up()) {
      rig_.server.restart();
    }
    if (rig_.server.node.paused()) {
      rig_.server.node.resume();
    }
  }

  static Task<void> expect_echo(Storm& self, Channel& channel) {
    // A connection that died in silence is found out by the first calls.
    for (int i = 0; i < 12; ++i) {
      auto response = co_await channel.call(kEcho, {}, pattern_payload(6000, 4),
                                            within(*self.rig_.client.reactor, milliseconds(500)));
      if (response.ok() && response->code == Code::kOk) {
        EXPECT_TRUE(has_pattern(response->payload.bytes(), 4));
        co_return;
      }
    }
    ADD_FAILURE() << "nothing works although everything is healed";
  }

  Prng prng_;
  Rig rig_;
  std::vector<std::unique_ptr<Channel>> channels_;
  u64 callers_ = 0;
  u64 answered_ = 0;
};

TEST(Storms, EverythingEndsAndNothingIsLeft) {
  for (u64 seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Storm storm(seed);
    storm.run();
    if (HasFailure()) {
      break;
    }
  }
}

TEST(Storms, TheSameSeedIsTheSameStory) {
  for (u64 seed = 1001; seed <= 1010; ++seed) {
    EXPECT_EQ(Storm(seed).run(), Storm(seed).run()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace pangu::rpc
