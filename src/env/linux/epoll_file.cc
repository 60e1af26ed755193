#include "env/linux/epoll_file.h"

#include <cerrno>
#include <sys/uio.h>
#include <unistd.h>

#include "env/linux/epoll_env.h"

namespace pangu::env {

namespace {

enum class Kind : u64 { read, write, write_durable, flush };

void describe(Operation& op, EpollFile* file, Kind kind, u64 offset, const std::byte* data,
              size_t size) {
  op.hidden.pointers[0] = file;
  op.hidden.words[0] = static_cast<u64>(kind);
  op.hidden.words[1] = offset;
  op.hidden.iov[0] = {const_cast<std::byte*>(data), size};
}

}  // namespace

void EpollFile::read(Operation& op, u64 offset, MutableBytes into) {
  describe(op, this, Kind::read, offset, into.data(), into.size());
  env_.submit_file_operation(op);
}

void EpollFile::write(Operation& op, u64 offset, Bytes from, Durability durability, i32) {
  const Kind kind = durability == Durability::durable_write ? Kind::write_durable : Kind::write;
  describe(op, this, kind, offset, from.data(), from.size());
  env_.submit_file_operation(op);
}

void EpollFile::flush(Operation& op) {
  describe(op, this, Kind::flush, 0, nullptr, 0);
  env_.submit_file_operation(op);
}

i64 EpollFile::execute(Operation& op) {
  const auto* file = static_cast<EpollFile*>(op.hidden.pointers[0]);
  auto* data = static_cast<std::byte*>(op.hidden.iov[0].iov_base);
  const size_t size = op.hidden.iov[0].iov_len;
  const u64 offset = op.hidden.words[1];
  switch (static_cast<Kind>(op.hidden.words[0])) {
    case Kind::read:
      return file->read_all(data, size, offset);
    case Kind::write:
      return file->write_all(data, size, offset, false);
    case Kind::write_durable:
      return file->write_all(data, size, offset, true);
    case Kind::flush:
      return ::fdatasync(file->fd()) == 0 ? 0 : -errno;
  }
  return -EINVAL;
}

i64 EpollFile::read_all(std::byte* into, size_t size, u64 offset) const {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd(), into + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno != EINTR) {
      return -errno;
    }
    done += got > 0 ? static_cast<size_t>(got) : 0;
    if (got == 0 || (got > 0 && static_cast<size_t>(got) % alignment() != 0)) {
      break;
    }
  }
  return static_cast<i64>(done);
}

i64 EpollFile::write_all(const std::byte* from, size_t size, u64 offset, bool durable) const {
  size_t done = 0;
  bool flush_after = false;
  while (done < size) {
    const iovec piece{const_cast<std::byte*>(from) + done, size - done};
    const int flags = durable && !flush_after ? RWF_DSYNC : 0;
    const ssize_t wrote = ::pwritev2(fd(), &piece, 1, static_cast<off_t>(offset + done), flags);
    if (wrote < 0 && errno == EOPNOTSUPP && flags != 0) {
      flush_after = true;
      continue;
    }
    if (wrote < 0 && errno != EINTR) {
      return -errno;
    }
    if (wrote == 0) {
      return -EIO;
    }
    done += wrote > 0 ? static_cast<size_t>(wrote) : 0;
  }
  if (flush_after && ::fdatasync(fd()) != 0) {
    return -errno;
  }
  return static_cast<i64>(done);
}

}  // namespace pangu::env
