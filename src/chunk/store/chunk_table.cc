#include "chunk/store/chunk_table.h"

#include <algorithm>

namespace pangu::chunk {

Chunk& ChunkTable::insert(const ChunkId& id) {
  CHECK(find(id) == nullptr);
  tombstones_.erase(id);
  auto* chunk = new Chunk;
  chunk->id = id;
  if (free_slots_.empty()) {
    chunk->slot = static_cast<u32>(slots_.size());
    slots_.emplace_back(chunk);
  } else {
    chunk->slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[chunk->slot] = ChunkRef(chunk);
  }
  places_.emplace(id, chunk->slot);
  return *chunk;
}

void ChunkTable::erase(Chunk& chunk) {
  const u32 slot = chunk.slot;
  places_.erase(chunk.id);
  free_slots_.push_back(slot);
  slots_[slot] = ChunkRef();
}

void ChunkTable::forget(ChunkRange range) {
  auto tomb = tombstones_.lower_bound(range.from);
  while (tomb != tombstones_.end() && tomb->first < range.until) {
    tomb = tombstones_.erase(tomb);
  }
  // Join with every range that overlaps or touches it.
  auto at = forgotten_.upper_bound(range.from);
  if (at != forgotten_.begin() && std::prev(at)->second >= range.from) {
    --at;
  }
  while (at != forgotten_.end() && at->first <= range.until) {
    range.from = std::min(range.from, at->first);
    range.until = std::max(range.until, at->second);
    at = forgotten_.erase(at);
  }
  forgotten_[range.from] = range.until;
}

bool ChunkTable::forgotten(const ChunkId& id) const {
  const auto after = forgotten_.upper_bound(id);
  return after != forgotten_.begin() && std::prev(after)->second > id;
}

bool ChunkTable::worth_forgetting(const ChunkRange& range) const {
  const auto tomb = tombstones_.lower_bound(range.from);
  if (tomb != tombstones_.end() && tomb->first < range.until) {
    return true;
  }
  // Joined to a range that is there it costs nothing.
  auto at = forgotten_.upper_bound(range.from);
  if (at != forgotten_.begin() && std::prev(at)->second >= range.from) {
    return std::prev(at)->second < range.until;
  }
  return at != forgotten_.end() && at->first <= range.until;
}

std::optional<ChunkId> ChunkTable::forgettable(const ChunkId& from) const {
  std::optional<ChunkId> out;
  if (const auto tomb = tombstones_.lower_bound(from); tomb != tombstones_.end()) {
    out = tomb->first;
  }
  auto after = forgotten_.upper_bound(from);
  ChunkId gap = from;
  if (after != forgotten_.begin()) {
    gap = std::max(gap, std::prev(after)->second);
  } else if (after != forgotten_.end()) {
    gap = after->second;
    ++after;
  }
  if (after != forgotten_.end()) {
    out = out ? std::min(*out, gap) : gap;
  }
  return out;
}

std::vector<ChunkId> ChunkTable::ids_after(const ChunkId& after, size_t max) const {
  std::vector<ChunkId> ids;
  for (const ChunkRef& chunk : slots_) {
    if (chunk && chunk->id > after) {
      ids.push_back(chunk->id);
    }
  }
  const size_t keep = std::min(max, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep), ids.end());
  ids.resize(keep);
  return ids;
}

}  // namespace pangu::chunk
