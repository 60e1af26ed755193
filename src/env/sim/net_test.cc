#include "env/sim/net.h"

#include <gtest/gtest.h>

#include "env/sim/world.h"

namespace pangu::env::sim {
namespace {

struct Call : Operation {
  std::optional<i64> result;
  Call() {
    done = [](Operation* op, i64 outcome) noexcept { static_cast<Call*>(op)->result = outcome; };
  }
};

std::vector<std::byte> pattern(size_t size, u64 seed) {
  Prng prng(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& each : bytes) {
    each = static_cast<std::byte>(prng.next());
  }
  return bytes;
}

// Two nodes without reactors: the test takes the completions itself.
struct Pair {
  World world;
  Node& a;
  Node& b;
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Socket> client, server;

  explicit Pair(u64 seed, const WorldOptions& options = {})
      : world(seed, options), a(world.add_node("a")), b(world.add_node("b")) {
    listener = std::move(*b.env().listen(b.address(7100)));
  }
  // Lets everything happen for a while.
  void settle(Duration duration) {
    const Instant end = world.now() + duration;
    while (world.now() < end) {
      if (a.up()) {
        a.env().poll();
      }
      if (b.up()) {
        b.env().poll();
      }
      world.run_for(microseconds(20));
    }
  }
  void connect() {
    Call connecting, accepting;
    listener->accept(accepting, server);
    a.env().connect(connecting, b.address(7100), client);
    settle(milliseconds(20));
    CHECK(connecting.result == 0 && accepting.result == 0);
  }
};

void send(Socket& socket, Call& call, iovec& piece, std::vector<std::byte>& bytes) {
  piece = {bytes.data(), bytes.size()};
  socket.send(call, {&piece, 1});
}

TEST(SimNet, ConnectSendReceiveClose) {
  Pair pair(1);
  pair.connect();
  EXPECT_EQ(pair.client->peer(), pair.b.address(7100));
  EXPECT_EQ(pair.server->peer().ip, pair.a.address().ip);
  auto bytes = pattern(3'000'000, 1);  // more than a window: the send has to wait for the reader
  Call sending;
  iovec piece;
  send(*pair.client, sending, piece, bytes);
  pair.settle(milliseconds(50));
  EXPECT_FALSE(sending.result.has_value());
  std::vector<std::byte> head(100), rest(bytes.size() - 100);
  const std::array<iovec, 2> pieces{iovec{head.data(), 100}, iovec{rest.data(), rest.size()}};
  Call receiving;
  pair.server->receive(receiving, pieces);
  pair.settle(milliseconds(100));
  EXPECT_EQ(sending.result, 3'000'000);
  EXPECT_EQ(receiving.result, 3'000'000);
  head.insert(head.end(), rest.begin(), rest.end());
  EXPECT_EQ(head, bytes);

  Call at_end;
  std::array<std::byte, 10> buffer;
  pair.server->receive_some(at_end, buffer);
  pair.client.reset();
  pair.settle(milliseconds(10));
  EXPECT_EQ(at_end.result, 0);
}

TEST(SimNet, AStreamIsAPrefixWhateverHappens) {
  for (u64 seed = 1; seed <= 60; ++seed) {
    WorldOptions options;
    options.net.reset_rate = 0.02;
    options.net.split_rate = 0.5;
    options.net.partial_rate = 0.5;
    options.net.window_min = 1000;
    options.net.window_max = 20'000;
    Pair pair(seed, options);
    pair.connect();
    Prng prng(seed);
    auto bytes = pattern(200'000, seed);
    std::vector<std::byte> received;
    std::array<std::byte, 7000> buffer;
    size_t sent = 0;
    Call sending, receiving;
    iovec piece;
    sending.result = 0;
    bool reading = false, ended = false;
    for (int i = 0; i < 4000 && !ended; ++i) {
      if (sending.result >= 0 && sent < bytes.size()) {
        const size_t part = std::min<size_t>(1 + prng.below(6000), bytes.size() - sent);
        piece = {bytes.data() + sent, part};
        sent += part;
        sending.result.reset();
        pair.client->send(sending, {&piece, 1});
      }
      if (!reading) {
        reading = true;
        receiving.result.reset();
        pair.server->receive_some(receiving, buffer);
      }
      pair.settle(microseconds(20));
      if (receiving.result) {
        reading = false;
        const i64 got = *receiving.result;
        ended = got <= 0;
        received.insert(received.end(), buffer.begin(), buffer.begin() + std::max<i64>(got, 0));
      }
      ended = ended || received.size() == bytes.size();
    }
    EXPECT_TRUE(ended) << "seed " << seed;
    EXPECT_TRUE(std::equal(received.begin(), received.end(), bytes.begin())) << "seed " << seed;
    pair.client->shutdown();
    pair.server->shutdown();
    pair.settle(milliseconds(1));
  }
}

TEST(SimNet, BandwidthBoundsALink) {
  WorldOptions options;
  options.net.bytes_per_second = 10'000'000;
  Pair pair(1, options);
  pair.connect();
  auto bytes = pattern(1'000'000, 1);
  std::vector<std::byte> got(bytes.size());
  Call sending, receiving;
  iovec piece, into{got.data(), got.size()};
  send(*pair.client, sending, piece, bytes);
  pair.server->receive(receiving, {&into, 1});
  pair.settle(milliseconds(95));
  EXPECT_FALSE(receiving.result.has_value());
  pair.settle(milliseconds(30));
  EXPECT_EQ(receiving.result, 1'000'000);
  EXPECT_EQ(got, bytes);
}

TEST(SimNet, NobodyListens) {
  Pair pair(1);
  Call call;
  std::unique_ptr<Socket> socket;
  pair.a.env().connect(call, pair.b.address(9), socket);
  pair.settle(milliseconds(5));
  EXPECT_EQ(call.result, -ECONNREFUSED);
  pair.b.crash(Crash::power);
  Call dark;
  pair.a.env().connect(dark, pair.b.address(7100), socket);
  pair.settle(seconds(1));
  EXPECT_FALSE(dark.result.has_value());
  pair.settle(seconds(4));
  EXPECT_EQ(dark.result, -ETIMEDOUT);
  Address nowhere = pair.b.address(7100);
  nowhere.ip[13] = 99;
  Call lost;
  pair.a.env().connect(lost, nowhere, socket);
  pair.settle(milliseconds(1));
  EXPECT_EQ(lost.result, -EHOSTUNREACH);
}

TEST(SimNet, PortsAndLoopback) {
  World world(1);
  Node& node = world.add_node("n");
  Node& other = world.add_node("o");
  auto first = node.env().listen(*parse_address("127.0.0.1:0"));
  ASSERT_TRUE(first.ok());
  const Address bound = (*first)->address();
  EXPECT_NE(bound.port, 0);
  EXPECT_EQ(node.env().listen(bound).code(), Code::kInUse);
  EXPECT_FALSE(node.env().listen(other.address(1)).ok());
  Call accepting, connecting;
  std::unique_ptr<Socket> near, far;
  (*first)->accept(accepting, far);
  node.env().connect(connecting, bound, near);
  for (int i = 0; i < 100; ++i) {
    node.env().wait(node.env().now() + microseconds(10));
  }
  EXPECT_EQ(accepting.result, 0);
  EXPECT_EQ(connecting.result, 0);
  Call remote;
  std::unique_ptr<Socket> socket;
  other.env().connect(remote, node.address(bound.port), socket);
  while (!remote.result) {
    other.env().wait(other.env().now() + seconds(1));
  }
  EXPECT_EQ(remote.result, -ECONNREFUSED) << "bound to loopback only";
  Call cancelled;
  (*first)->accept(cancelled, far);
  (*first)->shutdown();
  node.env().wait(node.env().now() + seconds(1));
  EXPECT_EQ(cancelled.result, -ECANCELED);
  EXPECT_TRUE(node.env().listen(bound).ok()) << "the port is free again";
}

TEST(SimNet, AShortCutHoldsBytesBack) {
  Pair pair(3);
  pair.connect();
  pair.world.net().cut(pair.a, pair.b);
  auto bytes = pattern(1000, 1);
  Call sending, receiving, back_sending, back_receiving;
  iovec piece, back_piece;
  std::vector<std::byte> got(1000), back_got(1000);
  send(*pair.client, sending, piece, bytes);
  send(*pair.server, back_sending, back_piece, bytes);
  iovec into{got.data(), 1000}, back_into{back_got.data(), 1000};
  pair.server->receive(receiving, {&into, 1});
  pair.client->receive(back_receiving, {&back_into, 1});
  pair.settle(seconds(2));
  EXPECT_FALSE(receiving.result.has_value());
  EXPECT_EQ(back_receiving.result, 1000) << "the other way is open";
  pair.world.net().heal(pair.a, pair.b);
  pair.settle(seconds(1));
  EXPECT_EQ(receiving.result, 1000);
  EXPECT_EQ(got, bytes);
}

TEST(SimNet, ALongCutEndsTheConnectionAHangDoesNot) {
  for (const bool hang : {false, true}) {
    Pair pair(3);
    pair.connect();
    if (hang) {
      pair.world.net().hang(pair.a, pair.b);
    } else {
      pair.world.net().cut_both(pair.a, pair.b);
    }
    auto bytes = pattern(1000, 1);
    Call sending, waiting, far_waiting;
    iovec piece;
    std::array<std::byte, 2000> buffer, far_buffer;
    send(*pair.client, sending, piece, bytes);
    pair.client->receive_some(waiting, buffer);
    pair.server->receive_some(far_waiting, far_buffer);
    pair.settle(seconds(12));
    EXPECT_EQ(waiting.result.has_value(), !hang);
    if (!hang) {
      EXPECT_EQ(waiting.result, -ETIMEDOUT);
    }
    EXPECT_FALSE(far_waiting.result.has_value()) << "the other end hears nothing";
    pair.world.net().heal_both(pair.a, pair.b);
    pair.settle(seconds(1));
    ASSERT_TRUE(far_waiting.result.has_value());
    pair.client->shutdown();
    pair.server->shutdown();
    pair.settle(milliseconds(1));
  }
}

TEST(SimNet, ACrashedProcessIsNoticedADarkHostIsNot) {
  Pair pair(4);
  pair.connect();
  Call waiting;
  std::array<std::byte, 10> buffer;
  pair.client->receive_some(waiting, buffer);
  pair.settle(milliseconds(1));
  pair.b.crash(Crash::process);
  pair.settle(milliseconds(5));
  ASSERT_TRUE(waiting.result.has_value());
  EXPECT_LE(*waiting.result, 0);
  pair.server.reset();
  pair.listener.reset();
  pair.b.restart();

  pair.listener = std::move(*pair.b.env().listen(pair.b.address(7100)));
  pair.client.reset();
  pair.connect();
  Call dark;
  pair.client->receive_some(dark, buffer);
  pair.b.crash(Crash::power);
  pair.server.reset();
  pair.listener.reset();
  pair.settle(seconds(30));
  EXPECT_FALSE(dark.result.has_value()) << "nobody said anything";
  pair.b.restart();
  auto bytes = pattern(10, 1);
  Call sending;
  iovec piece;
  send(*pair.client, sending, piece, bytes);
  pair.settle(seconds(2));
  EXPECT_EQ(dark.result, -ECONNRESET) << "the host is back and knows nothing of it";
}

TEST(SimNet, PartitionsAndIsolation) {
  World world(1);
  std::vector<Node*> nodes;
  for (int i = 0; i < 5; ++i) {
    nodes.push_back(&world.add_node("n"));
  }
  Network& net = world.net();
  net.partition(std::span(nodes).first(2));
  EXPECT_FALSE(net.blocked(*nodes[0], *nodes[1]));
  EXPECT_TRUE(net.blocked(*nodes[0], *nodes[2]));
  EXPECT_TRUE(net.blocked(*nodes[4], *nodes[1]));
  EXPECT_FALSE(net.blocked(*nodes[3], *nodes[4]));
  net.heal_all();
  EXPECT_FALSE(net.blocked(*nodes[0], *nodes[2]));
  net.isolate(*nodes[3]);
  EXPECT_TRUE(net.blocked(*nodes[3], *nodes[4]));
  EXPECT_TRUE(net.blocked(*nodes[0], *nodes[3]));
  EXPECT_FALSE(net.blocked(*nodes[0], *nodes[1]));
  net.reconnect(*nodes[3]);
  EXPECT_FALSE(net.blocked(*nodes[3], *nodes[4]));
}

TEST(SimNet, ConnectionsGoAway) {
  Pair pair(4);
  for (int i = 0; i < 10; ++i) {
    pair.connect();
    pair.client.reset();
    pair.settle(milliseconds(1));
    pair.server.reset();
    pair.settle(milliseconds(5));
  }
  EXPECT_EQ(pair.world.net().connections_open(), 0u);
}

}  // namespace
}  // namespace pangu::env::sim
