#include "rpc/frame_reader.h"

#include "base/reached.h"
#include "rpc/handshake_codec.h"
#include "runtime/await.h"
#include "runtime/copy_counter.h"

namespace pangu::rpc {

namespace {
constexpr size_t kControlBuffer = 16 * kKiB;
constexpr size_t kDataBuffer = 4 * kKiB;  // a body that is kept keeps all of it
static_assert(kDataBuffer >= 2 * wire::kDataPrefixBytes);

Error not_a_frame() {
  return Error(Code::kBadFrame, "the peer does not speak this protocol: is this the right port?");
}
}  // namespace

Error FrameReader::broken(i64 result, bool inside) const {
  if (stall_.stalled()) {
    REACHED("rpc: peer stalled inside a frame");
    return Error(Code::kTimeout, "the peer stalled inside a frame");
  }
  if (result < 0) {
    return Error(Code::kConnectionLost, std::strerror(static_cast<int>(-result)));
  }
  if (inside) {
    REACHED("rpc: connection ended inside a frame");
    return Error(Code::kBadFrame, "the connection ended inside a frame");
  }
  return Error(Code::kConnectionLost, "closed by the peer");
}

Task<Status> FrameReader::rest(MutableBytes into) {
  stall_.begin(frame_timeout_);
  const i64 got = co_await async_receive(socket_, into);
  stall_.end();
  if (got != static_cast<i64>(into.size())) {
    co_return broken(got, true);
  }
  bytes_ += into.size();
  co_return ok_status();
}

Task<Result<Slice>> FrameReader::handshake_prefix() {
  Slice prefix = pool_.take(wire::kDataPrefixBytes);
  for (size_t have = 0; have < prefix.size();) {
    const i64 got = co_await async_receive_some(socket_, prefix.mutable_bytes().subspan(have));
    if (got <= 0) {
      co_return broken(got, have > 0);
    }
    bytes_ += static_cast<u64>(got);
    have += static_cast<size_t>(got);
    if (!may_begin_frame(prefix.bytes().first(have))) {
      co_return not_a_frame();
    }
  }
  co_return prefix;
}

Task<Status> FrameReader::begin_frame(size_t most) {
  const MutableBytes room = buffer_.mutable_bytes().subspan(end_);
  const i64 got = co_await async_receive_some(socket_, room.first(std::min(most, room.size())));
  if (got <= 0) {
    co_return broken(got, false);
  }
  bytes_ += static_cast<u64>(got);
  end_ += static_cast<size_t>(got);
  co_return ok_status();
}

Task<Status> FrameReader::fill(size_t wanted) {
  while (end_ - begin_ < wanted) {
    stall_.begin(frame_timeout_);
    const i64 got = co_await async_receive_some(socket_, buffer_.mutable_bytes().subspan(end_));
    stall_.end();
    if (got <= 0) {
      co_return broken(got, true);
    }
    bytes_ += static_cast<u64>(got);
    end_ += static_cast<size_t>(got);
  }
  co_return ok_status();
}

Task<Result<Frame>> FrameReader::next_data() {
  constexpr size_t kPrefix = wire::kDataPrefixBytes;
  make_room();
  if (begin_ == end_) {
    const bool ahead = without_payload_ >= read_ahead_after_;
    CO_TRY_VOID(co_await begin_frame(ahead ? kDataBuffer : kPrefix));
  }
  if (end_ - begin_ < kPrefix) {
    if (!may_begin_frame(buffer_.bytes().subspan(begin_, end_ - begin_))) {
      co_return not_a_frame();
    }
    CO_TRY_VOID(co_await rest(buffer_.mutable_bytes().subspan(end_, begin_ + kPrefix - end_)));
    end_ = begin_ + kPrefix;
  }
  const Slice prefix = buffer_.part(begin_, kPrefix);
  CO_TRY(header, wire::decode_header(prefix.bytes()));
  begin_ += kPrefix;
  without_payload_ = header.payload_len == 0 ? without_payload_ + 1 : 0;
  Frame frame{.header = header, .body = {}};
  if (header.body_len <= wire::kDataBodyBytes) {
    frame.body = prefix.part(wire::kHeaderBytes, header.body_len);
  } else {
    Slice whole = pool_.take(header.body_len);
    std::memcpy(whole.data(), prefix.data() + wire::kHeaderBytes, wire::kDataBodyBytes);
    const MutableBytes more = whole.mutable_bytes().subspan(wire::kDataBodyBytes);
    const size_t had = take_buffered(more);
    if (had < more.size()) {
      CO_TRY_VOID(co_await rest(more.subspan(had)));
    }
    frame.body = std::move(whole);
  }
  CO_TRY_VOID(wire::check_body(header, frame.body.bytes()));
  co_return frame;
}

size_t FrameReader::take_buffered(MutableBytes into) {
  const size_t part = std::min(into.size(), end_ - begin_);
  if (part > 0) {
    std::memcpy(into.data(), buffer_.data() + begin_, part);
    begin_ += part;
  }
  return part;
}

Task<Result<Frame>> FrameReader::next_control() {
  if (buffer_.empty()) {
    buffer_ = pool_.take(kControlBuffer);
  }
  if (begin_ == end_) {
    begin_ = end_ = 0;
    CO_TRY_VOID(co_await begin_frame(kControlBuffer));
  } else if (buffer_.size() - begin_ < wire::kHeaderBytes) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (!may_begin_frame(buffer_.bytes().subspan(begin_, end_ - begin_))) {
    co_return not_a_frame();
  }
  if (end_ - begin_ < wire::kHeaderBytes) {
    CO_TRY_VOID(co_await fill(wire::kHeaderBytes));
  }
  CO_TRY(header, wire::decode_header(buffer_.bytes().subspan(begin_, wire::kHeaderBytes)));
  begin_ += wire::kHeaderBytes;
  Frame frame{.header = header, .body = pool_.take(header.body_len)};
  const size_t had = take_buffered(frame.body.mutable_bytes());
  if (had < header.body_len) {
    CO_TRY_VOID(co_await rest(frame.body.mutable_bytes().subspan(had)));
  }
  CO_TRY_VOID(wire::check_body(header, frame.body.bytes()));
  co_return frame;
}

// Makes room for the next frame's prefix behind what has arrived.
void FrameReader::make_room() {
  if (buffer_.size() - begin_ < wire::kDataPrefixBytes) {
    Slice fresh = pool_.take(kDataBuffer);
    end_ = take_buffered(fresh.mutable_bytes());
    begin_ = 0;
    buffer_ = std::move(fresh);
  }
}

Task<Status> FrameReader::payload(std::array<iovec, 2> pieces, size_t count) {
  u64 wanted = 0;
  for (size_t i = 0; i < count; ++i) {
    iovec& piece = pieces[i];
    const size_t had = take_buffered({static_cast<std::byte*>(piece.iov_base), piece.iov_len});
    payload_bytes_copied += had;
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + had;
    piece.iov_len -= had;
    wanted += piece.iov_len;
  }
  if (wanted == 0) {
    co_return ok_status();
  }
  // Most often it has arrived together with its prefix, and the next prefix behind it.
  std::array<iovec, 3> now = {pieces[0], pieces[1], iovec{}};
  if (kind_ == ConnectionKind::data) {
    make_room();
    now[count] = {buffer_.data() + end_, wire::kDataPrefixBytes};
  }
  const i64 taken = socket_.receive_now(std::span<const iovec>(now.data(), now.size()));
  if (taken == 0 || (taken < 0 && taken != -EAGAIN)) {
    co_return broken(taken, true);
  }
  u64 got = static_cast<u64>(std::max<i64>(taken, 0));
  bytes_ += got;
  if (got >= wanted) {
    end_ += got - wanted;
    co_return ok_status();
  }
  wanted -= got;
  for (size_t i = 0; i < count; ++i) {
    const u64 part = std::min<u64>(got, pieces[i].iov_len);
    pieces[i].iov_base = static_cast<std::byte*>(pieces[i].iov_base) + part;
    pieces[i].iov_len -= part;
    got -= part;
  }
  stall_.begin(frame_timeout_);
  const i64 rest = co_await async_receive(socket_, std::span<const iovec>(pieces.data(), count));
  stall_.end();
  if (rest != static_cast<i64>(wanted)) {
    co_return broken(rest, true);
  }
  bytes_ += wanted;
  co_return ok_status();
}

Task<Status> FrameReader::skip(u64 size, MutableBytes scratch) {
  const u64 had = std::min<u64>(size, end_ - begin_);
  begin_ += had;
  for (u64 left = size - had; left > 0;) {
    const MutableBytes part = scratch.first(std::min<u64>(left, scratch.size()));
    CO_TRY_VOID(co_await rest(part));
    left -= part.size();
  }
  co_return ok_status();
}

}  // namespace pangu::rpc
