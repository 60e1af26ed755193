#include "env/linux/uring_file.h"

#include <cerrno>

#include "base/reached.h"

namespace pangu::env {

namespace {

// One request transfers at most this much; what is longer goes in parts.
constexpr size_t kPartBytesMax = kGiB;

// The hidden state of a transfer.
enum class Kind : u32 { read, write, write_durable };
struct Transfer {
  Operation& op;
  std::byte* at() const { return static_cast<std::byte*>(op.hidden.iov[0].iov_base); }
  size_t left() const { return op.hidden.iov[0].iov_len; }
  u64 offset() const { return op.hidden.words[1]; }
  u64 done() const { return op.hidden.words[2]; }
  Kind kind() const { return static_cast<Kind>(op.hidden.iov[1].iov_len); }
  i32 slot() const { return static_cast<i32>(op.hidden.words[3]); }
  void start(void* file, Kind kind, u64 offset, const std::byte* data, size_t size, i32 slot) {
    op.hidden.pointers[0] = file;
    op.hidden.iov[0] = {const_cast<std::byte*>(data), size};
    op.hidden.iov[1].iov_len = static_cast<size_t>(kind);
    op.hidden.words[1] = offset;
    op.hidden.words[2] = 0;
    op.hidden.words[3] = static_cast<u64>(slot);
  }
  void advance(size_t bytes) {
    op.hidden.iov[0] = {at() + bytes, left() - bytes};
    op.hidden.words[1] += bytes;
    op.hidden.words[2] += bytes;
  }
};

}  // namespace

void UringFile::read(Operation& op, u64 offset, MutableBytes into) {
  const i32 slot = ring_.slot_of(into.data(), into.size());
  Transfer{op}.start(this, Kind::read, offset, into.data(), into.size(), slot);
  submit(op);
}

void UringFile::write(Operation& op, u64 offset, Bytes from, Durability durability,
                      i32 registered_slot) {
  // A slot that does not cover the memory would end the request with EFAULT.
  const i32 slot = registered_slot < 0 ? -1 : ring_.slot_of(from.data(), from.size());
  const Kind kind = durability == Durability::durable_write ? Kind::write_durable : Kind::write;
  Transfer{op}.start(this, kind, offset, from.data(), from.size(), slot);
  submit(op);
}

void UringFile::submit(Operation& op) {
  const Transfer transfer{op};
  const auto size = static_cast<unsigned>(std::min(transfer.left(), kPartBytesMax));
  io_uring_sqe* sqe = ring_.next();
  const i32 slot = transfer.slot();
  if (transfer.kind() == Kind::read) {
    if (slot >= 0) {
      io_uring_prep_read_fixed(sqe, fd(), transfer.at(), size, transfer.offset(), slot);
    } else {
      io_uring_prep_read(sqe, fd(), transfer.at(), size, transfer.offset());
    }
  } else {
    if (slot >= 0) {
      io_uring_prep_write_fixed(sqe, fd(), transfer.at(), size, transfer.offset(), slot);
    } else {
      io_uring_prep_write(sqe, fd(), transfer.at(), size, transfer.offset());
    }
    if (transfer.kind() == Kind::write_durable) {
      sqe->rw_flags = RWF_DSYNC;
    }
  }
  ring_.track(sqe, op, on_part);
}

void UringFile::on_part(Operation& op, i32 result) {
  Transfer transfer{op};
  auto* file = static_cast<UringFile*>(op.hidden.pointers[0]);
  if (result == -EINTR || result == -EAGAIN) {
    REACHED("io_uring: file transfer interrupted");
    file->submit(op);
    return;
  }
  if (result < 0) {
    op.done(&op, result);
    return;
  }
  transfer.advance(static_cast<size_t>(result));
  const bool is_read = transfer.kind() == Kind::read;
  const bool at_end = is_read && (result == 0 || static_cast<u32>(result) % file->alignment() != 0);
  if (transfer.left() == 0 || at_end) {
    op.done(&op, static_cast<i64>(transfer.done()));
    return;
  }
  if (result == 0) {
    op.done(&op, -EIO);  // a write that makes no progress
    return;
  }
  REACHED("io_uring: short file transfer");
  file->submit(op);
}

void UringFile::flush(Operation& op) {
  io_uring_sqe* sqe = ring_.next();
  io_uring_prep_fsync(sqe, fd(), IORING_FSYNC_DATASYNC);
  ring_.track(sqe, op, on_flushed);
}

void UringFile::on_flushed(Operation& op, i32 result) {
  op.done(&op, result);
}

}  // namespace pangu::env
