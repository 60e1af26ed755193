#include <cerrno>

#include "env/conformance.h"

// What every Env does with connections.
namespace pangu::env::conformance {
namespace {

TEST_P(Conformance, ListenerTellsItsPortAndRefusesASecond) {
  auto first = env().listen(world().listen_address());
  ASSERT_TRUE(first.ok()) << first.error().message();
  EXPECT_NE((*first)->address().port, 0);
  const auto second = env().listen((*first)->address());
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message().find(to_string((*first)->address())), std::string::npos)
      << second.error().message();
}

TEST_P(Conformance, ConnectIsRefusedWhereNobodyListens) {
  Address nobody;
  {
    auto listener = env().listen(world().listen_address());
    ASSERT_TRUE(listener.ok());
    nobody = (*listener)->address();
  }
  Waited op;
  std::unique_ptr<Socket> socket;
  peer().connect(op, nobody, socket);
  EXPECT_FALSE(op.finished);
  EXPECT_EQ(finish(world(), op), -ECONNREFUSED);
  EXPECT_EQ(socket, nullptr);
}

TEST_P(Conformance, SocketsKnowTheirPeers) {
  Connection pair(world());
  EXPECT_EQ(pair.client->peer(), pair.listener->address());
  EXPECT_NE(pair.server->peer().port, 0);
}

TEST_P(Conformance, SeveralConnectionsWaitForAccept) {
  auto listener = env().listen(world().listen_address());
  ASSERT_TRUE(listener.ok());
  std::vector<Waited> connects(8);
  std::vector<std::unique_ptr<Socket>> clients(8);
  for (size_t i = 0; i < 8; ++i) {
    peer().connect(connects[i], (*listener)->address(), clients[i]);
  }
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(finish(world(), connects[i]), 0);
    Waited accepted;
    std::unique_ptr<Socket> server;
    (*listener)->accept(accepted, server);
    EXPECT_EQ(finish(world(), accepted), 0);
    EXPECT_NE(server, nullptr);
  }
}

TEST_P(Conformance, ReceiveWaitsForAllPieces) {
  Connection pair(world());
  Aligned in(4096);
  Aligned out(4096);
  out.fill(1);
  const iovec into[] = {in.piece(0, 64), in.piece(64, 100), in.piece(164, 300)};
  Waited receive;
  pair.server->receive(receive, into);
  size_t sent = 0;
  for (const size_t size : {1u, 63u, 64u, 65u, 271u}) {
    EXPECT_FALSE(receive.finished);
    Waited send;
    const iovec from[] = {out.piece(sent, size)};
    pair.client->send(send, from);
    EXPECT_EQ(finish(world(), send), static_cast<i64>(size));
    sent += size;
    world().run_for(microseconds(200));
  }
  EXPECT_EQ(sent, 464u);
  EXPECT_EQ(finish(world(), receive), 464);
  EXPECT_EQ(std::memcmp(in.data(), out.data(), 464), 0);
}

TEST_P(Conformance, ReceiveTakesNoMoreThanAsked) {
  Connection pair(world());
  Aligned out(4096);
  out.fill(2);
  Waited send;
  const iovec from[] = {out.piece(0, 1000)};
  pair.client->send(send, from);
  EXPECT_EQ(finish(world(), send), 1000);
  Aligned in(4096);
  size_t got = 0;
  for (const size_t size : {10u, 500u, 490u}) {
    Waited receive;
    const iovec into[] = {in.piece(got, size)};
    pair.server->receive(receive, into);
    EXPECT_EQ(finish(world(), receive), static_cast<i64>(size));
    got += size;
  }
  EXPECT_EQ(std::memcmp(in.data(), out.data(), 1000), 0);
}

TEST_P(Conformance, ReceiveSomeTakesWhatIsThere) {
  Connection pair(world());
  Aligned in(4096);
  Waited receive;
  pair.server->receive_some(receive, in.bytes());
  world().run_for(microseconds(200));
  EXPECT_FALSE(receive.finished);
  Aligned out(4096);
  out.fill(3);
  Waited send;
  const iovec from[] = {out.piece(0, 17)};
  pair.client->send(send, from);
  EXPECT_EQ(finish(world(), receive), 17);
  EXPECT_EQ(finish(world(), send), 17);
  EXPECT_EQ(std::memcmp(in.data(), out.data(), 17), 0);
}

TEST_P(Conformance, ReceiveNowTakesWhatIsThere) {
  Connection pair(world());
  Aligned in(4096);
  const iovec into[] = {in.piece(0, 10), in.piece(100, 200)};
  EXPECT_EQ(pair.server->receive_now(into), -EAGAIN);
  Aligned out(4096);
  out.fill(3);
  Waited send;
  const iovec from[] = {out.piece(0, 17)};
  pair.client->send(send, from);
  EXPECT_EQ(finish(world(), send), 17);
  i64 taken = 0;
  const auto take = [&] {
    const iovec rest[] = {in.piece(static_cast<size_t>(taken), 4096 - static_cast<size_t>(taken))};
    const i64 got = pair.server->receive_now(rest);
    EXPECT_TRUE(got > 0 || got == -EAGAIN) << got;
    taken += std::max<i64>(got, 0);
    return taken == 17;
  };
  EXPECT_TRUE(world().run_until(take));
  EXPECT_EQ(std::memcmp(in.data(), out.data(), 17), 0);
  EXPECT_EQ(pair.server->receive_now(into), -EAGAIN);
  // The end, and operations go on working beside it.
  pair.client.reset();
  EXPECT_TRUE(world().run_until([&] { return pair.server->receive_now(into) == 0; }));
  Waited receive;
  pair.server->receive_some(receive, in.bytes());
  EXPECT_EQ(finish(world(), receive), 0);
  pair.server->shutdown();
  EXPECT_EQ(pair.server->receive_now(into), -ECANCELED);
}

TEST_P(Conformance, EndOfStreamIsAShortResult) {
  Connection pair(world());
  Aligned out(4096);
  Waited send;
  const iovec from[] = {out.piece(0, 100)};
  pair.client->send(send, from);
  EXPECT_EQ(finish(world(), send), 100);
  pair.client.reset();
  Aligned in(4096);
  Waited receive;
  const iovec into[] = {in.piece(0, 4096)};
  pair.server->receive(receive, into);
  EXPECT_EQ(finish(world(), receive), 100);
  Waited again;
  pair.server->receive(again, into);
  EXPECT_EQ(finish(world(), again), 0);
  Waited some;
  pair.server->receive_some(some, in.bytes());
  EXPECT_EQ(finish(world(), some), 0);
}

TEST_P(Conformance, SendToAClosedPeerFailsInTheEnd) {
  Connection pair(world());
  pair.server.reset();
  Aligned out(4096);
  const iovec from[] = {out.piece(0, 4096)};
  i64 result = 0;
  for (int i = 0; i < 100 && result >= 0; ++i) {
    Waited send;
    pair.client->send(send, from);
    result = finish(world(), send);
    world().run_for(microseconds(100));
  }
  EXPECT_TRUE(result == -EPIPE || result == -ECONNRESET) << result;
}

TEST_P(Conformance, ShutdownWakesReceiverAndPeer) {
  Connection pair(world());
  Aligned in(8192);
  Waited own;
  Waited other;
  const iovec into[] = {in.piece(0, 4096)};
  const iovec other_into[] = {in.piece(4096, 4096)};
  pair.server->receive(own, into);
  pair.client->receive(other, other_into);
  world().run_for(microseconds(500));
  EXPECT_FALSE(own.finished);
  EXPECT_FALSE(other.finished);
  pair.server->shutdown();
  EXPECT_FALSE(own.finished) << "not from inside shutdown()";
  EXPECT_LT(finish(world(), own), 0);
  EXPECT_LE(finish(world(), other), 0);
  // Operations that begin after it end at once, too.
  Waited late;
  pair.server->receive_some(late, in.bytes());
  EXPECT_LT(finish(world(), late), 0);
  Waited late_send;
  pair.server->send(late_send, into);
  EXPECT_LT(finish(world(), late_send), 0);
}

TEST_P(Conformance, ShutdownEndsASendThatNobodyReads) {
  Connection pair(world());
  Aligned out(32 * kMiB);
  Waited send;
  const iovec from[] = {out.piece(0, out.size())};
  pair.client->send(send, from);
  world().run_for(milliseconds(20));
  ASSERT_FALSE(send.finished) << "32 MiB fit into socket buffers?";
  pair.client->shutdown();
  EXPECT_LT(finish(world(), send), 0);
}

TEST_P(Conformance, BigTransfersBothWaysAtOnce) {
  constexpr size_t kSize = 6 * kMiB + 12345;
  Connection pair(world());
  Aligned there(kSize);
  Aligned back(kSize);
  there.fill(4);
  back.fill(5);
  Aligned at_server(kSize);
  Aligned at_client(kSize);
  const iovec send_there[] = {there.piece(0, 64), there.piece(64, kSize - 64)};
  const iovec send_back[] = {back.piece(0, kSize)};
  const iovec into_server[] = {at_server.piece(0, 4096), at_server.piece(4096, kSize - 4096)};
  const iovec into_client[] = {at_client.piece(0, kSize)};
  Waited ops[4];
  pair.client->send(ops[0], send_there);
  pair.server->send(ops[1], send_back);
  pair.server->receive(ops[2], into_server);
  pair.client->receive(ops[3], into_client);
  for (Waited& op : ops) {
    EXPECT_EQ(finish(world(), op), static_cast<i64>(kSize));
  }
  EXPECT_EQ(std::memcmp(at_server.data(), there.data(), kSize), 0);
  EXPECT_EQ(std::memcmp(at_client.data(), back.data(), kSize), 0);
}

TEST_P(Conformance, SendOfManyPieces) {
  constexpr size_t kPieces = 3000;
  constexpr size_t kStride = 700;
  Connection pair(world());
  Aligned out(kPieces * kStride);
  out.fill(6);
  std::vector<iovec> pieces;
  for (size_t i = 0; i < kPieces; ++i) {
    // Uneven sizes, empty ones among them.
    const size_t first = i * 37 % kStride;
    pieces.push_back(out.piece(i * kStride, first));
    pieces.push_back(out.piece(i * kStride + first, kStride - first));
  }
  Aligned in(out.size());
  Waited send;
  Waited receive;
  const iovec into[] = {in.piece(0, in.size())};
  pair.client->send(send, pieces);
  pair.server->receive(receive, into);
  EXPECT_EQ(finish(world(), send), static_cast<i64>(out.size()));
  EXPECT_EQ(finish(world(), receive), static_cast<i64>(out.size()));
  EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
}

TEST_P(Conformance, ListenerShutdownCancelsAccept) {
  auto listener = env().listen(world().listen_address());
  ASSERT_TRUE(listener.ok());
  Waited accept;
  std::unique_ptr<Socket> socket;
  (*listener)->accept(accept, socket);
  world().run_for(microseconds(500));
  EXPECT_FALSE(accept.finished);
  (*listener)->shutdown();
  EXPECT_FALSE(accept.finished) << "not from inside shutdown()";
  EXPECT_EQ(finish(world(), accept), -ECANCELED);
  EXPECT_EQ(socket, nullptr);
  Waited late;
  (*listener)->accept(late, socket);
  EXPECT_EQ(finish(world(), late), -ECANCELED);
}

// Answers each message of the other side with the same bytes, from inside done.
struct Echo : Operation {
  Socket* socket = nullptr;
  Aligned memory{4096};
  bool sending = false;
  u64 rounds = 0;
  i64 last = 1;
  void start() {
    done = [](Operation* op, i64 result) noexcept {
      auto* self = static_cast<Echo*>(op);
      self->last = result;
      if (result <= 0) {
        return;
      }
      self->sending = !self->sending;
      self->rounds += self->sending;
      self->go();
    };
    go();
  }
  void go() {
    const iovec piece = memory.piece(0, 64);
    if (sending) {
      socket->send(*this, {&piece, 1});
    } else {
      socket->receive(*this, {&piece, 1});
    }
  }
};

TEST_P(Conformance, PingPongFromInsideDone) {
  Connection pair(world());
  Echo server;
  server.socket = pair.server.get();
  server.start();
  Echo client;
  client.socket = pair.client.get();
  client.sending = true;
  client.start();
  EXPECT_TRUE(world().run_until([&] { return server.rounds >= 1000; }));
  pair.client->shutdown();
  EXPECT_TRUE(world().run_until([&] { return client.last <= 0 && server.last <= 0; }));
}

}  // namespace
}  // namespace pangu::env::conformance
