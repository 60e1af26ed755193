#include "chunk/store/op_log.h"

#include <algorithm>

#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::chunk {

namespace {
// Both a batch's body and what recovery reads at once stay below this; a single larger record goes
// alone.
constexpr size_t kBodyBytesGoal = 64 * kKiB;
constexpr Duration kNoSpaceRetry = milliseconds(50);
}  // namespace

OpLog::OpLog(Writer& writer, const ShardLayout& layout, const Uuid& device, u32 shard,
             StoreCounters& counters)
    : writer_(writer), layout_(layout), device_(device), shard_(shard), counters_(counters) {}

void OpLog::start(LogCut head, u64 next_lsn, u64 tail) {
  head_ = head.position;
  next_sequence_ = head.sequence;
  next_lsn_ = next_lsn;
  durable_lsn_ = next_lsn - 1;
  tail_ = tail;
}

u64 OpLog::append(const Record& record) {
  CHECK(!ended_);
  const u64 lsn = next_lsn_++;
  pending_.push_back({lsn, {}});
  encode_record(record, lsn, pending_.back().bytes);
  work_.wake_all();
  return lsn;
}

Task<Code> OpLog::wait(u64 lsn) {
  while (durable_lsn_ < lsn) {
    if (writer_.failed()) {
      co_return Code::kDeviceFailed;
    }
    co_await written_.wait();
  }
  co_return Code::kOk;
}

void OpLog::set_tail(u64 position) {
  tail_ = position;
  work_.wake_all();
}

void OpLog::end() {
  ended_ = true;
  work_.wake_all();
}

BatchHeader OpLog::build() {
  CHECK(!pending_.empty());
  size_t bytes = pending_.front().bytes.size();
  size_t count = 1;
  while (count < pending_.size() && bytes + pending_[count].bytes.size() <= kBodyBytesGoal) {
    bytes += pending_[count].bytes.size();
    ++count;
  }
  BatchHeader header;
  header.shard = shard_;
  header.record_count = static_cast<u32>(count);
  header.device = device_;
  header.first_lsn = pending_.front().lsn;
  header.body_bytes = static_cast<u32>(bytes);
  const u64 whole = batch_bytes(header.body_bytes);
  if (batch_.size() < whole) {
    batch_ = Slice::allocate(std::max<u64>(whole, batch_bytes(kBodyBytesGoal)));
  }
  std::byte* at = batch_.data() + sizeof(BatchHeader);
  for (size_t i = 0; i < count; ++i) {
    const Pending& record = pending_[i];
    std::memcpy(at, record.bytes.data(), record.bytes.size());
    at += record.bytes.size();
  }
  return header;
}

// Moves head_ to where `bytes` fit in one piece; false if the ring has no room.
bool OpLog::place(u64 bytes) {
  const u64 left = layout_.log_bytes - head_ % layout_.log_bytes;
  const u64 skip = bytes > left ? left : 0;
  if (head_ + skip + bytes - tail_ > layout_.log_bytes) {
    return false;
  }
  if (skip > 0) {
    REACHED("chunk: the op log wrapped around with a gap");
  }
  head_ += skip;
  return true;
}

Task<void> OpLog::run() {
  while (!writer_.failed() && !(ended_ && pending_.empty())) {
    if (pending_.empty()) {
      co_await work_.wait();
      continue;
    }
    BatchHeader header = build();
    const u64 bytes = batch_bytes(header.body_bytes);
    if (!place(bytes)) {
      REACHED("chunk: the op log waits for a checkpoint");
      starved_ = true;
      written_.wake_all();
      co_await work_.wait(Reactor::current().now() + milliseconds(20));
      continue;
    }
    starved_ = false;
    const u64 position = head_;
    header.position = position;
    header.sequence = next_sequence_;
    seal_batch(header, {batch_.data(), bytes});
    // From here on a cut lies behind this batch: its records are in memory already.
    const u64 last = header.first_lsn + header.record_count - 1;
    for (u32 i = 0; i < header.record_count; ++i) {
      pending_.pop_front();
    }
    head_ += bytes;
    ++next_sequence_;
    const u64 where = layout_.log_offset + position % layout_.log_bytes;
    Code code = Code::kNoSpace;
    while (code == Code::kNoSpace) {
      code = co_await writer_.write_durable(where, {batch_.data(), bytes}, -1);
      if (code == Code::kNoSpace) {
        REACHED("chunk: the op log waits for space");
        co_await sleep_for(kNoSpaceRetry);
      }
    }
    if (code == Code::kOk) {
      durable_lsn_ = last;
      ++counters_.log_batches;
      counters_.log_bytes_written += bytes;
    }
    written_.wake_all();
  }
  written_.wake_all();
}

}  // namespace pangu::chunk
