#include "rpc/small_pool.h"

#include <cstdlib>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PANGU_ASAN 1
#endif
#endif

namespace pangu::rpc {

namespace {
constexpr std::array<u32, 5> kSizes = {256, 1024, 4096, 16384, 65536};
#ifdef PANGU_ASAN
// The sanitizer must see each block's own life.
constexpr std::array<u32, 5> kKeptMax = {0, 0, 0, 0, 0};
#else
constexpr std::array<u32, 5> kKeptMax = {4096, 1024, 256, 64, 16};  // 1 MiB of each size
#endif
}  // namespace

struct SmallPool::Core {
  std::array<BufferBlock*, kSizes.size()> free{};
  std::array<u32, kSizes.size()> kept{};
  size_t outside = 0;  // blocks that slices hold
  bool orphaned = false;

  static void recycle(BufferBlock* block) {
    Core& core = *static_cast<Core*>(block->owner);
    core.put(block);
    if (--core.outside == 0 && core.orphaned) {
      delete &core;
    }
  }
  void put(BufferBlock* block) {
    for (size_t i = 0; i < kSizes.size(); ++i) {
      if (kSizes[i] == block->capacity && kept[i] < kKeptMax[i] && !orphaned) {
        block->next = std::exchange(free[i], block);
        ++kept[i];
        return;
      }
    }
    std::free(block);
  }
  void drop_free() {
    for (BufferBlock*& head : free) {
      while (head != nullptr) {
        BufferBlock* next = head->next;
        std::free(head);
        head = next;
      }
    }
  }
};

SmallPool::SmallPool() : core_(new Core) {}

SmallPool::~SmallPool() {
  core_->drop_free();
  core_->orphaned = true;
  if (core_->outside == 0) {
    delete core_;
  }
}

Slice SmallPool::take(size_t size) {
  Core& core = *core_;
  size_t capacity = size;
  BufferBlock* block = nullptr;
  for (size_t i = 0; i < kSizes.size(); ++i) {
    if (size <= kSizes[i]) {
      capacity = kSizes[i];
      block = core.free[i];
      if (block != nullptr) {
        core.free[i] = block->next;
        --core.kept[i];
      }
      break;
    }
  }
  if (block == nullptr) {
    void* memory = std::malloc(sizeof(BufferBlock) + capacity);
    CHECK_NOTE(memory != nullptr, "out of memory");
    block = new (memory) BufferBlock;
    block->data = static_cast<std::byte*>(memory) + sizeof(BufferBlock);
    block->capacity = static_cast<u32>(capacity);
    block->recycle = &Core::recycle;
    block->owner = &core;
  }
  ++core.outside;
  return Slice(*block, block->data, size);
}

}  // namespace pangu::rpc
