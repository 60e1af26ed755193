#include "raft/core/raft_log.h"

#include "base/reached.h"

namespace pangu::raft {

RaftLog::RaftLog(LogSummary summary, const LogView& view)
    : summary_(std::move(summary)),
      view_(view),
      handed_(summary_.last().index),
      persisted_(summary_.last().index) {}

Status RaftLog::append(Entry entry) {
  TRY_VOID(summary_.append(entry));
  tail_bytes_ += entry.bytes();
  tail_.push_back(std::move(entry));
  return ok_status();
}

void RaftLog::truncate(Index first) {
  summary_.truncate(first);
  while (!tail_.empty() && tail_.back().index >= first) {
    tail_bytes_ -= tail_.back().bytes();
    tail_.pop_back();
  }
  handed_ = std::min(handed_, first - 1);
  persisted_ = std::min(persisted_, first - 1);
  for (Write& write : writes_) {
    if (write.last >= first && RAFT_RULE(stale_write_completion)) {
      REACHED("raft: the log was cut under a write");
      write.last = first - 1;
    }
  }
}

void RaftLog::reset(SnapshotMeta meta) {
  handed_ = meta.id.index;
  summary_ = LogSummary(std::move(meta));
  tail_.clear();
  tail_bytes_ = 0;
  persisted_ = 0;
  for (Write& write : writes_) {
    write.last = 0;
  }
}

Entries RaftLog::hand_out(u64 batch) {
  Entries out;
  const size_t count = static_cast<size_t>(last().index - handed_);
  out.reserve(count);
  for (size_t i = tail_.size() - count; i < tail_.size(); ++i) {
    out.push_back(tail_[i]);
  }
  handed_ = last().index;
  writes_.push_back({batch, handed_});
  return out;
}

void RaftLog::on_persisted(u64 batch) {
  while (!writes_.empty() && writes_.front().batch <= batch) {
    persisted_ = std::max(persisted_, std::min(writes_.front().last, last().index));
    writes_.pop_front();
  }
  drop_persisted_tail();
}

void RaftLog::drop_persisted_tail() {
  while (!tail_.empty() && tail_.front().index <= persisted_) {
    tail_bytes_ -= tail_.front().bytes();
    tail_.pop_front();
  }
}

LogView::Found RaftLog::read(IndexRange range, u64 bytes_max, Entries& out) const {
  CHECK(base().index < range.first && !range.empty() && range.last <= last().index);
  if (range.first <= persisted_) {
    const IndexRange stored{range.first, std::min(range.last, persisted_)};
    return view_.read(stored, bytes_max, out);
  }
  u64 bytes = 0;
  for (size_t i = range.first - tail_.front().index; i < tail_.size(); ++i) {
    const Entry& entry = tail_[i];
    bytes += entry.bytes();
    if (entry.index > range.last || (bytes > bytes_max && !out.empty())) {
      break;
    }
    out.push_back(entry);
  }
  return LogView::Found::here;
}

}  // namespace pangu::raft
