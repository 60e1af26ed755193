#include "raft/driver/entry_cache.h"

namespace pangu::raft {

void EntryCache::drop_first(Run& run) {
  bytes_ -= run.front().entry.bytes();
  run.pop_front();
}

void EntryCache::drop_last(Run& run) {
  bytes_ -= run.back().entry.bytes();
  run.pop_back();
}

void EntryCache::add(GroupId group, const Entry& entry) {
  cut(group, entry.index);
  Run& run = runs_[group];
  if (!run.empty() && run.back().entry.index + 1 != entry.index) {
    forget(group);
  }
  Held& held = runs_[group].emplace_back(entry, group);
  bytes_ += entry.bytes();
  oldest_first_.push_back(held);
  while (bytes_ > bytes_max_) {
    // Within a group what was added first has the lowest index.
    const GroupId oldest = oldest_first_.front()->group;
    drop_first(runs_.find(oldest)->second);
  }
}

void EntryCache::cut(GroupId group, Index first) {
  const auto found = runs_.find(group);
  while (found != runs_.end() && !found->second.empty() &&
         found->second.back().entry.index >= first) {
    drop_last(found->second);
  }
}

void EntryCache::compact(GroupId group, Index last) {
  const auto found = runs_.find(group);
  while (found != runs_.end() && !found->second.empty() &&
         found->second.front().entry.index <= last) {
    drop_first(found->second);
  }
}

void EntryCache::forget(GroupId group) {
  cut(group, 0);
  runs_.erase(group);
}

Index EntryCache::first(GroupId group) const {
  const auto found = runs_.find(group);
  return found == runs_.end() || found->second.empty() ? 0 : found->second.front().entry.index;
}

LogView::Found EntryCache::read(GroupId group, IndexRange range, u64 bytes_max,
                                Entries& out) const {
  const auto found = runs_.find(group);
  if (found == runs_.end() || found->second.empty()) {
    return LogView::Found::not_in_memory;
  }
  const Run& run = found->second;
  if (range.empty() || range.first < run.front().entry.index ||
      range.first > run.back().entry.index) {
    return LogView::Found::not_in_memory;
  }
  u64 bytes = 0;
  for (size_t i = range.first - run.front().entry.index; i < run.size(); ++i) {
    const Entry& entry = run[i].entry;
    bytes += entry.bytes();
    if (entry.index > range.last || (bytes > bytes_max && entry.index > range.first)) {
      break;
    }
    out.push_back(entry);
  }
  return LogView::Found::here;
}

}  // namespace pangu::raft
