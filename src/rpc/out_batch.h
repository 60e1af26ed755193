#pragma once
#include <sys/uio.h>
#include <vector>

#include "rpc/channel.h"
#include "rpc/small_pool.h"

// The frames that leave in one send: encoded heads (header and body) and payloads, gathered without
// copying. Keeps its memory from send to send.
namespace pangu::rpc {

struct OutFrame {
  Slice head;
  Payload payload;
  u64 bytes() const { return head.size() + payload.pieces[0].size() + payload.pieces[1].size(); }
};

// A head for a body of `body_len` bytes: 64 bytes for the header, then the body; on data
// connections at least kDataBodyBytes of it, the rest zero. The caller fills header and body.
Slice make_head(SmallPool& pool, ConnectionKind kind, size_t body_len);

class OutBatch {
 public:
  // What one send carries at most: a slow peer must be seen to make progress.
  static constexpr size_t kFramesMax = 256;
  static constexpr u64 kBytesMax = 4 * kMiB;

  bool empty() const { return frames_.empty(); }
  bool full() const { return frames_.size() >= kFramesMax || bytes_ >= kBytesMax; }
  size_t frames() const { return frames_.size(); }
  u64 bytes() const { return bytes_; }
  void add(OutFrame frame) {
    bytes_ += frame.bytes();
    frames_.push_back(std::move(frame));
  }
  // Valid until the next add or clear.
  std::span<const iovec> pieces();
  void clear() {
    frames_.clear();
    bytes_ = 0;
  }

 private:
  std::vector<OutFrame> frames_;
  std::vector<iovec> pieces_;
  u64 bytes_ = 0;
};

}  // namespace pangu::rpc
