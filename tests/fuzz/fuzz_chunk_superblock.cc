// The first sector of a device, and the same with a right checksum, which no mutation would get by.
#include <vector>

#include "chunk/format/superblock.h"

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  using namespace pangu;
  using namespace pangu::chunk;
  std::vector<std::byte> sector(kSectorBytes);
  std::memcpy(sector.data(), data, std::min<size_t>(size, kSectorBytes));
  (void)decode_superblock(sector.data());
  seal_sector(sector.data());
  const ReadSuperblock read = decode_superblock(sector.data());
  if (read.state != SuperblockState::ok) {
    return 0;
  }
  // Whatever passes describes a device whose parts lie inside it and beside each other.
  u64 at = kHeadBytes;
  for (u32 shard = 0; shard < read.superblock.shards; ++shard) {
    const ShardLayout layout = layout_of(read.superblock, shard);
    CHECK(layout.slot_offset[0] >= at);
    CHECK(layout.slot_offset[1] >= layout.slot_offset[0] + layout.slot_bytes);
    CHECK(layout.log_offset >= layout.slot_offset[1] + layout.slot_bytes);
    CHECK(layout.blocks_offset >= layout.log_offset + layout.log_bytes);
    CHECK(layout.blocks > 0);
    at = layout.offset_of(layout.blocks);
    CHECK(at <= read.superblock.capacity);
  }
  std::vector<std::byte> again(kSectorBytes);
  encode_superblock(read.superblock, again.data());
  CHECK(decode_superblock(again.data()).state == SuperblockState::ok);
  return 0;
}
