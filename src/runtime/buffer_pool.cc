#include "runtime/buffer_pool.h"

#include <cerrno>
#include <sys/mman.h>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/copy_counter.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(address)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(address)
#endif

namespace pangu {

namespace {

constexpr size_t kHugePage = 2 * kMiB;

constexpr u32 pages_of(u32 class_bytes, u64 page_bytes) {
  return static_cast<u32>((class_bytes + page_bytes - 1) / page_bytes);
}

void tell_once(LogLevel level, std::string_view why, std::string_view instead) {
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) {
    log(level, "{}; going on with {}, which costs some speed", why, instead);
  }
}

// The first page of the lowest (or highest) run of `count` free pages, or -1.
int find_run(u64 used, u32 count, bool from_top) {
  const u64 run = count >= 64 ? ~u64{0} : (u64{1} << count) - 1;
  const int last = 64 - static_cast<int>(count);
  for (int i = 0; i <= last; ++i) {
    const int first = from_top ? last - i : i;
    if ((used & (run << first)) == 0) {
      return first;
    }
  }
  return -1;
}

u64 run_mask(int first, u32 count) {
  return ((u64{1} << count) - 1) << first;
}

}  // namespace

BufferPool::BufferPool(env::Env& env, const BufferPoolOptions& options)
    : env_(env), options_(options), use_huge_pages_(options.huge_pages) {
  options_.bytes = round_up(std::max<u64>(options.bytes, 1), kExtentBytes);
  counters_.bytes_max = options_.bytes;
  extents_.reserve(options_.bytes / kExtentBytes);
}

BufferPool::~BufferPool() {
  CHECK_NOTE(counters_.blocks_in_use == 0, "a buffer pool was destroyed under its slices");
  for (const Extent& extent : extents_) {
    if (extent.slot >= 0) {
      env_.unregister_memory(extent.slot);
    }
    ASAN_UNPOISON_MEMORY_REGION(extent.base, kExtentBytes);
    ::munmap(extent.base, kExtentBytes);
  }
}

std::optional<Slice> BufferPool::try_take(size_t size) {
  size_t size_class = 0;
  while (size_class < kClassBytes.size() && kClassBytes[size_class] < size) {
    ++size_class;
  }
  if (size_class == kClassBytes.size()) {
    return std::nullopt;
  }
  if (free_[size_class] == nullptr && !refill(size_class)) {
    ++counters_.refused;
    return std::nullopt;
  }
  auto& block = static_cast<Block&>(*free_[size_class]);
  free_[size_class] = block.next;
  block.next = nullptr;
  ++extents_[block.extent].blocks_in_use[block.page];
  ++counters_.taken;
  ++counters_.blocks_in_use;
  counters_.bytes_in_use += block.capacity;
  counters_.bytes_in_use_peak = std::max(counters_.bytes_in_use_peak, counters_.bytes_in_use);
  ASAN_UNPOISON_MEMORY_REGION(block.data, block.capacity);
  return Slice(block, block.data, size);
}

Task<std::optional<Slice>> BufferPool::take(size_t size, Instant deadline) {
  std::optional<Slice> slice = try_take(size);
  while (!slice && size <= kBlockBytesMax) {
    const bool in_time = co_await waiters_.wait(deadline);
    slice = try_take(size);
    if (!in_time) {
      break;
    }
  }
  co_return slice;
}

void BufferPool::recycle(BufferBlock* block) {
  static_cast<BufferPool*>(block->owner)->give_back(static_cast<Block&>(*block));
}

void BufferPool::give_back(Block& block) {
  ASAN_POISON_MEMORY_REGION(block.data, block.capacity);
  --extents_[block.extent].blocks_in_use[block.page];
  --counters_.blocks_in_use;
  counters_.bytes_in_use -= block.capacity;
  block.next = free_[block.size_class];
  free_[block.size_class] = &block;
  // All of them: this block may be too small for the first, and enough for another.
  waiters_.wake_all();
}

bool BufferPool::refill(size_t size_class) {
  for (u32 i = 0; i < extents_.size(); ++i) {
    if (carve(size_class, i)) {
      return true;
    }
  }
  if (add_extent() && carve(size_class, static_cast<u32>(extents_.size() - 1))) {
    return true;
  }
  if (!reclaim()) {
    return false;
  }
  for (u32 i = 0; i < extents_.size(); ++i) {
    if (carve(size_class, i)) {
      return true;
    }
  }
  return false;
}

// Makes blocks of a class from free pages of an extent. Large ones come from the top and small ones
// from the bottom, so that small ones do not scatter over what large ones need.
bool BufferPool::carve(size_t size_class, u32 extent_index) {
  Extent& extent = extents_[extent_index];
  const u32 block_bytes = kClassBytes[size_class];
  const u32 pages = pages_of(block_bytes, kPageBytes);
  const int first = find_run(extent.used_pages, pages, block_bytes == kBlockBytesMax);
  if (first < 0) {
    return false;
  }
  extent.used_pages |= run_mask(first, pages);
  std::byte* const start = extent.base + static_cast<u64>(first) * kPageBytes;
  const u64 count = std::max<u64>(1, kPageBytes / block_bytes);
  for (u64 i = count; i-- > 0;) {
    Block& block =
        new_block(size_class, extent_index, static_cast<u32>(first), start + i * block_bytes);
    block.next = free_[size_class];
    free_[size_class] = &block;
  }
  return true;
}

BufferPool::Block& BufferPool::new_block(size_t size_class, u32 extent, u32 page, std::byte* data) {
  Block* block = nullptr;
  if (spare_ != nullptr) {
    block = static_cast<Block*>(spare_);
    spare_ = spare_->next;
  } else {
    block = &blocks_.emplace_back();
  }
  block->data = data;
  block->capacity = kClassBytes[size_class];
  block->registered_slot = extents_[extent].slot;
  block->recycle = recycle;
  block->owner = this;
  block->size_class = static_cast<u8>(size_class);
  block->page = static_cast<u8>(page);
  block->extent = extent;
  return *block;
}

// Gives the pages of all spans in which nothing is in use back to their extents.
bool BufferPool::reclaim() {
  bool found = false;
  for (size_t size_class = 0; size_class < kClassBytes.size(); ++size_class) {
    const u32 pages = pages_of(kClassBytes[size_class], kPageBytes);
    BufferBlock** link = &free_[size_class];
    while (*link != nullptr) {
      auto& block = static_cast<Block&>(**link);
      Extent& extent = extents_[block.extent];
      if (extent.blocks_in_use[block.page] != 0) {
        link = &block.next;
        continue;
      }
      *link = block.next;
      extent.used_pages &= ~run_mask(block.page, pages);
      block.next = spare_;
      spare_ = &block;
      found = true;
      ++counters_.reclaimed;
    }
  }
  if (found) {
    REACHED("buffer pool: spans moved between classes");
  }
  return found;
}

std::byte* BufferPool::map_extent() {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  if (use_huge_pages_) {
    void* huge = ::mmap(nullptr, kExtentBytes, kProtection, kFlags | MAP_HUGETLB, -1, 0);
    if (huge != MAP_FAILED) {
      return static_cast<std::byte*>(huge);
    }
  }
  // Aligned to a huge page by cutting off what is too much.
  void* mapped = ::mmap(nullptr, kExtentBytes + kHugePage, kProtection, kFlags, -1, 0);
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  auto* const start = static_cast<std::byte*>(mapped);
  const u64 skip = round_up(reinterpret_cast<u64>(start), kHugePage) - reinterpret_cast<u64>(start);
  if (skip > 0) {
    ::munmap(start, skip);
  }
  if (skip < kHugePage) {
    ::munmap(start + skip + kExtentBytes, kHugePage - skip);
  }
  if (use_huge_pages_) {
    if (::madvise(start + skip, kExtentBytes, MADV_HUGEPAGE) == 0) {
      tell_once(LogLevel::info, "no huge pages are reserved (vm.nr_hugepages)", "transparent ones");
    } else {
      tell_once(LogLevel::warn, "this kernel has no huge pages", "ordinary ones");
      use_huge_pages_ = false;
    }
  }
  return start + skip;
}

bool BufferPool::add_extent() {
  if (counters_.bytes_mapped + kExtentBytes > options_.bytes) {
    return false;
  }
  Extent extent;
  extent.base = map_extent();
  if (extent.base == nullptr) {
    return false;
  }
  counters_.bytes_mapped += kExtentBytes;
  if (options_.registered) {
    extent.slot = env_.register_memory(extent.base, kExtentBytes);
    // Beyond the memory-lock limit there is no use in asking again.
    options_.registered = extent.slot >= 0;
    counters_.bytes_registered += extent.slot >= 0 ? kExtentBytes : 0;
  }
  ASAN_POISON_MEMORY_REGION(extent.base, kExtentBytes);
  extents_.push_back(extent);
  return true;
}

Slice copy_out(const Slice& slice) {
  if (slice.empty()) {
    return Slice();
  }
  payload_bytes_copied += slice.size();
  return Slice::copy_of(slice.bytes());
}

}  // namespace pangu
