#include "chunk/store/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "chunk/format/checkpoint_slot.h"
#include "chunk/store/device_read.h"
#include "runtime/await.h"

// Formatting a device, and asking one whose it is.
namespace pangu::chunk {

namespace {

constexpr u64 kPrewritePiece = kMiB;

Task<Status> write_exactly(env::File& file, u64 offset, Bytes from, env::Durability durability) {
  while (!from.empty()) {
    const i64 result = co_await async_write(file, offset, from, durability);
    if (result <= 0) {
      co_return env::error_from_errno(static_cast<int>(result == 0 ? EIO : -result),
                                      fmt::format("formatting: writing at {}", offset));
    }
    from = from.subspan(static_cast<size_t>(result));
    offset += static_cast<u64>(result);
  }
  co_return ok_status();
}

Task<Status> flush(env::File& file) {
  const i64 result = co_await async_flush(file);
  if (result < 0) {
    co_return env::error_from_errno(static_cast<int>(-result), "formatting: flushing");
  }
  co_return ok_status();
}

Result<Superblock> plan(const env::File& file, const FormatOptions& options) {
  const u64 capacity =
      round_down(options.capacity == 0 ? file.size() : options.capacity, kSectorBytes);
  if (capacity < kDeviceBytesMin) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a device of {} bytes is too small: {} at least", capacity,
                             kDeviceBytesMin));
  }
  if (options.device.is_zero() || options.cluster.is_zero()) {
    return Error(Code::kInvalidArgument, "a device needs an id of its own and a cluster's");
  }
  Superblock superblock{.cluster = options.cluster,
                        .device = options.device,
                        .server = options.server,
                        .shards = options.shards,
                        .capacity = capacity,
                        .block_bytes = options.unit_bytes};
  if (superblock.block_bytes == 0) {
    superblock.block_bytes = static_cast<u32>(capacity < kTiB ? 64 * kKiB : kMiB);
  }
  TRY_VOID(divide(superblock));
  return superblock;
}

// An empty shard: the first checkpoint in slot 0, nothing valid in slot 1, a log without batches
// (batches of an earlier format carry another device id).
Task<Status> format_shard(env::File& file, const Superblock& superblock, u32 shard, bool prewrite) {
  const ShardLayout layout = layout_of(superblock, shard);
  const Slice zero = Slice::allocate(kPrewritePiece);
  if (prewrite) {
    // Slots and log: a full file system must never keep a fence or a delete from being stored.
    const u64 end = layout.log_offset + layout.log_bytes;
    for (u64 at = layout.slot_offset[0]; at < end; at += kPrewritePiece) {
      const Bytes part = zero.bytes().first(std::min(kPrewritePiece, end - at));
      CO_TRY_VOID(co_await write_exactly(file, at, part, env::Durability::volatile_write));
    }
  }
  const Bytes blank = zero.bytes().first(kSectorBytes);
  CO_TRY_VOID(co_await write_exactly(file, layout.slot_offset[1], blank,
                                     env::Durability::volatile_write));
  const Slice sector = Slice::allocate(kSectorBytes);
  SlotHeader header;
  header.shard = shard;
  header.body_crc = crc32c({});
  header.device = superblock.device;
  header.number = 1;
  header.log_sequence = 1;
  header.next_lsn = 1;
  header.next_reservation = 1;
  encode_slot_header(header, sector.data());
  const Status written = co_await write_exactly(file, layout.slot_offset[0], sector.bytes(),
                                                env::Durability::volatile_write);
  co_return written;
}

}  // namespace

Task<Result<bool>> is_blank(env::File& file) {
  if (file.size() < kHeadBytes && file.size() % kSectorBytes != 0) {
    co_return false;  // somebody's small file: its last bytes cannot even be read directly
  }
  const u64 bytes = std::min(kHeadBytes, round_down(file.size(), kSectorBytes));
  const Slice head = Slice::allocate(kHeadBytes);
  CO_TRY_VOID(co_await read_exactly(file, 0, head.mutable_bytes().first(bytes)));
  const Bytes seen = head.bytes().first(bytes);
  co_return std::all_of(seen.begin(), seen.end(), [](std::byte b) { return b == std::byte{0}; });
}

Task<Result<DeviceIdentity>> read_identity(env::File& file) {
  CO_TRY(superblock, co_await read_superblock(file));
  const DeviceIdentity identity{.cluster = superblock.cluster,
                                .server = superblock.server,
                                .device = superblock.device,
                                .capacity = superblock.capacity,
                                .shards = superblock.shards,
                                .unit_bytes = superblock.block_bytes,
                                .version = kFormatVersion};
  co_return identity;
}

Task<Status> format_device(env::File& file, FormatOptions options) {
  CO_TRY(superblock, plan(file, options));
  if (!options.overwrite) {
    CO_TRY(blank, co_await is_blank(file));
    if (!blank) {
      const auto identity = co_await read_identity(file);
      co_return Error(Code::kAlreadyExists,
                      identity.ok()
                          ? fmt::format("it is device {} of cluster {} already",
                                        to_string(identity->device), to_string(identity->cluster))
                          : std::string("other data is on it"));
    }
  }
  if (file.size() < superblock.capacity) {
    CO_TRY_VOID(file.resize(superblock.capacity));
  }
  // The old superblocks go first: a crash in the middle leaves a device that nobody takes for good.
  const Slice sector = Slice::allocate(kSectorBytes);
  for (const u64 offset : kSuperblockOffsets) {
    CO_TRY_VOID(co_await write_exactly(file, offset, sector.bytes(),
                                       env::Durability::volatile_write));
  }
  CO_TRY_VOID(co_await flush(file));
  for (u32 shard = 0; shard < superblock.shards; ++shard) {
    CO_TRY_VOID(co_await format_shard(file, superblock, shard, options.prewrite));
  }
  CO_TRY_VOID(co_await flush(file));
  encode_superblock(superblock, sector.data());
  for (const u64 offset : kSuperblockOffsets) {
    CO_TRY_VOID(co_await write_exactly(file, offset, sector.bytes(),
                                       env::Durability::durable_write));
  }
  const Status flushed = co_await flush(file);
  co_return flushed;
}

u32 shard_of(const ChunkId& chunk, u32 shards) {
  const u64 hash = hash_combine(chunk.file.number, (u64{chunk.sequence} << 16) | chunk.shard);
  return static_cast<u32>(hash % std::max(1u, shards));
}

}  // namespace pangu::chunk
