#include "chunk/store/chunk_table.h"

#include <algorithm>

#include "wire/partition.h"

namespace pangu::chunk {

void ChunkTable::count_tombstone(const ChunkId& id, i64 more) {
  const u32 index = wire::stream_index_of(id.file);
  Kept& kept = kept_[index];
  kept.tombstones += static_cast<u64>(more);
  if (kept.tombstones == 0 && kept.ranges == 0) {
    kept_.erase(index);
  }
}

void ChunkTable::count_range(const ChunkId& from, i64 more) {
  const u32 index = wire::stream_index_of(from.file);
  Kept& kept = kept_[index];
  kept.ranges += static_cast<u64>(more);
  if (kept.tombstones == 0 && kept.ranges == 0) {
    kept_.erase(index);
  }
}

Tombstone& ChunkTable::tombstone(const ChunkId& id) {
  const auto [place, fresh] = tombstones_.try_emplace(id);
  if (fresh) {
    count_tombstone(id, 1);
  }
  return place->second;
}

void ChunkTable::erase_tombstone(const ChunkId& id) {
  if (tombstones_.erase(id) > 0) {
    count_tombstone(id, -1);
  }
}

Chunk& ChunkTable::insert(const ChunkId& id) {
  CHECK(find(id) == nullptr);
  erase_tombstone(id);
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
  order_.insert(id);
  return *chunk;
}

void ChunkTable::erase(Chunk& chunk) {
  const u32 slot = chunk.slot;
  places_.erase(chunk.id);
  order_.erase(chunk.id);
  free_slots_.push_back(slot);
  slots_[slot] = ChunkRef();
}

void ChunkTable::forget(ChunkRange range) {
  auto tomb = tombstones_.lower_bound(range.from);
  while (tomb != tombstones_.end() && tomb->first < range.until) {
    count_tombstone(tomb->first, -1);
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
    count_range(at->first, -1);
    at = forgotten_.erase(at);
  }
  forgotten_[range.from] = range.until;
  count_range(range.from, 1);
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
  const ChunkId end{.file = {~u64{0}}, .sequence = ~u32{0}, .shard = 0xffff};
  return after == end ? std::vector<ChunkId>() : order_.between(next_id(after), end, max);
}

}  // namespace pangu::chunk
