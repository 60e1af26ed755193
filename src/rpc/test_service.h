#pragma once
#include "base/hash.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "runtime/await.h"

// A service and callers for the tests of this room.
namespace pangu::rpc::test {

// What the service does with a request.
inline constexpr wire::Method kEcho = wire::Method::append;     // body and payload come back
inline constexpr wire::Method kDelay = wire::Method::watch;     // body: u64 µs to wait; echoes it
inline constexpr wire::Method kBytes = wire::Method::read;      // body: u32 size, u32 seed
inline constexpr wire::Method kFail = wire::Method::close;      // kFenced with a text
inline constexpr wire::Method kHold = wire::Method::fence;      // waits for release()
inline constexpr wire::Method kHuge = wire::Method::finalize;   // a reply over the limit
inline constexpr wire::Method kCode = wire::Method::committed;  // kGap with a body

inline void fill_pattern(MutableBytes into, u64 seed) {
  for (size_t i = 0; i < into.size(); i += sizeof(u64)) {
    const u64 word = mix64(seed + i);
    std::memcpy(into.data() + i, &word, std::min(sizeof word, into.size() - i));
  }
}
inline bool has_pattern(Bytes bytes, u64 seed) {
  for (size_t i = 0; i < bytes.size(); i += sizeof(u64)) {
    const u64 word = mix64(seed + i);
    if (std::memcmp(bytes.data() + i, &word, std::min(sizeof word, bytes.size() - i)) != 0) {
      return false;
    }
  }
  return true;
}

class TestService final : public Service {
 public:
  explicit TestService(BufferPool& pool) : pool_(pool) {}

  Result<Placement> place(const wire::FrameHeader& header, Bytes body) override {
    ++placed;
    if (refuse_place) {
      return Error(Code::kNoSpace, "no place for it");
    }
    if (busy_places > 0) {
      --busy_places;
      return Error(Code::kBusy, "no buffer");
    }
    auto slice = pool_.try_take(header.payload_len + gap);
    if (!slice) {
      return Error(Code::kBusy, "no buffer");
    }
    static_cast<void>(body);
    Placement out{.buffer = *slice, .pieces = {}, .count = 1};
    // Two pieces with a gap between them, if one is wanted.
    const size_t first = gap == 0 ? header.payload_len : header.payload_len / 2;
    out.pieces[0] = {slice->data(), first};
    if (gap > 0) {
      out.pieces[1] = {slice->data() + first + gap, header.payload_len - first};
      out.count = 2;
    }
    return out;
  }

  Task<Reply> handle(Request request) override {
    ++handled;
    ++running;
    running_peak = std::max(running_peak, running);
    payload_held += request.payload.size();
    payload_held_peak = std::max(payload_held_peak, payload_held);
    const size_t held_here = request.payload.size();
    Reply reply;
    switch (request.method) {
      case kEcho:
        reply.body = as_text(request.body.bytes());
        reply.payload = request.payload;
        break;
      case kDelay: {
        const u64 us = load_le<u64>(request.body.data());
        co_await sleep_for(microseconds(static_cast<i64>(us)));
        reply.body = as_text(request.body.bytes());
        break;
      }
      case kBytes: {
        const u32 size = load_le<u32>(request.body.data());
        const u32 seed = load_le<u32>(request.body.data() + 4);
        auto slice = pool_.try_take(size);
        if (!slice) {
          reply = Reply(Error(Code::kBusy, "no buffer"));
          break;
        }
        fill_pattern(slice->mutable_bytes(), seed);
        reply.payload = *slice;
        break;
      }
      case kFail:
        reply = Reply(Error(Code::kFenced, "fenced by epoch 7"));
        break;
      case kCode:
        reply.code = Code::kGap;
        reply.body = "struct";
        break;
      case kHold:
        co_await released.wait();
        reply.body = "released";
        break;
      case kHuge:
        reply.body = std::string(wire::kBodyBytesMax + 1, 'x');
        break;
      default:
        reply = Reply(Error(Code::kUnknownMethod, std::string(wire::to_string(request.method))));
        break;
    }
    payload_held -= held_here;
    --running;
    co_return reply;
  }

  Event released;
  size_t gap = 0;  // bytes between the two pieces of a placement
  u64 busy_places = 0;
  bool refuse_place = false;
  u64 placed = 0;
  u64 handled = 0;
  u64 running = 0;
  u64 running_peak = 0;
  u64 payload_held = 0;
  u64 payload_held_peak = 0;

 private:
  BufferPool& pool_;
};

inline CallOptions within(Reactor& reactor, Duration duration) {
  return {.deadline = reactor.now() + duration};
}

// A payload of its own with a pattern.
inline Payload pattern_payload(size_t size, u64 seed) {
  Payload out;
  if (size > 0) {
    out.owner = Slice::allocate(size);
    fill_pattern(out.owner.mutable_bytes(), seed);
    out.pieces[0] = out.owner.bytes().first(size / 3);
    out.pieces[1] = out.owner.bytes().subspan(size / 3);
    out.count = 2;
  }
  return out;
}

}  // namespace pangu::rpc::test
