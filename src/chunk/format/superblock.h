#pragma once
#include "base/ids.h"
#include "base/result.h"
#include "chunk/format/sector.h"

// The superblock: who a device belongs to and how it is divided. Written twice at format, never
// changed (docs/formats/device.md).
namespace pangu::chunk {

inline constexpr u32 kFormatVersion = 1;
inline constexpr u64 kSuperblockOffsets[2] = {0, 64 * kKiB};
inline constexpr u64 kHeadBytes = 128 * kKiB;  // the shards begin here
inline constexpr u32 kShardsMax = 64;

struct Superblock {
  Uuid cluster;
  Uuid device;
  ServerId server;
  u32 shards = 1;
  u64 capacity = 0;
  u32 block_bytes = 0;
  u64 shard_bytes = 0;
  u64 slot_bytes = 0;  // of one checkpoint slot
  u64 log_bytes = 0;
};

// Where the parts of one shard lie: | slot 0 | slot 1 | log | blocks |. A block is an allocation unit.
struct ShardLayout {
  u64 slot_offset[2] = {};
  u64 slot_bytes = 0;
  u64 log_offset = 0;
  u64 log_bytes = 0;
  u64 blocks_offset = 0;
  u32 block_bytes = 0;
  u32 blocks = 0;
  u32 sectors_per_block() const { return block_bytes / kSectorBytes; }
  u64 offset_of(u32 block) const { return blocks_offset + u64{block} * block_bytes; }
};

// Fills in shard_bytes, slot_bytes and log_bytes from capacity, shards and block_bytes.
// InvalidArgument says what does not fit.
Status divide(Superblock& superblock);
ShardLayout layout_of(const Superblock& superblock, u32 shard);

// Writes one sector.
void encode_superblock(const Superblock& superblock, std::byte* sector);

enum class SuperblockState : u8 { ok, blank, foreign, damaged, other_version };
struct ReadSuperblock {
  SuperblockState state = SuperblockState::blank;
  Superblock superblock;
  u32 version = 0;
};
// What one sector says. `damaged`: our magic, but the rest is not to be trusted.
ReadSuperblock decode_superblock(const std::byte* sector);

}  // namespace pangu::chunk
