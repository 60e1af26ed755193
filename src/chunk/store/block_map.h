#pragma once
#include <optional>
#include <vector>

#include "chunk/format/sector.h"

// Which blocks of a shard are used, which are prepared (RESERVED), which were ever written.
namespace pangu::chunk {

class Bitmap {
 public:
  explicit Bitmap(u32 bits) : bits_(bits), words_((bits + 63) / 64) {}
  u32 size() const { return bits_; }
  u32 count() const { return count_; }
  bool test(u32 bit) const { return (words_[bit / 64] >> (bit % 64) & 1) != 0; }
  bool test_all(Extent extent) const;
  bool test_any(Extent extent) const;
  void set(Extent extent);
  void clear(Extent extent);
  // All stretches of set bits, in order.
  std::vector<Extent> extents() const;
  // The first clear (set) bit at or after `from`; size() if there is none.
  u32 next_clear(u32 from) const;
  u32 next_set(u32 from) const;

 private:
  u32 bits_;
  u32 count_ = 0;
  std::vector<u64> words_;
};

// True if the stretch lies inside [0, blocks) and is not empty.
inline bool extent_fits(Extent extent, u32 blocks) {
  return extent.count > 0 && extent.start < blocks && extent.count <= blocks - extent.start;
}

class BlockMap {
 public:
  explicit BlockMap(u32 blocks)
      : used(blocks), reserved(blocks), prewritten(blocks) {}

  u32 blocks() const { return used.size(); }
  u32 free() const { return used.size() - used.count(); }
  // Takes up to `want` adjacent free blocks that begin at `at`.
  std::optional<Extent> take_at(u32 at, u32 want);
  // Takes `want` adjacent free blocks or, if there is no such stretch, the longest there is. The next
  // call begins to look `gap` blocks further on, so that a chunk that grows finds room behind it.
  std::optional<Extent> take(u32 want, u32 gap);

  Bitmap used;      // by a chunk, prepared, or being prepared
  Bitmap reserved;  // the log says: prepared; its first sector says whether a chunk has it
  Bitmap prewritten;

 private:
  u32 cursor_ = 0;
};

}  // namespace pangu::chunk
