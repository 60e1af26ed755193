#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "env/env.h"
#include "runtime/sync.h"

// The pool of a reactor's receive and device buffers: huge pages where they can be had, registered
// with the Env where it can be done, handed out as reference-counted Slices.
//
// Invariants
// 1. Each block is 4096-aligned and lies within one registration; its size is that of its class.
// 2. The block given back last is handed out first: the working set stays in the processor's cache.
// 3. Memory is mapped, and registered, extent by extent as it is first needed: an idle pool costs
//    address space only. Extents stay until the pool goes.
// 4. Taking and giving back allocate nothing after warm-up. Whole free spans move between classes
//    only when a class has run dry.
//
// Belongs to one reactor; not thread safe.
namespace pangu {

struct BufferPoolOptions {
  u64 bytes = 12 * kMiB;  // in all; rounded up to whole extents
  bool huge_pages = true;
  bool registered = true;
};

struct BufferPoolCounters {
  u64 bytes_max = 0;
  u64 bytes_mapped = 0;
  u64 bytes_registered = 0;
  u64 bytes_in_use = 0;  // in whole blocks
  u64 bytes_in_use_peak = 0;
  u64 blocks_in_use = 0;
  u64 taken = 0;
  u64 refused = 0;    // there was no room
  u64 reclaimed = 0;  // spans that moved from one class to another
};

class BufferPool {
 public:
  static constexpr std::array<u32, 5> kClassBytes = {4 * kKiB, 16 * kKiB, 64 * kKiB, 256 * kKiB,
                                                     1088 * kKiB};
  static constexpr u64 kBlockBytesMax = kClassBytes.back();
  static constexpr u64 kExtentBytes = 4 * kMiB;

  // `env` must outlive the pool.
  BufferPool(env::Env& env, const BufferPoolOptions& options);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  // REQUIRES: every Slice is gone.
  ~BufferPool();

  // A slice of exactly `size` bytes with unspecified contents, from the smallest class that holds
  // it. Nothing if the pool is used up, or if size > kBlockBytesMax.
  std::optional<Slice> try_take(size_t size);
  // Waits for room. Nothing if the deadline passed first, or if size > kBlockBytesMax.
  Task<std::optional<Slice>> take(size_t size, Instant deadline);
  // Woken whenever a block has come back.
  WaitList& room() { return waiters_; }
  const BufferPoolCounters& counters() const { return counters_; }

 private:
  static constexpr u64 kPageBytes = 64 * kKiB;
  static constexpr u64 kPages = kExtentBytes / kPageBytes;
  static_assert(kPages == 64, "a page map is one u64");

  struct Extent {
    std::byte* base = nullptr;
    i32 slot = -1;
    u64 used_pages = 0;                      // a bit a page
    std::array<u8, kPages> blocks_in_use{};  // of the slab in each page of small blocks
  };
  struct Block : BufferBlock {
    u8 size_class = 0;
    u8 page = 0;  // its first
    u32 extent = 0;
  };

  static void recycle(BufferBlock* block);
  void give_back(Block& block);
  bool refill(size_t size_class);
  bool carve(size_t size_class, u32 extent);
  bool add_extent();
  std::byte* map_extent();
  bool reclaim();
  Block& new_block(size_t size_class, u32 extent, u32 page, std::byte* data);

  env::Env& env_;
  BufferPoolOptions options_;
  bool use_huge_pages_;
  std::vector<Extent> extents_;
  std::deque<Block> blocks_;      // addresses are stable
  BufferBlock* spare_ = nullptr;  // headers without memory
  std::array<BufferBlock*, kClassBytes.size()> free_{};
  WaitList waiters_;
  BufferPoolCounters counters_;
};

// A copy on the heap, so that a block which would be held for long goes back to its pool. Counted
// as copied payload.
Slice copy_out(const Slice& slice);

}  // namespace pangu
