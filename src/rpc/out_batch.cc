#include "rpc/out_batch.h"

namespace pangu::rpc {

Slice make_head(SmallPool& pool, ConnectionKind kind, size_t body_len) {
  const size_t room = kind == ConnectionKind::data && body_len < wire::kDataBodyBytes
                          ? size_t{wire::kDataBodyBytes}
                          : body_len;
  Slice head = pool.take(wire::kHeaderBytes + room);
  if (room > body_len) {
    std::memset(head.data() + wire::kHeaderBytes + body_len, 0, room - body_len);
  }
  return head;
}

std::span<const iovec> OutBatch::pieces() {
  pieces_.clear();
  for (const OutFrame& frame : frames_) {
    pieces_.push_back({frame.head.data(), frame.head.size()});
    for (size_t i = 0; i < frame.payload.count; ++i) {
      const Bytes piece = frame.payload.pieces[i];
      if (!piece.empty()) {
        pieces_.push_back({const_cast<std::byte*>(piece.data()), piece.size()});
      }
    }
  }
  return pieces_;
}

}  // namespace pangu::rpc
