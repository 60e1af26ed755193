#include "chunk/store/ordered_ids.h"

#include <algorithm>

namespace pangu::chunk {

void OrderedIds::insert(const ChunkId& id) {
  auto leaf = leaf_of(id);
  if (leaf->second.size() >= kLeafMax) {
    // Ids mostly come in their order: then the old leaf stays full.
    const bool at_end = leaf->second.back() < id;
    const auto from = at_end ? leaf->second.end() : leaf->second.begin() + kLeafMax / 2;
    Leaf upper(from, leaf->second.end());
    leaf->second.erase(from, leaf->second.end());
    const ChunkId bound = at_end ? id : upper.front();
    leaves_.emplace(bound, std::move(upper));
    leaf = leaf_of(id);
  }
  Leaf& ids = leaf->second;
  ids.insert(std::lower_bound(ids.begin(), ids.end(), id), id);
}

void OrderedIds::erase(const ChunkId& id) {
  const auto leaf = leaf_of(id);
  Leaf& ids = leaf->second;
  const auto place = std::lower_bound(ids.begin(), ids.end(), id);
  if (place == ids.end() || *place != id) {
    return;
  }
  ids.erase(place);
  if (ids.size() <= kLeafMax / 4) {
    join(leaf);
  }
}

// With the leaf before or behind it, if both have room in one.
void OrderedIds::join(Leaves::iterator leaf) {
  const auto fits = [](const Leaf& a, const Leaf& b) { return a.size() + b.size() <= kLeafMax / 2; };
  const auto next = std::next(leaf);
  if (leaf != leaves_.begin() && fits(std::prev(leaf)->second, leaf->second)) {
    Leaf& before = std::prev(leaf)->second;
    before.insert(before.end(), leaf->second.begin(), leaf->second.end());
    leaves_.erase(leaf);
  } else if (next != leaves_.end() && fits(leaf->second, next->second)) {
    leaf->second.insert(leaf->second.end(), next->second.begin(), next->second.end());
    leaves_.erase(next);
  }
}

std::vector<ChunkId> OrderedIds::between(const ChunkId& from, const ChunkId& until,
                                         size_t max) const {
  std::vector<ChunkId> out;
  for (auto leaf = std::prev(leaves_.upper_bound(from)); leaf != leaves_.end(); ++leaf) {
    const Leaf& ids = leaf->second;
    for (auto at = std::lower_bound(ids.begin(), ids.end(), from); at != ids.end(); ++at) {
      if (out.size() >= max || *at >= until) {
        return out;
      }
      out.push_back(*at);
    }
  }
  return out;
}

}  // namespace pangu::chunk
