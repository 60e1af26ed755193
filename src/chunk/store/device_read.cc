#include "chunk/store/device_read.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/reached.h"
#include "chunk/store/device.h"
#include "runtime/await.h"

namespace pangu::chunk {

namespace {
constexpr u64 kPieceBytes = kMiB;
}

Task<Status> read_exactly(env::File& file, u64 offset, MutableBytes into) {
  while (!into.empty()) {
    const i64 result = co_await async_read(file, offset, into);
    if (result < 0) {
      co_return env::error_from_errno(static_cast<int>(-result),
                                      fmt::format("reading at {}", offset));
    }
    if (result == 0) {
      co_return Error(Code::kIoError, fmt::format("the file ends at {}", offset));
    }
    into = into.subspan(static_cast<size_t>(result));
    offset += static_cast<u64>(result);
  }
  co_return ok_status();
}

Task<Result<Superblock>> read_superblock(env::File& file) {
  const Slice sector = Slice::allocate(kSectorBytes);
  ReadSuperblock best{.state = SuperblockState::blank};
  bool unreadable = false;
  for (const u64 offset : kSuperblockOffsets) {
    if (file.size() < offset + kSectorBytes) {
      continue;
    }
    const Status status = co_await read_exactly(file, offset, sector.mutable_bytes());
    if (!status.ok()) {
      unreadable = true;
      continue;
    }
    const ReadSuperblock found = decode_superblock(sector.data());
    if (found.state == SuperblockState::ok) {
      if (file.size() < found.superblock.capacity) {
        co_return Error(Code::kCorrupt,
                        fmt::format("the device has {} bytes, was formatted with {}; hint: it was "
                                    "cut short, give it back its size",
                                    file.size(), found.superblock.capacity));
      }
      co_return found.superblock;
    }
    const bool worse = found.state == SuperblockState::damaged ||
                       found.state == SuperblockState::other_version;
    if (worse || best.state == SuperblockState::blank) {
      best = found;
    }
  }
  if (best.state == SuperblockState::other_version) {
    co_return Error(Code::kWrongVersion,
                    fmt::format("device format version {}, this program reads {}", best.version,
                                kFormatVersion));
  }
  if (best.state == SuperblockState::damaged) {
    co_return Error(Code::kCorrupt,
                    "both copies of the superblock are damaged; hint: other servers have the data, "
                    "`pangu chunk format --overwrite` makes the device usable again");
  }
  if (unreadable) {
    co_return Error(Code::kIoError, "the superblock cannot be read");
  }
  if (file.size() < kDeviceBytesMin) {
    co_return Error(Code::kNotOurs,
                    fmt::format("it has only {} bytes, a device {} at least", file.size(),
                                kDeviceBytesMin));
  }
  co_return Error(Code::kNotOurs, best.state == SuperblockState::blank ? "the device is blank"
                                                                       : "other data is on it");
}

SectorReader::SectorReader(env::File& file, Buffers& buffers)
    : file_(file), buffer_(buffers.take(kPieceBytes)) {
  CHECK(!buffer_.empty());
}

void SectorReader::start(u64 offset, u64 bytes) {
  at_ = offset;
  end_ = offset + bytes;
  filled_ = 0;
}

Task<void> SectorReader::fill() {
  const u64 size = std::min(kPieceBytes, end_ - at_);
  filled_at_ = at_;
  filled_ = size;
  bad_.assign(size / kSectorBytes, false);
  const MutableBytes whole = buffer_.mutable_bytes().first(size);
  const Status all = co_await read_exactly(file_, at_, whole);
  if (all.ok()) {
    co_return;
  }
  REACHED("chunk: a read failed and is repeated sector by sector");
  for (u64 inside = 0; inside < size; inside += kSectorBytes) {
    const MutableBytes sector = buffer_.mutable_bytes().subspan(inside, kSectorBytes);
    const Status one = co_await read_exactly(file_, at_ + inside, sector);
    bad_[inside / kSectorBytes] = !one.ok();
  }
}

Task<Bytes> SectorReader::next() {
  CHECK(!at_end());
  if (filled_ == 0 || at_ >= filled_at_ + filled_) {
    co_await fill();
  }
  const u64 inside = at_ - filled_at_;
  at_ += kSectorBytes;
  if (bad_[inside / kSectorBytes]) {
    co_return Bytes();
  }
  co_return buffer_.bytes().subspan(inside, kSectorBytes);
}

}  // namespace pangu::chunk
