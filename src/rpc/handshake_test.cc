#include "rpc/handshake_codec.h"
#include "rpc/sim_rig.h"

// Who may talk to whom: the codec as pure functions, then channels and servers.
namespace pangu::rpc {
namespace {

using namespace test;  // NOLINT: the tests are about nothing else

std::string hex(Bytes bytes) {
  std::string out;
  for (const std::byte byte : bytes) {
    out += fmt::format("{:02x}", static_cast<int>(byte));
  }
  return out;
}

TEST(Hmac, KnownAnswer) {
  // RFC 4231, test case 1, has a key of 20 bytes; HMAC pads keys with zeroes to the block size, so
  // the same key followed by zeroes gives the same digest.
  ClusterKey key{};
  std::fill(key.begin(), key.begin() + 20, std::byte{0x0b});
  EXPECT_EQ(hex(hmac_sha256(key, as_bytes_of(std::string_view("Hi There")))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

TEST(HandshakeCodec, RoundTrip) {
  Nonce nonce;
  nonce.fill(std::byte{7});
  Hello hello = make_hello(identity(3), ConnectionKind::data, nonce);
  hello.credit_bytes = 12345;
  auto there = decode_greeting(encode_hello(hello), wire::FrameType::hello);
  ASSERT_TRUE(there.ok());
  EXPECT_EQ(std::memcmp(&there->hello, &hello, sizeof hello), 0);
  Digest proof;
  proof.fill(std::byte{9});
  const auto reply = encode_hello_reply(hello, Code::kWrongCluster, proof);
  auto back = decode_greeting(reply, wire::FrameType::hello_reply);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->status, Code::kWrongCluster);
  EXPECT_EQ(back->proof, proof);
  EXPECT_EQ(decode_greeting(encode_proof(proof), wire::FrameType::proof)->proof, proof);
  EXPECT_EQ(decode_greeting(encode_proof(proof), wire::FrameType::hello).code(), Code::kBadFrame);
}

// The layout that docs/formats/frame.md describes.
TEST(HandshakeCodec, Layout) {
  Nonce nonce;
  for (size_t i = 0; i < nonce.size(); ++i) {
    nonce[i] = static_cast<std::byte>(0xa0 + i);
  }
  Identity who{.cluster = {.high = 0x0102030405060708, .low = 0x1112131415161718},
               .server = {0x21222324},
               .key = {}};
  Hello hello = make_hello(who, ConnectionKind::data, nonce);
  hello.credit_bytes = 0x3132333435363738;
  const HandshakeFrame frame = encode_hello(hello);
  EXPECT_EQ(hex(Bytes(frame).subspan(0, 16)),
            "50414e55"
            "01"
            "01"
            "00"
            "00"
            "0000"
            "0000"
            "40000000");
  EXPECT_EQ(hex(Bytes(frame).subspan(64, 64)),
            "0807060504030201"
            "1817161514131211"
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
            "24232221"
            "01"
            "01"
            "01"
            "00"
            "3837363534333231"
            "00000000"
            "000000000000000000000000");
  EXPECT_EQ(hex(Bytes(frame).subspan(128, 64)), std::string(128, '0'));
}

TEST(HandshakeCodec, NoBytesAreTrusted) {
  const u64 seed = 20260801;
  Prng prng(seed);
  const HandshakeFrame good = encode_hello(make_hello(identity(0), ConnectionKind::data, Nonce{}));
  u64 refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    HandshakeFrame bad = good;
    const u64 flips = 1 + prng.below(4);
    for (u64 j = 0; j < flips; ++j) {
      // Header and body; the padding is not looked at.
      const u64 bit = prng.below((wire::kHeaderBytes + sizeof(Hello)) * 8);
      bad[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    }
    refused += !decode_greeting(bad, wire::FrameType::hello).ok() || bad == good;
    for (std::byte& byte : bad) {
      byte = static_cast<std::byte>(prng.next());
    }
    EXPECT_FALSE(decode_greeting(bad, wire::FrameType::hello).ok());
    EXPECT_FALSE(
        decode_greeting(Bytes(good).first(prng.below(good.size())), wire::FrameType::hello).ok());
  }
  EXPECT_EQ(refused, 20'000u) << "seed " << seed;
}

struct Case {
  const char* name;
  Identity server;
  Identity client;
  Code code;
  std::string_view words;  // all of them stand in the client's error
};

Identity with_cluster(Identity who, u64 low) {
  who.cluster = {.high = low == 0 ? 0u : 1u, .low = low};
  return who;
}
Identity with_key(Identity who, std::byte fill) {
  who.key.emplace().fill(fill);
  return who;
}

std::vector<Case> cases() {
  const Identity plain = identity(0, false);
  const Identity keyed = identity(0, true);
  return {
      {"no keys", plain, plain, Code::kOk, ""},
      {"same keys", keyed, keyed, Code::kOk, ""},
      {"client knows no cluster", plain, with_cluster(plain, 0), Code::kOk, ""},
      {"other cluster", plain, with_cluster(plain, 5), Code::kWrongCluster,
       "is this the right address?"},
      {"other cluster with keys", keyed, with_cluster(keyed, 5), Code::kWrongCluster, "cluster"},
      {"keyed client knows no cluster", keyed, with_cluster(keyed, 0), Code::kOk, ""},
      {"client without key", keyed, plain, Code::kAuthFailed, "set cluster.key"},
      {"server without key", plain, keyed, Code::kAuthFailed, "server has none"},
      {"different keys", keyed, with_key(keyed, std::byte{1}), Code::kAuthFailed, "prove"},
  };
}

TEST(HandshakeCodec, Judgements) {
  for (const Case& each : cases()) {
    SCOPED_TRACE(each.name);
    const Hello client = make_hello(each.client, ConnectionKind::data, Nonce{});
    const Hello server = make_hello(each.server, ConnectionKind::data, Nonce{});
    const Status verdict = judge_client(each.server, client);
    Greeting answer{.hello = server, .status = verdict.code(), .proof = {}};
    if (verdict.ok() && each.server.key) {
      answer.proof = proof_of(Side::server, *each.server.key, client, server);
    }
    EXPECT_EQ(judge_server(each.client, client, answer).code(), each.code);
  }
  // Proofs: of the other side, of another nonce, of another key.
  const Identity keyed = identity(0, true);
  const Hello client = make_hello(keyed, ConnectionKind::data, Nonce{});
  Hello server = make_hello(keyed, ConnectionKind::data, Nonce{});
  const Digest good = proof_of(Side::client, *keyed.key, client, server);
  EXPECT_TRUE(judge_proof(*keyed.key, client, server, good).ok());
  const Digest reflected = proof_of(Side::server, *keyed.key, client, server);
  EXPECT_EQ(judge_proof(*keyed.key, client, server, reflected).code(), Code::kAuthFailed);
  server.nonce[3] = std::byte{1};
  EXPECT_EQ(judge_proof(*keyed.key, client, server, good).code(), Code::kAuthFailed);
}

TEST(HandshakeCodec, Versions) {
  const Identity plain = identity(0, false);
  Hello newer = make_hello(plain, ConnectionKind::data, Nonce{});
  newer.version_min = wire::kProtocolVersionMax + 1;
  newer.version_max = wire::kProtocolVersionMax + 2;
  EXPECT_EQ(judge_client(plain, newer).code(), Code::kWrongVersion);
  newer.version_min = wire::kProtocolVersionMax;
  EXPECT_TRUE(judge_client(plain, newer).ok());
  newer.version_max = newer.version_min - 1;
  EXPECT_EQ(judge_client(plain, newer).code(), Code::kWrongVersion);
  newer = make_hello(plain, ConnectionKind::data, Nonce{});
  newer.kind = 2;
  EXPECT_EQ(judge_client(plain, newer).code(), Code::kBadFrame);
}

TEST(Handshake, EveryCaseOverSockets) {
  for (const Case& each : cases()) {
    SCOPED_TRACE(each.name);
    for (const ConnectionKind kind : {ConnectionKind::control, ConnectionKind::data}) {
      LoopbackRig rig(1, {.identity = each.server});
      Channel channel(*rig.host.reactor, *rig.host.pool, rig.server.address(),
                      {.identity = each.client, .kind = kind});
      rig.run(
          [](LoopbackRig& r, Channel& c, const Identity& own, const Case& expected) -> Task<void> {
            auto response =
                co_await c.call(kEcho, as_bytes_of(std::string_view("x")), pattern_payload(5000, 1),
                                within(*r.host.reactor, seconds(5)));
            EXPECT_EQ(response.code(), expected.code);
            if (!response.ok()) {
              const std::string message = response.error().message();
              EXPECT_NE(message.find(expected.words), std::string::npos) << message;
              EXPECT_NE(message.find("127.0.0.1"), std::string::npos) << message;
              if (expected.code == Code::kWrongCluster) {
                // Both are named.
                EXPECT_NE(message.find(to_string(kCluster)), std::string::npos) << message;
                EXPECT_NE(message.find(to_string(own.cluster)), std::string::npos) << message;
              }
            }
            co_await c.stop();
            co_await r.server.stop();
          }(rig, channel, each.client, each));
      const ServerCounters& counters = rig.server.counters();
      EXPECT_EQ(rig.service.handled, each.code == Code::kOk ? 1u : 0u);
      EXPECT_EQ(counters.bad_frames, 0u);
      // A client that finds out by itself just goes away.
      EXPECT_LE(counters.handshakes_refused, each.code == Code::kOk ? 0u : 1u);
      EXPECT_EQ(counters.connections_open, 0u);
    }
  }
}

TEST(Handshake, OnlyLoopbackWithoutAKey) {
  env::sim::World world(1);
  Host host(world.add_node("node"));
  TestService service(*host.pool);
  Server server(*host.reactor, service, *host.pool, {.identity = identity(1, false)});
  const Status refused = server.listen(host.node.address(7200));
  EXPECT_EQ(refused.code(), Code::kPermission);
  EXPECT_NE(refused.error().message().find("set cluster.key"), std::string::npos);
}

}  // namespace
}  // namespace pangu::rpc
