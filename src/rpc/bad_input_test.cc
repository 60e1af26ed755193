#include "rpc/raw_peer.h"

// What is no frame, or a damaged one, or half of one: that connection ends and nothing else does.
namespace pangu::rpc {
namespace {

using namespace test;  // NOLINT: the tests are about nothing else

class BadInput : public testing::TestWithParam<ConnectionKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, BadInput,
                         testing::Values(ConnectionKind::control, ConnectionKind::data), kind_name);

const ServerOptions kPlain = {.identity = {.cluster = kCluster, .server = {1}, .key = {}}};

Task<void> expect_echo(Reactor& reactor, Channel& channel) {
  auto response = co_await channel.call(kEcho, as_bytes_of(std::string_view("still there")),
                                        pattern_payload(6000, 4), within(reactor, seconds(20)));
  if (!response.ok()) {
    ADD_FAILURE() << response.error().message();
    co_return;
  }
  EXPECT_EQ(as_text(response->body.bytes()), "still there");
  EXPECT_TRUE(has_pattern(response->payload.bytes(), 4));
}

// A good channel beside the bad peers: must never notice them.
struct Bystander {
  LoopbackRig& rig;
  Channel channel;
  Bystander(LoopbackRig& r, ConnectionKind kind)
      : rig(r),
        channel(*r.host.reactor, *r.host.pool, r.server.address(),
                {.identity = identity(0, false), .kind = kind}) {
    rig.run(expect_echo(*rig.host.reactor, channel));
  }
  void finish() {
    rig.run(expect_echo(*rig.host.reactor, channel));
    EXPECT_EQ(channel.counters().connects, 1u);
    EXPECT_EQ(channel.counters().losses, 0u);
    rig.world.run_for(seconds(1));
    EXPECT_EQ(rig.server.counters().connections_open, 1u);
    rig.run(channel.stop());
    rig.run(rig.server.stop());
    EXPECT_EQ(rig.host.reactor->tasks(), 0u);
    EXPECT_EQ(rig.host.pool->counters().blocks_in_use, 0u);
  }
};

RawEnd say_now(LoopbackRig& rig, std::string bytes, Duration patience) {
  RawEnd out;
  rig.run(
      [](LoopbackRig& r, std::string b, Duration p, RawEnd& into) -> Task<void> {
        into = co_await say(*r.host.reactor, r.server.address(), std::move(b), p);
      }(rig, std::move(bytes), patience, out),
      patience + seconds(60));
  return out;
}

TEST(BadInput, HttpOnThePort) {
  LoopbackRig rig(1, kPlain);
  Bystander bystander(rig, ConnectionKind::data);
  const RawEnd end = say_now(rig, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", seconds(60));
  EXPECT_TRUE(end.closed_by_peer);
  EXPECT_LT(end.lasted, milliseconds(50)) << "at once, not after a timeout";
  EXPECT_EQ(end.received, "");
  EXPECT_EQ(rig.server.counters().bad_frames, 1u);
  bystander.finish();
}

TEST(BadInput, SilenceAfterConnecting) {
  LoopbackRig rig(2, kPlain);
  Bystander bystander(rig, ConnectionKind::data);
  const RawEnd end = say_now(rig, "", seconds(60));
  EXPECT_TRUE(end.closed_by_peer);
  EXPECT_GE(end.lasted, seconds(4));
  EXPECT_LT(end.lasted, seconds(6));
  EXPECT_EQ(rig.server.counters().stalls, 1u);
  bystander.finish();
}

TEST(BadInput, AnotherVersion) {
  LoopbackRig rig(3, kPlain);
  Bystander bystander(rig, ConnectionKind::data);
  std::string hello = hello_bytes(ConnectionKind::data);
  auto* header = reinterpret_cast<std::byte*>(hello.data());
  header[4] = std::byte{9};  // the header's version, with a checksum that fits
  store_le(header + 60, crc32c({header, 60}));
  const RawEnd end = say_now(rig, hello, seconds(60));
  EXPECT_TRUE(end.closed_by_peer);
  EXPECT_LT(end.lasted, milliseconds(50));
  auto answer =
      decode_greeting(as_bytes_of(std::string_view(end.received)), wire::FrameType::hello_reply);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->status, Code::kWrongVersion);
  EXPECT_EQ(rig.server.counters().handshakes_refused, 1u);
  bystander.finish();
}

TEST_P(BadInput, ARequestBeforeTheHello) {
  LoopbackRig rig(4, kPlain);
  Bystander bystander(rig, GetParam());
  const RawEnd end =
      say_now(rig, request_bytes(GetParam(), 1, std::string(128, 'x'), 0), seconds(60));
  EXPECT_TRUE(end.closed_by_peer);
  EXPECT_EQ(rig.server.counters().bad_frames, 1u);
  EXPECT_EQ(rig.service.handled, 1u);
  bystander.finish();
}

TEST_P(BadInput, FrameTypesThatAClientMustNotSend) {
  for (const auto type : {wire::FrameType::hello, wire::FrameType::hello_reply,
                          wire::FrameType::proof, wire::FrameType::reply}) {
    LoopbackRig rig(5, kPlain);
    Bystander bystander(rig, GetParam());
    wire::FrameHeader header{};
    header.type = type;
    const RawEnd end =
        say_now(rig, hello_bytes(GetParam()) + frame_bytes(GetParam(), header, "", 0), seconds(60));
    EXPECT_TRUE(end.closed_by_peer);
    EXPECT_LT(end.lasted, milliseconds(50));
    EXPECT_EQ(rig.server.counters().bad_frames, 1u);
    bystander.finish();
  }
}

TEST_P(BadInput, SizesOverTheLimit) {
  for (const bool body : {false, true}) {
    LoopbackRig rig(6, kPlain);
    Bystander bystander(rig, GetParam());
    std::string request = request_bytes(GetParam(), 1, "", 0);
    auto* header = reinterpret_cast<std::byte*>(request.data());
    store_le(header + (body ? 12 : 16), u32{(1 << 20) + 1});
    store_le(header + 60, crc32c({header, 60}));
    const RawEnd end = say_now(rig, hello_bytes(GetParam()) + request, seconds(60));
    EXPECT_TRUE(end.closed_by_peer);
    EXPECT_LT(end.lasted, milliseconds(50));
    EXPECT_EQ(rig.server.counters().bad_frames, 1u);
    bystander.finish();
  }
}

TEST_P(BadInput, AStallInsideAFrame) {
  const std::string hello = hello_bytes(GetParam());
  const std::string request = request_bytes(GetParam(), 1, std::string(300, 'b'), 5000);
  // Inside the header, the body, the payload.
  for (const size_t cut : {3u, 40u, 100u, 200u, 250u, 2000u}) {
    SCOPED_TRACE(cut);
    LoopbackRig rig(cut, kPlain);
    Bystander bystander(rig, GetParam());
    const RawEnd end = say_now(rig, hello + request.substr(0, cut), seconds(600));
    EXPECT_TRUE(end.closed_by_peer);
    EXPECT_GE(end.lasted, seconds(29));
    EXPECT_LT(end.lasted, seconds(31));
    EXPECT_EQ(rig.server.counters().stalls, 1u);
    EXPECT_EQ(rig.server.counters().bad_frames, 0u);
    bystander.finish();
  }
}

TEST_P(BadInput, IdleIsNoStall) {
  LoopbackRig rig(7, kPlain);
  Bystander bystander(rig, GetParam());
  const RawEnd end =
      say_now(rig, hello_bytes(GetParam()) + request_bytes(GetParam(), 1, "x", 10), seconds(600));
  EXPECT_FALSE(end.closed_by_peer);
  EXPECT_GE(end.received.size(), 192u + 64u + 1u + 10u);
  EXPECT_EQ(rig.server.counters().stalls, 0u);
  bystander.finish();
}

TEST_P(BadInput, CutOffAtEveryLength) {
  LoopbackRig rig(8, kPlain);
  Bystander bystander(rig, GetParam());
  const std::string whole = hello_bytes(GetParam()) +
                            request_bytes(GetParam(), 1, std::string(140, 'b'), 20) +
                            request_bytes(GetParam(), 2, "", 0);
  for (size_t size = 1; size < whole.size(); ++size) {
    say_now(rig, whole.substr(0, size), milliseconds(5));
  }
  // Ended inside a frame: all but those that ended between two.
  EXPECT_GE(rig.server.counters().bad_frames, whole.size() - 10);
  bystander.finish();
}

TEST_P(BadInput, ServersSurviveDamage) {
  for (u64 seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    env::sim::WorldOptions world;
    world.net.split_rate = 0.5;
    world.net.partial_rate = 0.5;
    LoopbackRig rig(seed, kPlain, world);
    Bystander bystander(rig, GetParam());
    Prng prng(seed);
    u64 ended = 0;
    constexpr u64 kPeers = 12;
    for (u64 i = 0; i < kPeers; ++i) {
      std::string bytes = hello_bytes(GetParam());
      for (u64 j = 0; j < 4; ++j) {
        bytes += request_bytes(GetParam(), j, std::string(prng.below(400), 'b'), prng.below(9000));
      }
      damage(bytes, prng);
      rig.host.reactor->spawn("bad peer", TaskClass::foreground,
                              [](LoopbackRig& r, std::string b, u64& count) -> Task<void> {
                                static_cast<void>(co_await say(*r.host.reactor, r.server.address(),
                                                               std::move(b), seconds(2)));
                                ++count;
                              }(rig, std::move(bytes), ended));
      rig.run(expect_echo(*rig.host.reactor, bystander.channel));
    }
    EXPECT_TRUE(
        rig.world.run_until([&] { return ended == kPeers; }, rig.world.now() + seconds(60)));
    bystander.finish();
  }
}

TEST_P(BadInput, MorePayloadThanTheCreditAllowsWaits) {
  ServerOptions options = kPlain;
  options.connection_credit_bytes = kMiB;
  LoopbackRig rig(9, options);
  Bystander bystander(rig, GetParam());
  std::string bytes = hello_bytes(GetParam());
  wire::FrameHeader header{};
  header.type = wire::FrameType::request;
  header.method = static_cast<u16>(kHold);
  for (header.request_id = 1; header.request_id <= 6; ++header.request_id) {
    bytes += frame_bytes(GetParam(), header, "", 400'000);
  }
  RawEnd end;
  rig.host.reactor->spawn("greedy", TaskClass::foreground,
                          [](LoopbackRig& r, std::string b, RawEnd& into) -> Task<void> {
                            into = co_await say(*r.host.reactor, r.server.address(), std::move(b),
                                                seconds(5));
                          }(rig, std::move(bytes), end));
  rig.world.run_for(seconds(1));
  EXPECT_EQ(rig.service.running, 2u);
  EXPECT_LE(rig.service.payload_held, kMiB);
  rig.service.released.set();
  EXPECT_TRUE(
      rig.world.run_until([&] { return end.lasted.ns > 0; }, rig.world.now() + seconds(20)));
  EXPECT_EQ(rig.service.handled, 7u);
  EXPECT_LE(rig.service.payload_held_peak, kMiB);
  bystander.finish();
}

TEST(BadInput, TooManyConnections) {
  ServerOptions options = kPlain;
  options.connections_max = 3;
  LoopbackRig rig(10, options);
  Bystander bystander(rig, ConnectionKind::data);
  u64 closed = 0;
  u64 ended = 0;
  for (int i = 0; i < 5; ++i) {
    rig.host.reactor->spawn("one more", TaskClass::foreground,
                            [](LoopbackRig& r, u64& refused, u64& count) -> Task<void> {
                              const RawEnd end =
                                  co_await say(*r.host.reactor, r.server.address(),
                                               hello_bytes(ConnectionKind::data), seconds(5));
                              refused += end.closed_by_peer;
                              ++count;
                            }(rig, closed, ended));
  }
  EXPECT_TRUE(rig.world.run_until([&] { return ended == 5; }, rig.world.now() + seconds(60)));
  EXPECT_EQ(closed, 3u);
  EXPECT_EQ(rig.server.counters().connections_refused, 3u);
  bystander.finish();
}

// A server that answers with damaged frames.
struct BadServer {
  Reactor& reactor;
  std::unique_ptr<env::Listener> listener;
  Prng prng;
  ConnectionKind kind;
  bool damage_hello = false;
  bool stopping = false;
  u64 connections = 0;

  Task<void> run() {
    for (;;) {
      std::unique_ptr<env::Socket> socket;
      const i64 accepted = co_await async_accept(*listener, socket);
      if (accepted < 0) {
        co_return;
      }
      ++connections;
      std::array<std::byte, 2 * wire::kDataPrefixBytes> memory;
      static_cast<void>(
          co_await async_receive(*socket, MutableBytes(memory).first(wire::kDataPrefixBytes)));
      Hello own = make_hello(identity(9, false), kind, Nonce{});
      own.credit_bytes = kMiB;
      std::string bytes;
      append_bytes(bytes, encode_hello_reply(own, Code::kOk, Digest{}));
      if (!damage_hello) {
        const iovec piece{bytes.data(), bytes.size()};
        static_cast<void>(co_await async_send(*socket, std::span<const iovec>(&piece, 1)));
        bytes.clear();
        static_cast<void>(
            co_await async_receive(*socket, MutableBytes(memory).first(wire::kHeaderBytes)));
      }
      for (u64 i = 0; i < 3; ++i) {
        wire::FrameHeader header{};
        header.type = wire::FrameType::reply;
        header.request_id =
            damage_hello ? (u64{1} << 32) : load_le<wire::FrameHeader>(memory.data()).request_id;
        header.request_id += prng.below(2);
        header.status = static_cast<u16>(prng.below(3) == 0 ? 9 : 0);
        bytes += frame_bytes(kind, header, std::string(prng.below(300), 'r'), prng.below(9000));
      }
      damage(bytes, prng);
      if (!bytes.empty()) {
        const iovec piece{bytes.data(), bytes.size()};
        static_cast<void>(co_await async_send(*socket, std::span<const iovec>(&piece, 1)));
      }
      static_cast<void>(co_await drain(reactor, *socket, seconds(1)));
    }
  }
};

TEST_P(BadInput, ClientsSurviveDamage) {
  u64 errors = 0;
  for (u64 seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    env::sim::WorldOptions options;
    options.net.split_rate = 0.5;
    options.net.partial_rate = 0.5;
    env::sim::World world(seed, options);
    Host host(world.add_node("node"));
    BadServer server{.reactor = *host.reactor,
                     .listener = *host.node.env().listen(*env::parse_address("127.0.0.1:0")),
                     .prng = Prng(seed),
                     .kind = GetParam(),
                     .damage_hello = seed % 3 == 0};
    host.reactor->spawn("bad server", TaskClass::foreground, server.run());
    Channel channel(*host.reactor, *host.pool, server.listener->address(),
                    {.identity = identity(0, false), .kind = GetParam()});
    bool finished = false;
    host.reactor->spawn(
        "calls", TaskClass::foreground,
        [](Host& h, Channel& c, BadServer& s, u64& count, bool& done) -> Task<void> {
          for (int i = 0; i < 8; ++i) {
            const Instant deadline = h.reactor->now() + milliseconds(500);
            auto response = co_await c.call(kEcho, as_bytes_of(std::string_view("x")),
                                            pattern_payload(100, 1), {.deadline = deadline});
            EXPECT_LE(h.reactor->now(), deadline + milliseconds(1));
            count += !response.ok();
          }
          co_await c.stop();
          s.listener->shutdown();
          done = true;
        }(host, channel, server, errors, finished));
    EXPECT_TRUE(world.run_until([&] { return finished && host.reactor->tasks() == 0; },
                                world.now() + seconds(60)));
    EXPECT_EQ(host.pool->counters().blocks_in_use, 0u);
  }
  EXPECT_GT(errors, 100u);
}

}  // namespace
}  // namespace pangu::rpc
