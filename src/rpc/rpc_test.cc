#include "rpc/sim_rig.h"

// What a channel and a server do for each other when nothing goes wrong in between.
namespace pangu::rpc {
namespace {

using namespace test;  // NOLINT: the tests are about nothing else

class Rpc : public testing::TestWithParam<ConnectionKind> {
 protected:
  bool data() const { return GetParam() == ConnectionKind::data; }
};
INSTANTIATE_TEST_SUITE_P(Kinds, Rpc, testing::Values(ConnectionKind::control, ConnectionKind::data),
                         kind_name);

Bytes as_body(const u64& us) {
  return {reinterpret_cast<const std::byte*>(&us), sizeof us};
}

Task<void> echo(Reactor& reactor, Channel& channel, size_t size, size_t payload, u64& done) {
  const std::string body(size, static_cast<char>('a' + size % 26));
  auto response =
      co_await channel.call(kEcho, as_bytes_of(std::string_view(body)),
                            pattern_payload(payload, size + payload), within(reactor, seconds(20)));
  if (!response.ok()) {
    ADD_FAILURE() << response.error().message();
    co_return;
  }
  EXPECT_EQ(response->code, Code::kOk);
  EXPECT_EQ(as_text(response->body.bytes()), body);
  EXPECT_EQ(response->payload.size(), payload);
  EXPECT_TRUE(has_pattern(response->payload.bytes(), size + payload));
  if (payload > 0) {
    EXPECT_EQ(reinterpret_cast<u64>(response->payload.data()) % 4096, 0u);
  }
  ++done;
}

Task<void> echo_all_sizes(Rig& rig, Channel& channel) {
  u64 done = 0;
  for (const size_t size : {0u, 1u, 127u, 128u, 129u, 4000u, 70000u, 1u << 20}) {
    for (const size_t payload : {0u, 1u, 4096u, 65536u, 1u << 20}) {
      co_await echo(*rig.client.reactor, channel, size, payload, done);
    }
  }
  EXPECT_EQ(done, 40u);
}

TEST_P(Rpc, EverySizeComesBack) {
  Rig rig(1);
  auto channel = rig.channel(GetParam());
  rig.run(echo_all_sizes(rig, *channel));
  EXPECT_TRUE(channel->connected());
  EXPECT_EQ(channel->cluster(), kCluster);
  EXPECT_EQ(channel->server(), ServerId{1});
  EXPECT_GT(channel->round_trip().ns, 0);
  EXPECT_EQ(channel->counters().connects, 1u);
  EXPECT_EQ(rig.server.server->counters().requests, 40u);
  rig.finish(channel);
}

TEST_P(Rpc, PlacementInTwoPieces) {
  Rig rig(2);
  rig.server.service->gap = 48;
  auto channel = rig.channel(GetParam());
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    const size_t size = 10'000;
    auto response =
        co_await c.call(kEcho, {}, pattern_payload(size, 5), within(*r.client.reactor, seconds(5)));
    if (!response.ok()) {
      ADD_FAILURE() << response.error().message();
      co_return;
    }
    EXPECT_EQ(response->payload.size(), size + 48);
    // The gap moved the second half.
    const Slice whole = Slice::allocate(size);
    std::memcpy(whole.data(), response->payload.data(), size / 2);
    std::memcpy(whole.data() + size / 2, response->payload.data() + size / 2 + 48, size / 2);
    EXPECT_TRUE(has_pattern(whole.bytes(), 5));
  }(rig, *channel));
  rig.finish(channel);
}

Task<void> delayed(Rig& rig, Channel& channel, u64 us, std::vector<u64>& order) {
  auto response =
      co_await channel.call(kDelay, as_body(us), {}, within(*rig.client.reactor, seconds(20)));
  EXPECT_TRUE(response.ok());
  order.push_back(us);
}

TEST_P(Rpc, RepliesComeInTheOrderTheyAreReady) {
  Rig rig(3);
  auto channel = rig.channel(GetParam());
  std::vector<u64> order;
  const std::vector<u64> delays = {50'000, 10'000, 90'000, 30'000, 70'000};
  for (const u64 us : delays) {
    rig.client.reactor->spawn("call", TaskClass::foreground, delayed(rig, *channel, us, order));
  }
  EXPECT_TRUE(rig.world.run_until([&] { return order.size() == delays.size(); },
                                  rig.world.now() + seconds(5)));
  EXPECT_EQ(order, (std::vector<u64>{10'000, 30'000, 50'000, 70'000, 90'000}));
  EXPECT_EQ(rig.server.service->running_peak, 5u);
  rig.finish(channel);
}

TEST_P(Rpc, ManyCallsShareSends) {
  Rig rig(4);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  rig.run(echo(*rig.client.reactor, *channel, 10, 0, done));
  const u64 client_sends = channel->counters().sends;
  const u64 server_sends = rig.server.server->counters().sends;
  for (int i = 0; i < 200; ++i) {
    rig.client.reactor->spawn("call", TaskClass::foreground,
                              echo(*rig.client.reactor, *channel, 40, 0, done));
  }
  EXPECT_TRUE(rig.world.run_until([&] { return done == 201; }, rig.world.now() + seconds(5)));
  EXPECT_LE(channel->counters().sends - client_sends, 2u);
  // How the requests came in decides how many replies are ready at a time.
  EXPECT_LT(rig.server.server->counters().sends - server_sends, data() ? 201u : 60u);
  rig.finish(channel);
}

TEST_P(Rpc, ErrorsCarryTheirTextOrTheirStruct) {
  Rig rig(5);
  auto channel = rig.channel(GetParam());
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    auto failed = co_await c.call(kFail, {}, {}, within(*r.client.reactor, seconds(5)));
    EXPECT_TRUE(failed.ok());
    EXPECT_EQ(failed->code, Code::kFenced);
    EXPECT_EQ(failed->text(), "fenced by epoch 7");
    auto coded = co_await c.call(kCode, {}, {}, within(*r.client.reactor, seconds(5)));
    EXPECT_EQ(coded->code, Code::kGap);
    EXPECT_EQ(as_text(coded->body.bytes()), "struct");
    auto unknown =
        co_await c.call(wire::Method::lookup, {}, {}, within(*r.client.reactor, seconds(5)));
    EXPECT_EQ(unknown->code, Code::kUnknownMethod);
    auto huge = co_await c.call(kHuge, {}, {}, within(*r.client.reactor, seconds(5)));
    EXPECT_EQ(huge->code, Code::kTooLarge);
    const std::string big((1 << 20) + 1, 'x');
    auto refused = co_await c.call(kEcho, as_bytes_of(std::string_view(big)), {},
                                   within(*r.client.reactor, seconds(5)));
    EXPECT_EQ(refused.code(), Code::kTooLarge);
    auto refused_payload = co_await c.call(kEcho, {}, pattern_payload(big.size(), 1),
                                           within(*r.client.reactor, seconds(5)));
    EXPECT_EQ(refused_payload.code(), Code::kTooLarge);
  }(rig, *channel));
  rig.finish(channel);
}

TEST_P(Rpc, ARefusedPayloadIsSkipped) {
  Rig rig(6);
  auto channel = rig.channel(GetParam());
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    r.server.service->refuse_place = true;
    auto refused = co_await c.call(kEcho, {}, pattern_payload(300'000, 1),
                                   within(*r.client.reactor, seconds(5)));
    EXPECT_TRUE(refused.ok());
    EXPECT_EQ(refused->code, Code::kNoSpace);
    EXPECT_EQ(refused->text(), "no place for it");
    EXPECT_EQ(r.server.service->handled, 0u);
    r.server.service->refuse_place = false;
    u64 done = 0;
    co_await echo(*r.client.reactor, c, 5, 300'000, done);
    EXPECT_EQ(done, 1u);
  }(rig, *channel));
  rig.finish(channel);
}

TEST_P(Rpc, ABusyServiceIsAskedAgain) {
  Rig rig(7);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  rig.server.service->busy_places = 3;
  rig.run(echo(*rig.client.reactor, *channel, 5, 9000, done));
  EXPECT_EQ(done, 1u);
  EXPECT_EQ(rig.server.service->placed, 4u);
  EXPECT_EQ(rig.server.server->counters().payload_waits, 1u);
  // Until the deadline, then the payload is skipped and the connection goes on.
  rig.server.service->busy_places = 1'000'000;
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    const Instant begin = r.client.reactor->now();
    auto busy =
        co_await c.call(kEcho, {}, pattern_payload(9000, 1), within(*r.client.reactor, seconds(1)));
    EXPECT_TRUE(busy.code() == Code::kTimeout || busy->code == Code::kBusy);
    EXPECT_LT(r.client.reactor->now() - begin, milliseconds(1010));
    r.server.service->busy_places = 0;
    u64 ended = 0;
    co_await echo(*r.client.reactor, c, 5, 9000, ended);
    EXPECT_EQ(ended, 1u);
  }(rig, *channel));
  EXPECT_EQ(channel->counters().connects, 1u);
  rig.finish(channel);
}

Task<void> hold(Rig& rig, Channel& channel, size_t payload, TaskClass task_class, u64& done) {
  CallOptions options = within(*rig.client.reactor, seconds(20));
  options.task_class = task_class;
  auto response = co_await channel.call(kHold, {}, pattern_payload(payload, 1), options);
  EXPECT_TRUE(response.ok()) << response.error().message();
  ++done;
}

TEST_P(Rpc, CreditBoundsPayloadInFlightAndLosesNothing) {
  ServerOptions options{.identity = identity(1)};
  options.connection_credit_bytes = 2 * kMiB;
  Rig rig(8, options);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  for (int i = 0; i < 20; ++i) {
    rig.client.reactor->spawn("hold", TaskClass::foreground,
                              hold(rig, *channel, 300'000, TaskClass::foreground, done));
  }
  rig.world.run_for(seconds(1));
  EXPECT_EQ(done, 0u);
  EXPECT_LE(rig.server.service->payload_held, 2 * kMiB);
  EXPECT_GE(rig.server.service->payload_held, 1 * kMiB);
  EXPECT_EQ(channel->counters().credit_waits, 1u);
  // Control still gets through, at once and with a payload.
  u64 control_done = 0;
  rig.client.reactor->spawn("hold", TaskClass::control,
                            hold(rig, *channel, 200'000, TaskClass::control, control_done));
  const u64 before = rig.server.service->handled;
  rig.world.run_for(milliseconds(100));
  EXPECT_EQ(rig.server.service->handled, before + 1);
  rig.server.service->released.set();
  EXPECT_TRUE(rig.world.run_until([&] { return done == 20 && control_done == 1; },
                                  rig.world.now() + seconds(10)));
  EXPECT_LE(rig.server.service->payload_held_peak, 2 * kMiB);
  rig.finish(channel);
}

TEST_P(Rpc, ManyConnectionsShareTheReceiveRoom) {
  ServerOptions options{.identity = identity(1)};
  options.receive_bytes_max = 4 * kMiB;
  Rig rig(9, options);
  std::vector<std::unique_ptr<Channel>> channels;
  u64 done = 0;
  for (int i = 0; i < 6; ++i) {
    channels.push_back(rig.channel(GetParam()));
    for (int j = 0; j < 8; ++j) {
      rig.client.reactor->spawn("hold", TaskClass::foreground,
                                hold(rig, *channels.back(), 500'000, TaskClass::foreground, done));
    }
  }
  rig.world.run_for(seconds(1));
  EXPECT_LE(rig.server.service->payload_held, 4 * kMiB);
  EXPECT_GE(rig.server.service->payload_held, 2 * kMiB);
  EXPECT_GT(rig.server.server->counters().payload_waits, 0u);
  rig.server.service->released.set();
  EXPECT_TRUE(rig.world.run_until([&] { return done == 48; }, rig.world.now() + seconds(10)));
  EXPECT_LE(rig.server.service->payload_held_peak, 4 * kMiB);
  for (auto& channel : channels) {
    rig.run(channel->stop());
  }
  channels.clear();
  rig.finish_server();
}

TEST_P(Rpc, TooManyRequestsPauseTheReading) {
  ServerOptions options{.identity = identity(1)};
  options.requests_per_connection_max = 10;
  Rig rig(10, options);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  for (int i = 0; i < 50; ++i) {
    rig.client.reactor->spawn("hold", TaskClass::foreground,
                              hold(rig, *channel, 0, TaskClass::foreground, done));
  }
  rig.world.run_for(seconds(1));
  EXPECT_EQ(rig.server.service->running, 10u);
  rig.server.service->released.set();
  EXPECT_TRUE(rig.world.run_until([&] { return done == 50; }, rig.world.now() + seconds(10)));
  EXPECT_EQ(rig.server.service->running_peak, 10u);
  rig.finish(channel);
}

TEST_P(Rpc, QueuesHaveLimits) {
  Rig rig(11);
  ChannelOptions options{.identity = identity(0), .kind = GetParam()};
  options.calls_max = 5;
  auto channel = rig.channel(options);
  u64 done = 0;
  for (int i = 0; i < 5; ++i) {
    rig.client.reactor->spawn("hold", TaskClass::foreground,
                              hold(rig, *channel, 0, TaskClass::foreground, done));
  }
  rig.world.run_for(milliseconds(100));
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    auto busy = co_await c.call(kEcho, {}, {}, within(*r.client.reactor, seconds(1)));
    EXPECT_EQ(busy.code(), Code::kBusy);
  }(rig, *channel));
  rig.server.service->released.set();
  EXPECT_TRUE(rig.world.run_until([&] { return done == 5; }, rig.world.now() + seconds(10)));
  rig.finish(channel);

  Rig small(12);
  options.calls_max = 100;
  options.queued_bytes_max = 10'000;
  auto narrow = small.channel(options);
  small.run([](Rig& r, Channel& c) -> Task<void> {
    auto busy = co_await c.call(kEcho, {}, pattern_payload(12'000, 1),
                                within(*r.client.reactor, seconds(1)));
    EXPECT_EQ(busy.code(), Code::kBusy);
    u64 ended = 0;
    co_await echo(*r.client.reactor, c, 5, 9000, ended);
    EXPECT_EQ(ended, 1u);
  }(small, *narrow));
  small.finish(narrow);
}

TEST_P(Rpc, ACallEndsAtItsDeadlineAndTheServerHearsOfIt) {
  Rig rig(13);
  auto channel = rig.channel(GetParam());
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    const Instant begin = r.client.reactor->now();
    auto late = co_await c.call(kHold, {}, pattern_payload(5000, 1),
                                within(*r.client.reactor, milliseconds(20)));
    EXPECT_EQ(late.code(), Code::kTimeout);
    EXPECT_GE(r.client.reactor->now() - begin, milliseconds(20));
    EXPECT_LT(r.client.reactor->now() - begin, milliseconds(21));
    const u64 ten_ms = 10'000;
    auto passed = co_await c.call(kDelay, as_body(ten_ms), {}, {.deadline = begin});
    EXPECT_EQ(passed.code(), Code::kTimeout);
  }(rig, *channel));
  rig.world.run_for(milliseconds(10));
  EXPECT_EQ(rig.server.server->counters().cancelled, 1u);
  EXPECT_EQ(rig.server.service->handled, 1u);
  rig.server.service->released.set();
  rig.world.run_for(milliseconds(10));
  // The reply of a cancelled call is not sent.
  EXPECT_EQ(rig.server.server->counters().replies, 0u);
  u64 done = 0;
  rig.run(echo(*rig.client.reactor, *channel, 5, 5000, done));
  EXPECT_EQ(done, 1u);
  EXPECT_EQ(channel->counters().timeouts, 1u);
  rig.finish(channel);
}

TEST_P(Rpc, ALateReplyIsDiscarded) {
  Rig rig(14);
  auto channel = rig.channel(GetParam());
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    u64 done = 0;
    co_await echo(*r.client.reactor, c, 5, 0, done);
    // Both directions get slow: the reply with its payload is on its way when the deadline passes.
    r.world.net().slow_down(r.client.node, r.server.node, milliseconds(50));
    r.world.net().slow_down(r.server.node, r.client.node, milliseconds(50));
    const std::array<u32, 2> size = {100'000, 3};
    auto late = co_await c.call(kBytes, std::as_bytes(std::span(size)), {},
                                within(*r.client.reactor, milliseconds(95)));
    EXPECT_EQ(late.code(), Code::kTimeout);
    co_await echo(*r.client.reactor, c, 5, 5000, done);
    EXPECT_EQ(done, 2u);
  }(rig, *channel));
  EXPECT_EQ(channel->counters().late_replies, 1u);
  EXPECT_EQ(channel->counters().connects, 1u);
  rig.finish(channel);
}

TEST_P(Rpc, StopEndsWhatIsInFlight) {
  Rig rig(15);
  auto channel = rig.channel(GetParam());
  std::vector<Code> codes;
  const auto one = [](Rig& r, Channel& c, std::vector<Code>& out) -> Task<void> {
    auto response =
        co_await c.call(kHold, {}, pattern_payload(100, 1), within(*r.client.reactor, seconds(30)));
    out.push_back(response.code());
  };
  for (int i = 0; i < 4; ++i) {
    rig.client.reactor->spawn("hold", TaskClass::foreground, one(rig, *channel, codes));
  }
  rig.world.run_for(milliseconds(50));
  rig.run(channel->stop());
  rig.world.run_for(milliseconds(1));
  EXPECT_EQ(codes, std::vector<Code>(4, Code::kClosed));
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    auto closed = co_await c.call(kEcho, {}, {}, within(*r.client.reactor, seconds(1)));
    EXPECT_EQ(closed.code(), Code::kClosed);
  }(rig, *channel));
  rig.server.service->released.set();
  rig.finish(channel);
}

TEST_P(Rpc, TheServersStopWaitsForRunningRequests) {
  Rig rig(16);
  auto channel = rig.channel(GetParam());
  u64 broken = 0;
  rig.client.reactor->spawn(
      "hold", TaskClass::foreground, [](Rig& r, Channel& c, u64& out) -> Task<void> {
        auto response = co_await c.call(kHold, {}, pattern_payload(100, 1),
                                        within(*r.client.reactor, seconds(30)));
        EXPECT_EQ(response.code(), Code::kConnectionLost);
        ++out;
      }(rig, *channel, broken));
  rig.world.run_for(milliseconds(50));
  bool stopped = false;
  rig.server.reactor->spawn("stop", TaskClass::foreground,
                            detail::store_result_void(rig.server.server->stop(), stopped));
  rig.world.run_for(milliseconds(50));
  EXPECT_EQ(broken, 1u);
  EXPECT_FALSE(stopped);
  rig.server.service->released.set();
  rig.world.run_for(milliseconds(50));
  EXPECT_TRUE(stopped);
  rig.run(channel->stop());
  channel.reset();
  rig.server.reset();
}

TEST_P(Rpc, AServerThatWasNeverAskedStops) {
  Rig rig(17);
  auto channel = rig.channel(GetParam());
  rig.finish(channel);
}

TEST_P(Rpc, ARequestThatCannotStartInTimeIsNotRun) {
  // The server's thread is often taken off its core, so that the time is over before a request that
  // has arrived can start.
  env::sim::WorldOptions world;
  world.stall_rate = 0.3;
  world.stall_max = milliseconds(5);
  Rig rig(18, {.identity = identity(1)}, world);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  rig.run(echo(*rig.client.reactor, *channel, 5, 0, done));
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    for (int i = 0; i < 100; ++i) {
      auto late = co_await c.call(kEcho, {}, {}, within(*r.client.reactor, microseconds(200)));
      static_cast<void>(late.ok());
      co_await sleep_for(milliseconds(10));
    }
  }(rig, *channel));
  EXPECT_LT(rig.server.service->handled, rig.server.server->counters().requests);
  rig.finish(channel);
}

TEST_P(Rpc, RepliesComeInWithoutAPooledBuffer) {
  Rig rig(20);
  rig.client.pool.reset();
  rig.client.pool = std::make_unique<BufferPool>(
      rig.client.node.env(), BufferPoolOptions{.bytes = 1, .huge_pages = false});
  std::vector<Slice> taken;
  while (auto slice = rig.client.pool->try_take(4096)) {
    taken.push_back(*slice);
  }
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  rig.run(echo(*rig.client.reactor, *channel, 5, 50'000, done));
  EXPECT_EQ(done, 1u);
  taken.clear();
  rig.finish(channel);
}

// Small frames share receives, also on data connections; bodies and payloads in between survive it.
TEST_P(Rpc, BurstsOfSmallCallsWithPayloadAmongThem) {
  Rig rig(21);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  u64 wanted = 0;
  Prng prng(21);
  for (int burst = 0; burst < 30; ++burst) {
    for (int i = 0; i < 40; ++i) {
      const bool large = prng.chance(0.03);
      rig.client.reactor->spawn(
          "call", TaskClass::foreground,
          echo(*rig.client.reactor, *channel, large ? prng.below(5000) : prng.below(128),
               prng.chance(0.005) ? prng.below(30'000) : 0, done));
      ++wanted;
    }
    EXPECT_TRUE(rig.world.run_until([&] { return done == wanted; }, rig.world.now() + seconds(5)));
  }
  EXPECT_LT(rig.server.server->counters().sends, wanted / 2);
  rig.finish(channel);
}

TEST_P(Rpc, ALateCallDoesNotCondemnAConnectionThatWasIdle) {
  Rig rig(22);
  auto channel = rig.channel(GetParam());
  u64 done = 0;
  rig.run(echo(*rig.client.reactor, *channel, 5, 0, done));
  rig.client.reactor->spawn("hold", TaskClass::foreground,
                            hold(rig, *channel, 0, TaskClass::foreground, done));
  rig.world.run_for(seconds(10));
  // Nothing was heard for ten seconds, but nothing was due either.
  rig.run([](Rig& r, Channel& c) -> Task<void> {
    auto late = co_await c.call(kHold, {}, {}, within(*r.client.reactor, milliseconds(50)));
    EXPECT_EQ(late.code(), Code::kTimeout);
  }(rig, *channel));
  EXPECT_EQ(channel->counters().losses, 0u);
  rig.server.service->released.set();
  EXPECT_TRUE(rig.world.run_until([&] { return done == 2; }, rig.world.now() + seconds(5)));
  rig.finish(channel);
}

TEST_P(Rpc, OneReplyPerCallWhateverTheClass) {
  Rig rig(19);
  auto channel = rig.channel(GetParam());
  rig.server.service->released.set();
  u64 done = 0;
  for (int i = 0; i < 40; ++i) {
    const auto task_class = static_cast<TaskClass>(i % 4);
    rig.client.reactor->spawn(
        "hold", task_class, hold(rig, *channel, static_cast<size_t>(i) * 20'000, task_class, done));
  }
  EXPECT_TRUE(rig.world.run_until([&] { return done == 40; }, rig.world.now() + seconds(10)));
  rig.finish(channel);
}

}  // namespace
}  // namespace pangu::rpc
