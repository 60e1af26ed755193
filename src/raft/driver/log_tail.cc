#include "raft/driver/log_tail.h"

#include <vector>

#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::raft {
namespace {

constexpr u64 kZeroesBytes = 256 * kKiB;  // of one write of zeroes

}  // namespace

Error LogTail::from_errno(i64 result) const {
  return env::error_from_errno(result == 0 ? ENOSPC : static_cast<int>(-result), path_);
}

Task<Status> LogTail::switch_to(std::string path, u64 end, u64 prepared) {
  co_await wait_prepared();
  CO_TRY(file, reactor_.env().files().open(path, {}));
  file_ = std::move(file);
  path_ = std::move(path);
  end_ = end;
  prepared_ = prepared;
  prepare_due_.wake_all();
  co_return ok_status();
}

// Durable when it returns.
Task<Status> LogTail::write_all(u64 offset, Bytes bytes) {
  while (!bytes.empty()) {
    const i64 wrote = co_await async_write(*file_, offset, bytes, env::Durability::durable_write);
    if (wrote <= 0) {
      co_return from_errno(wrote);
    }
    offset += static_cast<u64>(wrote);
    bytes = bytes.subspan(static_cast<size_t>(wrote));
  }
  co_return ok_status();
}

Task<Status> LogTail::append(Bytes bytes) {
  if (failure_) {
    co_return *failure_;
  }
  const u64 end = end_ + bytes.size();
  if (end > prepared_) {
    co_await wait_prepared();
    prepared_ = std::max(prepared_, end);
  }
  prepare_due_.wake_all();
  auto written = co_await write_all(end_, bytes);
  if (written.ok() && !failure_) {
    end_ = end;
    co_return written;
  }
  if (written.code() == Code::kNoSpace && !failure_) {
    auto cut = co_await cut_back();
    if (cut.ok() && !failure_) {
      REACHED("raft log: disk full, write cut back");
      co_return written;
    }
    written = std::move(cut);
  }
  if (!failure_) {
    failure_ = written.error();
  }
  prepare_due_.wake_all();
  co_return *failure_;
}

Task<Status> LogTail::cut_back() {
  co_await wait_prepared();
  CO_TRY_VOID(file_->resize(end_));
  prepared_ = end_;
  const i64 flushed = co_await async_flush(*file_);
  if (flushed < 0) {
    co_return from_errno(flushed);
  }
  co_return ok_status();
}

// Zeroes stay whatever becomes of the flush; of a resize whose flush failed nobody could tell, and
// the next power loss would bring the old tail back.
Task<Status> LogTail::erase_tail(u64 upto) {
  const std::vector<std::byte> zeroes(std::min(kZeroesBytes, upto - end_));
  for (u64 at = end_; at < upto;) {
    const Bytes piece = Bytes(zeroes).first(std::min<u64>(zeroes.size(), upto - at));
    auto written = co_await write_all(at, piece);
    CO_TRY_VOID(std::move(written));
    at += piece.size();
  }
  co_return ok_status();
}

Task<Status> LogTail::repair(Bytes bytes, u64 torn_upto) {
  if (torn_upto > end_) {
    auto erased = co_await erase_tail(torn_upto);
    prepared_ = torn_upto;
    if (erased.code() == Code::kNoSpace) {
      CO_TRY_VOID(file_->resize(end_));
      prepared_ = end_;
    } else if (!erased.ok()) {
      co_return erased;
    }
  }
  auto written = co_await write_all(end_ - bytes.size(), bytes);
  CO_TRY_VOID(std::move(written));
  const i64 flushed = co_await async_flush(*file_);
  if (flushed < 0) {
    co_return from_errno(flushed);
  }
  co_return ok_status();
}

Task<void> LogTail::wait_prepared() {
  while (preparing_) {
    co_await prepare_ended_.wait();
  }
}

// Want of space is no matter here: the records themselves will tell.
Task<void> LogTail::prepare() {
  const std::vector<std::byte> zeroes(std::min(kZeroesBytes, file_bytes_));
  while (!stopped_ && !failure_) {
    const u64 wanted = std::min(end_ + ahead_, file_bytes_);
    if (ahead_ == 0 || prepared_ >= wanted || !file_) {
      co_await prepare_due_.wait();
      continue;
    }
    const u64 size = std::min(kZeroesBytes, file_bytes_ - prepared_);
    const u64 from = prepared_;
    preparing_ = true;
    const Status written = co_await write_all(from, Bytes(zeroes).first(size));
    preparing_ = false;
    if (written.ok()) {
      prepared_ = from + size;
    } else if (written.code() != Code::kNoSpace && !failure_) {
      // The failure could be that of a record's write: the system reports it to one of the two.
      failure_ = written.error();
    }
    prepare_ended_.wake_all();
    if (!written.ok() && !stopped_) {
      co_await prepare_due_.wait();
    }
  }
}

void LogTail::stop() {
  stopped_ = true;
  prepare_due_.wake_all();
}

}  // namespace pangu::raft
