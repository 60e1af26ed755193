#pragma once
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "chunk/store/chunk.h"
#include "chunk/store/ordered_ids.h"
#include "chunk/store/types.h"

// Every chunk and tombstone of a shard.
namespace pangu::chunk {

// Refuses the owner's creates of a chunk that is not here.
struct Tombstone {
  Epoch fence;
  bool deleted = false;
  bool closed = false;
  u64 lsn = 0;
};

class ChunkTable {
 public:
  ChunkTable() = default;
  ChunkTable(const ChunkTable&) = delete;
  ChunkTable& operator=(const ChunkTable&) = delete;

  Chunk* find(const ChunkId& id) const {
    const auto found = places_.find(id);
    return found == places_.end() ? nullptr : slots_[found->second].get();
  }
  // REQUIRES: find(id) == nullptr. A tombstone of that id goes.
  Chunk& insert(const ChunkId& id);
  // The chunk leaves the table; whoever holds a ChunkRef keeps the object.
  void erase(Chunk& chunk);
  size_t chunks() const { return places_.size(); }

  const Tombstone* find_tombstone(const ChunkId& id) const {
    const auto found = tombstones_.find(id);
    return found == tombstones_.end() ? nullptr : &found->second;
  }
  Tombstone& tombstone(const ChunkId& id);
  void erase_tombstone(const ChunkId& id);
  const std::map<ChunkId, Tombstone>& tombstones() const { return tombstones_; }

  // Owners' creates of these chunks are refused from now on; their tombstones go.
  void forget(ChunkRange range);
  bool forgotten(const ChunkId& id) const;
  // Whether forget(range) changes anything, and leaves no more to be remembered than before.
  bool worth_forgetting(const ChunkRange& range) const;
  // The first id at or above `from` of which less might be remembered: a tombstone's, or one between
  // two forgotten ranges.
  std::optional<ChunkId> forgettable(const ChunkId& from) const;
  // Where each range begins, and where it ends; they neither overlap nor touch.
  const std::map<ChunkId, ChunkId>& forgotten_ranges() const { return forgotten_; }

  // Chunks by place, some empty: stays valid for going on after a wait, in a fixed order.
  size_t slots() const { return slots_.size(); }
  Chunk* at_slot(size_t slot) const { return slots_[slot].get(); }
  // Up to `max` chunk ids above `after`, or in [from, until), sorted.
  std::vector<ChunkId> ids_after(const ChunkId& after, size_t max) const;
  std::vector<ChunkId> ids_between(const ChunkId& from, const ChunkId& until, size_t max) const {
    return order_.between(from, until, max);
  }

  // Of the ids of one stream group's files. A range counts where it begins.
  struct Kept {
    u64 tombstones = 0;
    u64 ranges = 0;
  };
  Kept kept_of(u32 stream_index) const {
    const auto found = kept_.find(stream_index);
    return found == kept_.end() ? Kept{} : found->second;
  }

 private:
  void count_tombstone(const ChunkId& id, i64 more);
  void count_range(const ChunkId& from, i64 more);
  std::unordered_map<ChunkId, u32, IdHash> places_;
  std::vector<ChunkRef> slots_;
  std::vector<u32> free_slots_;
  std::map<ChunkId, Tombstone> tombstones_;
  std::map<ChunkId, ChunkId> forgotten_;
  OrderedIds order_;
  std::map<u32, Kept> kept_;  // none is empty
};

}  // namespace pangu::chunk
