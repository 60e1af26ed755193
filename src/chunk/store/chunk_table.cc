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

void ChunkTable::forget_files(FileId first, FileId last) {
  // Join with every range that overlaps or touches [first, last].
  auto at = forgotten_.upper_bound(first);
  if (at != forgotten_.begin()) {
    const auto before = std::prev(at);
    if (before->second.number >= first.number ||
        before->second.number + 1 == first.number) {
      at = before;
    }
  }
  while (at != forgotten_.end() &&
         (at->first <= last || at->first.number == last.number + 1)) {
    first = std::min(first, at->first);
    last = std::max(last, at->second);
    at = forgotten_.erase(at);
  }
  forgotten_[first] = last;
  auto tomb = tombstones_.lower_bound(ChunkId{.file = first});
  while (tomb != tombstones_.end() && tomb->first.file <= last) {
    tomb = tombstones_.erase(tomb);
  }
}

bool ChunkTable::forgotten(FileId file) const {
  const auto after = forgotten_.upper_bound(file);
  return after != forgotten_.begin() && std::prev(after)->second >= file;
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
