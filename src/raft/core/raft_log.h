#pragma once
#include <deque>

#include "raft/core/log_summary.h"

// The log as the core sees it: a summary of all of it, and the entries of its tail that are not yet
// durable. Everything before is the driver's, read through LogView.
//
// Invariants
// 1. persisted() is durable in this very log: a write that was under way when the tail was cut
// counts
//    only up to the cut, even if the same entries come back later (the disk may have seen others
//    in between).
// 2. The tail holds exactly the entries after persisted(); its size is the windows of what was
// sent.
// 3. Entries are handed out for persisting once, in order; a first index at or below the last one
//    handed out means: cut there first.
namespace pangu::raft {

class RaftLog {
 public:
  RaftLog(LogSummary summary, const LogView& view);

  const LogSummary& summary() const { return summary_; }
  LogId last() const { return summary_.last(); }
  LogId base() const { return summary_.base(); }
  Index persisted() const { return persisted_; }
  u64 unpersisted_bytes() const { return tail_bytes_; }

  Status append(Entry entry);
  // REQUIRES: persisted by nobody else's promise, that is, not committed
  void truncate(Index first);
  void compact(Index index) { summary_.compact(index); }
  // The log is replaced by a snapshot; nothing of it is durable until a write done completes.
  void reset(SnapshotMeta meta);

  bool has_unhanded() const { return handed_ < last().index; }
  // The entries for write number `batch`, and with them a snapshot given to reset().
  Entries hand_out(u64 batch);
  // Everything handed out up to write `batch` is durable.
  void on_persisted(u64 batch);

  // REQUIRES: base().index < range.first <= range.last <= last().index
  LogView::Found read(IndexRange range, u64 bytes_max, Entries& out) const;

 private:
  struct Write {
    u64 batch = 0;
    Index last = 0;
  };
  void drop_persisted_tail();

  LogSummary summary_;
  const LogView& view_;
  std::deque<Entry> tail_;
  u64 tail_bytes_ = 0;
  Index handed_ = 0;
  Index persisted_ = 0;
  std::deque<Write> writes_;  // under way, in order
};

}  // namespace pangu::raft
