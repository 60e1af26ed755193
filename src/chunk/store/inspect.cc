#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "chunk/store/device_read.h"
#include "chunk/store/ops.h"
#include "chunk/store/recovery.h"
#include "runtime/await.h"

// Reports about a device, for people. They read and recover in memory, and write nothing.
namespace pangu::chunk {

namespace {

std::string state_of(const Chunk& chunk) {
  if (chunk.headless) {
    return "HEADER LOST";
  }
  std::string out = chunk.finalized ? "sealed" : "open";
  if (!chunk.finalized && chunk.fence > chunk.owner_epoch) {
    out += fmt::format(" fenced by {}", chunk.fence.number);
  }
  if (chunk.closed && !chunk.finalized) {
    out += " closed";
  }
  if (chunk.damaged) {
    out += fmt::format(" DAMAGED (good to {}, committed to {})", chunk.valid,
                       chunk.known_committed);
  }
  return out;
}

std::string line_of(const Chunk& chunk) {
  std::string blocks;
  for (const Extent& extent : chunk.extents) {
    blocks += fmt::format(" {}+{}", extent.start, extent.count);
  }
  return fmt::format("chunk {} epoch {} base {} length {} units {} {} blocks{}\n",
                     to_string(chunk.id), chunk.owner_epoch.number, chunk.base, chunk.length,
                     chunk.unit_count, state_of(chunk), blocks);
}

std::vector<ChunkRef> sorted_chunks(const Shard& shard) {
  std::vector<ChunkRef> out;
  for (size_t slot = 0; slot < shard.table.slots(); ++slot) {
    if (Chunk* chunk = shard.table.at_slot(slot)) {
      out.emplace_back(chunk);
    }
  }
  std::sort(out.begin(), out.end(),
            [](const ChunkRef& a, const ChunkRef& b) { return a->id < b->id; });
  return out;
}

std::string describe_shard(const Shard& shard, const Loaded& loaded) {
  const ShardLayout& layout = shard.layout;
  const RecoveryReport& report = shard.report;
  std::string out = fmt::format(
      "shard {}: {} blocks of {}, {} free, {} prepared; log {} at batch {}; checkpoint {} in slot "
      "{}{}\n",
      shard.options.shard, layout.blocks, format_size(layout.block_bytes), shard.blocks.free(),
      shard.room.pool_blocks(), format_size(layout.log_bytes), loaded.log_end.sequence,
      loaded.newest_number, loaded.used_slot,
      loaded.used_older ? " (the newest one is DAMAGED, the one before serves)" : "");
  out += fmt::format(
      "shard {}: {} chunks ({} open, {} damaged), {} tombstones; {} records replayed, {} units "
      "behind torn tails\n",
      shard.options.shard, report.chunks, report.open_chunks, report.chunks_damaged,
      report.tombstones, loaded.log_records, report.units_cut);
  return out;
}

// Checks every unit; a line for each chunk with bad ones.
Task<std::string> verify_chunks(Shard& shard) {
  std::string out;
  u64 units = 0;
  u64 bad = 0;
  const std::vector<ChunkRef> chunks = sorted_chunks(shard);
  for (const ChunkRef& chunk : chunks) {
    if (chunk->headless) {
      continue;
    }
    auto checked = co_await do_verify(shard, chunk, 0, chunk->unit_count);
    if (!checked.ok()) {
      out += fmt::format("chunk {}: {}\n", to_string(chunk->id), checked.error().message());
      continue;
    }
    units += checked->units;
    bad += checked->bad_units;
    if (checked->bad_units > 0) {
      out += fmt::format("chunk {}: {} of {} units BAD, good to {}\n", to_string(chunk->id),
                         checked->bad_units, checked->units, checked->end_offset);
    }
  }
  out += fmt::format("shard {}: {} units checked, {} bad\n", shard.options.shard, units, bad);
  co_return out;
}

enum class Depth : u8 { list, verify };

Task<std::string> report_shard(env::File& file, const Superblock& superblock, u32 number,
                               Depth depth) {
  TaskContext& context = co_await this_context();
  HeapBuffers buffers;
  const StoreOptions options{.shard = number};
  Shard shard(*context.reactor, file, buffers, options, superblock);
  auto loaded = co_await load_shard(shard);
  if (!loaded.ok()) {
    co_return fmt::format("shard {}: BEYOND USE: {}\n", number, loaded.error().message());
  }
  Recovery recovery(shard);
  const Status looked = co_await recovery.look();
  if (!looked.ok()) {
    co_return fmt::format("shard {}: BEYOND USE: {}\n", number, looked.error().message());
  }
  std::string out = describe_shard(shard, *loaded);
  if (depth == Depth::verify) {
    const std::string checked = co_await verify_chunks(shard);
    co_return out + checked;
  }
  for (const ChunkRef& chunk : sorted_chunks(shard)) {
    out += line_of(*chunk);
  }
  for (const auto& [id, tombstone] : shard.table.tombstones()) {
    out += fmt::format("tombstone {} fence {}{}{}\n", to_string(id), tombstone.fence.number,
                       tombstone.deleted ? " deleted" : "", tombstone.closed ? " closed" : "");
  }
  for (const auto& [from, until] : shard.table.forgotten_ranges()) {
    out += fmt::format("forgotten {} to {}\n", to_string(from), to_string(until));
  }
  co_return out;
}

Task<Result<std::string>> report(env::File& file, Depth depth) {
  CO_TRY(superblock, co_await read_superblock(file));
  std::string out = fmt::format("device {} of cluster {} server {}: {}, {} shards, format {}\n",
                                to_string(superblock.device), to_string(superblock.cluster),
                                to_string(superblock.server), format_size(superblock.capacity),
                                superblock.shards, kFormatVersion);
  for (u32 shard = 0; shard < superblock.shards; ++shard) {
    const std::string part = co_await report_shard(file, superblock, shard, depth);
    out += part;
  }
  co_return out;
}

}  // namespace

Task<Result<std::string>> inspect_device(env::File& file) { return report(file, Depth::list); }
Task<Result<std::string>> verify_device(env::File& file) { return report(file, Depth::verify); }

}  // namespace pangu::chunk
