#pragma once
#include "env/env.h"
#include "rpc/handshake.h"
#include "rpc/small_pool.h"
#include "rpc/stall_timer.h"
#include "runtime/task.h"
#include "wire/frame.h"

// Reads frames from a socket. On control connections small frames share a receive. On data
// connections head and body take one receive, then exactly the payload is received into its place;
// but after a number of frames without payload it reads ahead, so that those share a receive, too.
// A payload that follows them unexpectedly is then copied in part, which runtime/copy_counter.h
// counts.
//
// Errors of every member:
//   kConnectionLost  the peer closed between two frames, or the connection broke
//   kBadFrame, kWrongVersion   what arrived is no frame, or ended inside one
//   kTimeout         the peer stalled inside a frame; the socket is shut down
// After an error nothing more can be read.
namespace pangu::rpc {

struct Frame {
  wire::FrameHeader header{};
  Slice body;
};

class FrameReader {
 public:
  // All references must outlive the reader. A step inside a frame may take `frame_timeout`. Data
  // connections read ahead after `read_ahead_after` frames in a row without payload.
  FrameReader(env::Socket& socket, SmallPool& pool, StallTimer& stall, Duration frame_timeout,
              u32 read_ahead_after)
      : socket_(socket),
        pool_(pool),
        stall_(stall),
        frame_timeout_(frame_timeout),
        read_ahead_after_(read_ahead_after) {}

  // One handshake frame, within a step of `stall` that the caller has begun.
  Task<Result<Slice>> handshake_prefix();
  void set_kind(ConnectionKind kind) { kind_ = kind; }

  // The next frame's header and body, both checked. May wait for ever for its first byte.
  Task<Result<Frame>> next() {
    return kind_ == ConnectionKind::data ? next_data() : next_control();
  }
  // The payload of the frame that next() returned: into these pieces, or nowhere.
  Task<Status> payload(std::array<iovec, 2> pieces, size_t count);
  Task<Status> skip(u64 size, MutableBytes scratch);

  u64 bytes_received() const { return bytes_; }

 private:
  Task<Result<Frame>> next_data();
  Task<Result<Frame>> next_control();
  // Receives exactly `into`, of which the frame's beginning has arrived already.
  Task<Status> rest(MutableBytes into);
  // At least `wanted` bytes in the buffer; a frame has begun.
  Task<Status> fill(size_t wanted);
  // The first bytes of a frame, if none have arrived yet. At most `most` of them.
  Task<Status> begin_frame(size_t most);
  size_t take_buffered(MutableBytes into);
  void make_room();
  Error broken(i64 result, bool inside) const;

  env::Socket& socket_;
  SmallPool& pool_;
  StallTimer& stall_;
  Duration frame_timeout_;
  ConnectionKind kind_ = ConnectionKind::data;
  u64 bytes_ = 0;
  u32 read_ahead_after_;
  u32 without_payload_ = 0;
  // What has arrived and was not looked at yet is [begin_, end_). On data connections the bodies of
  // frames are parts of this buffer: what was received once is never moved or overwritten.
  Slice buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace pangu::rpc
