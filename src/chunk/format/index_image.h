#pragma once
#include <optional>
#include <vector>

#include "base/ids.h"
#include "chunk/format/sector.h"

// A sealed chunk's index as it stands behind its last unit: which unit holds which payload offset
// (docs/formats/device.md). Only an aid: every unit says by itself where it belongs.
namespace pangu::chunk {

inline constexpr u32 kIndexMagic = 0x58444e49;  // "INDX"

// From `first_unit` on, `units` units repeat a pattern: `full` full units, then one of `partial`
// bytes. partial 0: all are full.
struct Pattern {
  u32 first_unit = 0;
  u32 first_offset = 0;
  u32 units = 0;
  u16 full = 0;
  u16 partial = 0;
};
static_assert(sizeof(Pattern) == 16);

inline constexpr u32 kSampleEvery = 16;
// Holds the samples of 2^20 units, more than fit in the 4 GiB of a chunk's payload offsets.
inline constexpr u32 kIndexSectorsMax = 96;

// Either patterns, or the payload offset at which every 16th unit begins.
struct IndexImage {
  ChunkId chunk;
  u32 length = 0;
  u32 unit_count = 0;
  std::vector<Pattern> patterns;
  std::vector<u32> samples;
};

u32 index_sectors_for(const IndexImage& index);
// Writes index_sectors_for(index) sectors.
void encode_index(const IndexImage& index, std::byte* sectors);
// Nothing if a sector is damaged or the parts do not fit together.
std::optional<IndexImage> decode_index(const ChunkId& chunk, const std::byte* sectors, u32 count);

}  // namespace pangu::chunk
