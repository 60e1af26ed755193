#pragma once
#include <map>
#include <vector>

#include "base/ids.h"

// Chunk ids in their order, in little memory (about 20 bytes each): leaves of sorted ids.
namespace pangu::chunk {

// The id right above. REQUIRES: there is one.
constexpr ChunkId next_id(ChunkId id) {
  if (++id.shard == 0 && ++id.sequence == 0) {
    ++id.file.number;
  }
  return id;
}

class OrderedIds {
 public:
  static constexpr size_t kLeafMax = 512;

  // REQUIRES: it is not there.
  void insert(const ChunkId& id);
  // Nothing happens if it is not there.
  void erase(const ChunkId& id);
  // Up to `max` ids in [from, until), in order.
  std::vector<ChunkId> between(const ChunkId& from, const ChunkId& until, size_t max) const;
  size_t leaves() const { return leaves_.size(); }

 private:
  using Leaf = std::vector<ChunkId>;
  using Leaves = std::map<ChunkId, Leaf>;
  Leaves::iterator leaf_of(const ChunkId& id) { return std::prev(leaves_.upper_bound(id)); }
  void join(Leaves::iterator leaf);

  // By a lower bound of what is in it and in no leaf before; the first one's is the smallest id.
  Leaves leaves_{{ChunkId{}, {}}};
};

}  // namespace pangu::chunk
