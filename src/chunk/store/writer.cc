#include "chunk/store/writer.h"

#include <fmt/format.h>

#include <cstring>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::chunk {

void Writer::fail(i64 result, std::string_view what) {
  ++counters_.io_errors;
  if (!failed_) {
    reason_ = fmt::format("{} failed: {}", what, std::strerror(static_cast<int>(-result)));
    LOG_ERROR("device: {}; it takes no more writes", reason_);
  }
  failed_ = true;
  changed_.wake_all();
}

Task<Code> Writer::write_all(u64 offset, Bytes from, env::Durability durability,
                             i32 registered_slot) {
  while (!from.empty()) {
    if (failed_) {
      co_return Code::kDeviceFailed;
    }
    const i64 result = co_await async_write(file_, offset, from, durability, registered_slot);
    if (result == -ENOSPC || result == -EDQUOT) {
      REACHED("chunk: a write found no space");
      co_return Code::kNoSpace;
    }
    if (result <= 0) {
      fail(result == 0 ? -EIO : result, "a write");
      co_return Code::kDeviceFailed;
    }
    const u64 wrote = static_cast<u64>(result);
    offset += wrote;
    from = from.subspan(wrote);
  }
  co_return failed_ ? Code::kDeviceFailed : Code::kOk;
}

Task<Code> Writer::write_plain(u64 offset, Bytes from) {
  return write_all(offset, from, env::Durability::volatile_write, -1);
}

Task<Code> Writer::write_durable(u64 offset, Bytes from, i32 registered_slot) {
  if (failed_) {
    co_return Code::kDeviceFailed;
  }
  if (writes_are_durable_ || (active_ == 0 && !flushing_)) {
    ++active_;
    ++counters_.durable_writes;
    const auto how = writes_are_durable_ ? env::Durability::volatile_write
                                         : env::Durability::durable_write;
    const Code code = co_await write_all(offset, from, how, registered_slot);
    --active_;
    co_return code;
  }
  ++active_;
  ++counters_.grouped_writes;
  const u64 mine = open_;
  ++batch(mine).writing;
  Code code = co_await write_all(offset, from, env::Durability::volatile_write, registered_slot);
  --batch(mine).writing;
  if (code == Code::kOk) {
    ++batch(mine).written;
    close_batch_if_due();
    code = co_await settle(mine);
  } else {
    changed_.wake_all();  // the others must not wait for this one
  }
  --active_;
  co_return code;
}

Task<Code> Writer::sync() {
  if (failed_) {
    co_return Code::kDeviceFailed;
  }
  if (writes_are_durable_) {
    co_return Code::kOk;
  }
  const u64 mine = open_;
  ++batch(mine).written;
  close_batch_if_due();
  const Code code = co_await settle(mine);
  co_return code;
}

void Writer::close_batch_if_due() {
  if (flushed_ == open_ - 1 && batch(open_).written > 0) {
    ++open_;
    batch(open_) = {};
  }
}

// Waits until batch `number` is durable; whoever finds it closed and complete flushes it.
Task<Code> Writer::settle(u64 number) {
  while (!failed_ && flushed_ < number) {
    const bool may_flush = !flushing_ && number == flushed_ + 1 && number < open_ &&
                           batch(number).writing == 0;
    if (!may_flush) {
      co_await changed_.wait();
      continue;
    }
    flushing_ = true;
    ++counters_.flushes;
    const i64 result = co_await async_flush(file_);
    flushing_ = false;
    if (result < 0) {
      fail(result, "a flush");
      break;
    }
    flushed_ = number;
    close_batch_if_due();
    changed_.wake_all();
  }
  co_return flushed_ >= number ? Code::kOk : Code::kDeviceFailed;
}

}  // namespace pangu::chunk
