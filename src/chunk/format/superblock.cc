#include "chunk/format/superblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace pangu::chunk {

namespace {

constexpr u64 kSuperblockMagic = 0x56454455474e4150;  // "PANGUDEV" read little-endian
constexpr u64 kBlockBytesMin = 64 * kKiB;
constexpr u64 kBlockBytesMax = 16 * kMiB;

struct SuperblockImage {
  u64 magic;
  u32 version;
  u32 server;
  Uuid cluster;
  Uuid device;
  u64 capacity;
  u32 block_bytes;
  u32 shards;
  u64 shard_bytes;
  u64 slot_bytes;
  u64 log_bytes;
};
static_assert(std::has_unique_object_representations_v<SuperblockImage>);

// A chunk record with one extent takes 128 bytes in a checkpoint, a tombstone 48.
constexpr u64 kSlotBytesPerBlock = 256;

bool sane(const Superblock& superblock) {
  if (superblock.block_bytes < kBlockBytesMin || superblock.block_bytes > kBlockBytesMax ||
      superblock.block_bytes % kSectorBytes != 0 || superblock.shards == 0 ||
      superblock.shards > kShardsMax) {
    return false;
  }
  Superblock again = superblock;
  return divide(again).ok() && again.shard_bytes == superblock.shard_bytes &&
         again.slot_bytes == superblock.slot_bytes && again.log_bytes == superblock.log_bytes;
}

}  // namespace

Status divide(Superblock& superblock) {
  const u64 unit = superblock.block_bytes;
  if (unit < kBlockBytesMin || unit > kBlockBytesMax || !std::has_single_bit(unit)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("allocation unit of {} bytes: 64 KiB to 16 MiB, a power of two", unit));
  }
  if (superblock.shards == 0 || superblock.shards > kShardsMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} shards: 1 to {} are possible", superblock.shards, kShardsMax));
  }
  const u64 usable = superblock.capacity > kHeadBytes ? superblock.capacity - kHeadBytes : 0;
  superblock.shard_bytes = round_down(usable / superblock.shards, unit);
  const u64 units = superblock.shard_bytes / unit;
  if (units > 0xfffffffe) {
    return Error(Code::kInvalidArgument, "the device needs larger allocation units or more shards");
  }
  superblock.slot_bytes =
      round_up(unit + units * kSlotBytesPerBlock + units / 8, std::max(unit, 64 * kKiB));
  superblock.log_bytes =
      round_up(std::clamp<u64>(superblock.shard_bytes / 1024, 256 * kKiB, 64 * kMiB), unit);
  const u64 overhead = 2 * superblock.slot_bytes + superblock.log_bytes;
  if (superblock.shard_bytes < overhead + 16 * unit) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} bytes are too few for {} shards with allocation units of {} bytes",
                             superblock.capacity, superblock.shards, unit));
  }
  return ok_status();
}

ShardLayout layout_of(const Superblock& superblock, u32 shard) {
  ShardLayout out;
  const u64 start = kHeadBytes + superblock.shard_bytes * shard;
  out.slot_bytes = superblock.slot_bytes;
  out.slot_offset[0] = start;
  out.slot_offset[1] = start + out.slot_bytes;
  out.log_offset = out.slot_offset[1] + out.slot_bytes;
  out.log_bytes = superblock.log_bytes;
  out.blocks_offset = out.log_offset + out.log_bytes;
  out.block_bytes = superblock.block_bytes;
  out.blocks = static_cast<u32>((start + superblock.shard_bytes - out.blocks_offset) /
                               superblock.block_bytes);
  return out;
}

void encode_superblock(const Superblock& superblock, std::byte* sector) {
  std::memset(sector, 0, kSectorBytes);
  const SuperblockImage image{.magic = kSuperblockMagic,
                              .version = kFormatVersion,
                              .server = superblock.server.number,
                              .cluster = superblock.cluster,
                              .device = superblock.device,
                              .capacity = superblock.capacity,
                              .block_bytes = superblock.block_bytes,
                              .shards = superblock.shards,
                              .shard_bytes = superblock.shard_bytes,
                              .slot_bytes = superblock.slot_bytes,
                              .log_bytes = superblock.log_bytes};
  store_le(sector, image);
  seal_sector(sector);
}

ReadSuperblock decode_superblock(const std::byte* sector) {
  ReadSuperblock out;
  const auto image = load_le<SuperblockImage>(sector);
  if (image.magic != kSuperblockMagic) {
    const bool blank =
        std::all_of(sector, sector + kSectorBytes, [](std::byte b) { return b == std::byte{0}; });
    out.state = blank ? SuperblockState::blank : SuperblockState::foreign;
    return out;
  }
  out.version = image.version;
  if (load_le<u32>(sector + kSectorBodyMax) != sector_crc(sector)) {
    out.state = SuperblockState::damaged;
    return out;
  }
  if (image.version != kFormatVersion) {
    out.state = SuperblockState::other_version;
    return out;
  }
  out.superblock = {.cluster = image.cluster,
                    .device = image.device,
                    .server = {image.server},
                    .shards = image.shards,
                    .capacity = image.capacity,
                    .block_bytes = image.block_bytes,
                    .shard_bytes = image.shard_bytes,
                    .slot_bytes = image.slot_bytes,
                    .log_bytes = image.log_bytes};
  out.state = sane(out.superblock) ? SuperblockState::ok : SuperblockState::damaged;
  return out;
}

}  // namespace pangu::chunk
