#include "chunk/store/changes.h"

#include <algorithm>

namespace pangu::chunk {

std::optional<std::vector<ChunkId>> Changes::since(u64 number, const ChunkId& from,
                                                   const ChunkId& until) const {
  if (number > last_ || last_ - number > ids_.size()) {
    return std::nullopt;
  }
  std::vector<ChunkId> out;
  const u64 count = last_ - number;
  for (u64 i = ids_.size() - count; i < ids_.size(); ++i) {
    const ChunkId& id = ids_[(oldest_ + i) % ids_.size()];
    if (id >= from && id < until) {
      out.push_back(id);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace pangu::chunk
