#pragma once
#include <optional>

#include "chunk/format/index_image.h"

// Which unit of a chunk holds which payload offset. Exact, as run-length coded patterns, up to 4 KiB;
// beyond that every 16th unit, and the reader looks at footers from there. May begin in the middle of
// a chunk, behind units that recovery did not read again.
namespace pangu::chunk {

class ChunkIndex {
 public:
  ChunkIndex() = default;
  ChunkIndex(u32 first_unit, u32 first_offset)
      : first_unit_(first_unit), first_offset_(first_offset), units_end_(first_unit),
        offset_end_(first_offset) {}
  // Nothing if the image contradicts itself.
  static std::optional<ChunkIndex> from_image(const IndexImage& image);
  IndexImage to_image(const ChunkId& chunk) const;

  // The next unit holds `data_len` bytes, 1 to 4048.
  void add(u32 data_len);
  // Forgets all units from `unit_count` on; the last one kept ends at `end_offset`.
  void truncate(u32 unit_count, u32 end_offset);

  struct Hit {
    u32 unit = 0;
    u32 start = 0;      // payload offset of its first byte
    bool exact = true;  // false: the wanted unit is this one or one of the next 15
  };
  // Nothing if `offset` lies before the index begins or behind its end.
  std::optional<Hit> find(u32 offset) const;

  u32 first_unit() const { return first_unit_; }
  u32 first_offset() const { return first_offset_; }
  u32 unit_end() const { return units_end_; }
  u32 offset_end() const { return offset_end_; }
  bool exact() const { return samples_.empty(); }
  size_t memory_bytes() const {
    return patterns_.capacity() * sizeof(Pattern) + samples_.capacity() * sizeof(u32);
  }

 private:
  static constexpr size_t kPatternsMax = 250;
  void become_sampled();

  u32 first_unit_ = 0;
  u32 first_offset_ = 0;
  u32 units_end_ = 0;
  u32 offset_end_ = 0;
  std::vector<Pattern> patterns_;
  std::vector<u32> samples_;  // start of unit first_unit_ + 16 i; then patterns_ is empty
};

}  // namespace pangu::chunk
