#pragma once
#include "base/crc32c.h"
#include "rpc/handshake_codec.h"
#include "rpc/out_batch.h"
#include "rpc/sim_rig.h"
#include "rpc/stall_timer.h"

// Peers that speak bytes, not frames: for the tests of bad input.
namespace pangu::rpc::test {

inline void append_bytes(std::string& to, Bytes bytes) {
  to += as_text(bytes);
}

inline std::string hello_bytes(ConnectionKind kind) {
  std::string out;
  append_bytes(out, encode_hello(make_hello(identity(0, false), kind, Nonce{})));
  return out;
}

inline std::string frame_bytes(ConnectionKind kind, wire::FrameHeader header, std::string_view body,
                               size_t payload) {
  SmallPool pool;
  const Slice head = make_head(pool, kind, body.size());
  std::memcpy(head.data() + wire::kHeaderBytes, body.data(), body.size());
  header.body_len = static_cast<u32>(body.size());
  header.payload_len = static_cast<u32>(payload);
  wire::encode_header(header, as_bytes_of(body), head.data());
  std::string out;
  append_bytes(out, head.bytes());
  out.append(payload, 'p');
  return out;
}

inline std::string request_bytes(ConnectionKind kind, u64 id, std::string_view body,
                                 size_t payload) {
  wire::FrameHeader header{};
  header.type = wire::FrameType::request;
  header.method = static_cast<u16>(kEcho);
  header.request_id = id;
  header.time_us = 5'000'000;
  return frame_bytes(kind, header, body, payload);
}

// Some bits, a piece, or everything of `bytes` wrong, as the seed has it.
inline void damage(std::string& bytes, Prng& prng) {
  switch (prng.below(5)) {
    case 0:  // bits
      for (u64 i = 0; i <= prng.below(8); ++i) {
        char& letter = bytes[prng.below(bytes.size())];
        letter = static_cast<char>(letter ^ (1 << prng.below(8)));
      }
      break;
    case 1:  // cut off
      bytes.resize(prng.below(bytes.size()));
      break;
    case 2:  // a piece is missing
      bytes.erase(prng.below(bytes.size()), 1 + prng.below(300));
      break;
    case 3:  // a piece is twice there
      bytes.insert(prng.below(bytes.size()), bytes.substr(prng.below(bytes.size()), 200));
      break;
    default:  // noise from somewhere on
      for (u64 i = prng.below(bytes.size()); i < bytes.size(); ++i) {
        bytes[i] = static_cast<char>(prng.next());
      }
      break;
  }
}

struct RawEnd {
  Duration lasted;
  std::string received;
  bool closed_by_peer = false;
};

// Reads until the peer ends it, or for `patience`.
inline Task<RawEnd> drain(Reactor& reactor, env::Socket& socket, Duration patience) {
  StallTimer timer(reactor);
  timer.watch(socket);
  const Instant begin = reactor.now();
  timer.begin(patience);
  RawEnd out;
  std::array<std::byte, 4096> memory;
  for (;;) {
    const i64 got = co_await async_receive_some(socket, memory);
    if (got <= 0) {
      break;
    }
    append_bytes(out.received, Bytes(memory).first(static_cast<size_t>(got)));
  }
  out.lasted = reactor.now() - begin;
  out.closed_by_peer = !timer.stalled();
  timer.stop();
  co_return out;
}

// Connects, sends these bytes, and then only listens.
inline Task<RawEnd> say(Reactor& reactor, env::Address to, std::string bytes, Duration patience) {
  std::unique_ptr<env::Socket> socket;
  const i64 connected = co_await async_connect(reactor.env(), to, socket);
  RawEnd out;
  if (connected < 0) {
    ADD_FAILURE() << "cannot connect: " << connected;
    co_return out;
  }
  const iovec piece{bytes.data(), bytes.size()};
  if (!bytes.empty()) {
    static_cast<void>(co_await async_send(*socket, std::span<const iovec>(&piece, 1)));
  }
  out = co_await drain(reactor, *socket, patience);
  co_return out;
}

}  // namespace pangu::rpc::test
