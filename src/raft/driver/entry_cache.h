#pragma once
#include <deque>
#include <map>

#include "base/intrusive_list.h"
#include "raft/core/entry.h"
#include "raft/driver/ids.h"

// The latest entries of all groups of a log, in memory. The entry that was added first goes first,
// whichever group it is of.
//
// Invariants
// 1. Of each group it holds consecutive entries that end with the last one added.
// 2. bytes() never exceeds the maximum when a call returns.
namespace pangu::raft {

class EntryCache {
 public:
  explicit EntryCache(u64 bytes_max) : bytes_max_(bytes_max) {}

  // Entries of the group from entry.index on are dropped first, and all of them if it does not
  // follow the last one held.
  void add(GroupId group, const Entry& entry);
  // Drops the entries from `first` on, up to `last`, or all.
  void cut(GroupId group, Index first);
  void compact(GroupId group, Index last);
  void forget(GroupId group);

  // As LogView::read.
  LogView::Found read(GroupId group, IndexRange range, u64 bytes_max, Entries& out) const;
  // The first index held; 0: none.
  Index first(GroupId group) const;
  u64 bytes() const { return bytes_; }

 private:
  struct Held : ListNode {
    explicit Held(Entry held, GroupId of) : entry(std::move(held)), group(of) {}
    Entry entry;
    GroupId group;
  };
  using Run = std::deque<Held>;
  void drop_first(Run& run);
  void drop_last(Run& run);

  u64 bytes_max_;
  u64 bytes_ = 0;
  IntrusiveList<Held> oldest_first_;
  std::map<GroupId, Run> runs_;
};

}  // namespace pangu::raft
