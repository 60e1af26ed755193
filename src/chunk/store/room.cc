#include "chunk/store/room.h"

#include <algorithm>

#include "base/reached.h"
#include "chunk/format/block_sectors.h"
#include "chunk/store/shard.h"
#include "runtime/await.h"

namespace pangu::chunk {

namespace {
constexpr u64 kStretchBytes = 2 * kMiB;        // holds the largest run and a header
constexpr u64 kGrowthBytesMax = 8 * kMiB;
constexpr u64 kGapBytesMax = 64 * kMiB;
constexpr u64 kLowWaterBytesMax = kMiB;
constexpr u64 kPlanBytesMax = 16 * kMiB;       // prepared in one round
constexpr u64 kImageBytes = kMiB;
constexpr Duration kNoSpaceRetry = seconds(1);
}  // namespace

Room::Room(Shard& shard) : shard_(shard) {
  const u32 blocks = shard.layout.blocks;
  const auto whole = static_cast<u32>(kStretchBytes / shard.layout.block_bytes);
  stretch_ = std::clamp(whole, 1u, std::max(1u, blocks / 64));
  target_ = std::clamp(blocks / 64, 2 * stretch_, 16 * stretch_);
  target_max_ = std::max(target_, std::min(blocks / 8, 256 * stretch_));
  kept_ = std::max(2u, blocks / 100);
  gap_ = std::min(blocks / 16, static_cast<u32>(kGapBytesMax / shard.layout.block_bytes));
  low_water_ = static_cast<u32>(
      std::min(kLowWaterBytesMax, u64{stretch_} * shard.layout.block_bytes / 2) / kSectorBytes);
}

void Room::put(Extent extent) {
  pool_blocks_ += extent.count;
  auto after = pool_.lower_bound(extent.start);
  if (after != pool_.end() && after->first == extent.end()) {
    extent.count += after->second;
    after = pool_.erase(after);
  }
  if (after != pool_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == extent.start) {
      before->second += extent.count;
      return;
    }
  }
  pool_.emplace(extent.start, extent.count);
}

Extent Room::take_from_pool(std::map<u32, u32>::iterator at, u32 want) {
  const Extent whole{at->first, at->second};
  const u32 count = std::min(whole.count, want);
  pool_.erase(at);
  if (count < whole.count) {
    pool_.emplace(whole.start + count, whole.count - count);
  }
  pool_blocks_ -= count;
  return {whole.start, count};
}

// The shortest stretch of at least `want` blocks, or else the longest.
std::map<u32, u32>::iterator Room::best_fit(u32 want) {
  auto best = pool_.end();
  for (auto at = pool_.begin(); at != pool_.end(); ++at) {
    const bool better =
        best == pool_.end() ||
        (best->second < want ? at->second > best->second
                             : at->second >= want && at->second < best->second);
    if (better) {
      best = at;
    }
  }
  return best;
}

bool Room::extend(std::vector<Extent>& extents, u32 needed, u32 wanted) {
  if (needed == 0) {
    return true;
  }
  if (pool_blocks_ < needed) {
    return false;
  }
  const u32 left = shard_.blocks.free() + pool_blocks_;
  if (left < shard_.blocks.blocks() / 8) {
    wanted = needed;
  }
  wanted = std::max(needed, std::min(wanted, pool_blocks_ / 2));
  u32 taken = 0;
  if (!extents.empty()) {
    const auto adjacent = pool_.find(extents.back().end());
    if (adjacent != pool_.end()) {
      const Extent got = take_from_pool(adjacent, wanted);
      append_extent(extents, got);
      taken += got.count;
    }
  }
  while (taken < needed) {
    const Extent got = take_from_pool(best_fit(wanted - taken), wanted - taken);
    append_extent(extents, got);
    taken += got.count;
  }
  if (needs_work()) {
    wake();
  }
  return true;
}

Task<Code> Room::wait(u32 blocks, bool privileged, Instant deadline) {
  demand_ = std::max(demand_, blocks);
  ++waiting_;
  privileged_waiting_ += privileged ? 1 : 0;
  if (target_ < target_max_) {
    target_ = std::min(target_max_, target_ * 2);  // creates come faster than they were foreseen
  }
  wake();
  const u64 denials = denials_;
  Code code = Code::kOk;
  while (pool_blocks_ < blocks) {
    if (shard_.writer.failed()) {
      code = Code::kDeviceFailed;
      break;
    }
    if (shard_.stopping) {
      code = Code::kClosed;
      break;
    }
    if (denials_ != denials) {
      code = Code::kNoSpace;
      break;
    }
    const bool woken = co_await changed_.wait(deadline);
    if (!woken) {
      code = Code::kBusy;
      break;
    }
  }
  privileged_waiting_ -= privileged ? 1 : 0;
  if (--waiting_ == 0) {
    demand_ = 0;
  }
  co_return code;
}

void Room::ask_growth(Chunk& chunk) {
  Live& live = *chunk.live;
  if (!live.growth_asked && !shard_.stopping) {
    live.growth_asked = true;
    growing_.emplace_back(&chunk);
    wake();
  }
}

void Room::give_back(const std::vector<Extent>& prepared) {
  for (const Extent& extent : prepared) {
    put(extent);
  }
  if (!prepared.empty()) {
    full_ = false;
    changed_.wake_all();
  }
}

void Room::free(const std::vector<Extent>& blocks) {
  for (const Extent& extent : blocks) {
    shard_.blocks.used.clear(extent);
  }
  if (!blocks.empty()) {
    full_ = false;
    wake();
  }
}

bool Room::needs_work() const {
  return !growing_.empty() || pool_blocks_ < target_ / 2 || pool_blocks_ < demand_;
}

void Room::plan_growth(std::vector<Item>& plan, u32& available) {
  for (ChunkRef& chunk : growing_) {
    if (!chunk->open() || chunk->removing) {
      continue;
    }
    Live& live = *chunk->live;
    const u32 block_bytes = shard_.layout.block_bytes;
    const u64 has = u64{chunk->block_count()} * block_bytes;
    const u64 left = chunk->limit > live.accepted ? chunk->limit - live.accepted : 0;
    const u64 bytes = std::min(std::clamp<u64>(has, u64{stretch_} * block_bytes, kGrowthBytesMax),
                               left + block_bytes);
    const auto want = std::min(static_cast<u32>((bytes + block_bytes - 1) / block_bytes),
                               available);
    if (want == 0 || chunk->extents.empty()) {
      continue;
    }
    // Only behind the last block: elsewhere the pool serves as well.
    const auto got = shard_.blocks.take_at(chunk->extents.back().end(), want);
    if (got) {
      live.growth_asked = false;
      available -= got->count;
      plan.push_back({*got, chunk});
    }
  }
  growing_.clear();
}

std::vector<Room::Item> Room::plan() {
  std::vector<Item> out;
  const u32 kept = privileged_waiting_ > 0 ? 0 : kept_;
  const u32 free = shard_.blocks.free();
  u32 available = free > kept ? free - kept : 0;
  plan_growth(out, available);
  u32 have = pool_blocks_;
  const u32 goal = have < target_ / 2 || have < demand_ ? std::max(target_, demand_) : have;
  const auto blocks_max = static_cast<u32>(kPlanBytesMax / shard_.layout.block_bytes);
  u32 planned = 0;
  while (have < goal && available > 0 && (planned < blocks_max || have < demand_)) {
    const auto got = shard_.blocks.take(std::min({stretch_, available, goal - have}), gap_);
    if (!got) {
      break;
    }
    available -= got->count;
    have += got->count;
    planned += got->count;
    out.push_back({*got, ChunkRef()});
  }
  return out;
}

// Takes prepared blocks back from open chunks that do not use them yet.
void Room::reclaim() {
  for (Live* live = shard_.open_chunks.front(); live != nullptr && pool_blocks_ < demand_;
       live = shard_.open_chunks.next(*live)) {
    shard_.return_spare(live->chunk);
  }
}

void Room::deny() {
  full_ = true;
  ++denials_;
  changed_.wake_all();
}

Task<void> Room::run() {
  while (!shard_.stopping && !shard_.writer.failed()) {
    if (!needs_work()) {
      co_await wake_.wait();
      continue;
    }
    const std::vector<Item> items = plan();
    if (items.empty()) {
      if (pool_blocks_ < demand_) {
        reclaim();
        if (pool_blocks_ < demand_) {
          REACHED("chunk: the device is full");
          deny();
        } else {
          changed_.wake_all();
        }
      }
      co_await wake_.wait(shard_.reactor.now() + kNoSpaceRetry);
      continue;
    }
    const Code code = co_await prepare(items);
    if (code == Code::kOk) {
      hand_out(items);
      continue;
    }
    for (const Item& item : items) {
      shard_.blocks.used.clear(item.extent);
    }
    if (code == Code::kNoSpace) {
      REACHED("chunk: preparing blocks found no space");
      deny();
      co_await wake_.wait(shard_.reactor.now() + kNoSpaceRetry);
    }
  }
  changed_.wake_all();
}

Task<Code> Room::prepare(const std::vector<Item>& plan) {
  ReserveRecord record;
  record.sequence = shard_.next_reservation++;
  for (const Item& item : plan) {
    const bool zero =
        shard_.options.prewrite && !shard_.blocks.prewritten.test_all(item.extent);
    Code code = Code::kOk;
    if (zero) {
      code = co_await write_zeroed(item.extent);
    } else {
      code = co_await write_reserved(item.extent);
    }
    if (code != Code::kOk) {
      co_return code;
    }
    if (zero) {
      shard_.blocks.prewritten.set(item.extent);
    }
    record.extents.push_back(item.extent);
  }
  Code code = co_await shard_.writer.sync();
  if (code != Code::kOk) {
    co_return code;
  }
  for (const Extent& extent : record.extents) {
    shard_.blocks.reserved.set(extent);
  }
  const u64 lsn = shard_.log.append(std::move(record));
  shard_.log_unlogged();
  code = co_await shard_.log.wait(lsn);
  co_return code;
}

// Only the first sector of each block: the blocks have been written before.
Task<Code> Room::write_reserved(Extent extent) {
  const Slice sector = shard_.scratch.take(kSectorBytes);
  for (u32 block = extent.start; block < extent.end(); ++block) {
    encode_reserved({.device = shard_.device(),
                     .shard = shard_.options.shard,
                     .block = block,
                     .sequence = shard_.next_reservation - 1},
                    sector.data());
    const Code code =
        co_await shard_.writer.write_plain(shard_.layout.offset_of(block), sector.bytes());
    if (code != Code::kOk) {
      co_return code;
    }
    shard_.counters.reserve_bytes_written += kSectorBytes;
  }
  co_return Code::kOk;
}

// Every byte, so that overwriting them later changes no metadata of the file.
Task<Code> Room::write_zeroed(Extent extent) {
  if (image_.empty()) {
    image_ = Slice::allocate(kImageBytes);
  }
  const u64 block_bytes = shard_.layout.block_bytes;
  const u64 end = u64{extent.end()} * block_bytes;
  for (u64 at = u64{extent.start} * block_bytes; at < end;) {
    const u64 size = std::min<u64>(kImageBytes, end - at);
    for (u64 inside = 0; inside < size; inside += kSectorBytes) {
      if ((at + inside) % block_bytes == 0) {
        encode_reserved({.device = shard_.device(),
                         .shard = shard_.options.shard,
                         .block = static_cast<u32>((at + inside) / block_bytes),
                         .sequence = shard_.next_reservation - 1},
                        image_.data() + inside);
      }
    }
    const Bytes bytes = image_.bytes().first(size);
    const Code code =
        co_await shard_.writer.write_plain(shard_.layout.blocks_offset + at, bytes);
    for (u64 inside = 0; inside < size; inside += kSectorBytes) {
      if ((at + inside) % block_bytes == 0) {
        std::memset(image_.data() + inside, 0, kSectorBytes);
      }
    }
    if (code != Code::kOk) {
      co_return code;
    }
    shard_.counters.zero_bytes_written += size;
    at += size;
  }
  co_return Code::kOk;
}

void Room::hand_out(const std::vector<Item>& plan) {
  for (const Item& item : plan) {
    Chunk* chunk = item.chunk.get();
    const bool still_wanted = chunk != nullptr && chunk->open() && !chunk->removing &&
                              !chunk->reborn && !chunk->extents.empty() &&
                              chunk->extents.back().end() == item.extent.start;
    if (still_wanted) {
      append_extent(chunk->extents, item.extent);
    } else {
      put(item.extent);
    }
  }
  if (pool_blocks_ >= demand_) {
    full_ = false;
  }
  changed_.wake_all();
}

}  // namespace pangu::chunk
