#include "chunk/store/chunk.h"

namespace pangu::chunk {

u32 count_blocks(const std::vector<Extent>& extents) {
  u32 count = 0;
  for (const Extent& extent : extents) {
    count += extent.count;
  }
  return count;
}

u32 Chunk::block_count() const { return count_blocks(extents); }

u32 Chunk::sectors_used() const {
  return header_sectors + (live != nullptr && !finalized ? live->accepted_units : unit_count);
}

void append_extent(std::vector<Extent>& extents, Extent extent) {
  if (extent.count == 0) {
    return;
  }
  if (!extents.empty() && extents.back().end() == extent.start) {
    extents.back().count += extent.count;
  } else {
    extents.push_back(extent);
  }
}

std::vector<Extent> slice_extents(const std::vector<Extent>& extents, u32 first, u32 last) {
  std::vector<Extent> out;
  u32 at = 0;
  for (const Extent& extent : extents) {
    const u32 from = std::max(first, at);
    const u32 to = std::min(last, at + extent.count);
    if (from < to) {
      out.push_back({extent.start + (from - at), to - from});
    }
    at += extent.count;
  }
  return out;
}

}  // namespace pangu::chunk
