#include "chunk/store/buffers.h"

#include <cstdlib>

namespace pangu::chunk {

namespace {
constexpr size_t kClasses = 10;  // 4 KiB … 2 MiB
constexpr size_t kSmallest = 4096;
constexpr size_t kKeptPerClass = 8;
}  // namespace

struct HeapBuffers::Core {
  std::array<BufferBlock*, kClasses> free{};
  std::array<size_t, kClasses> free_count{};
  size_t out = 0;  // blocks in slices
  bool orphaned = false;

  static size_t class_of(size_t size) {
    size_t index = 0;
    while ((kSmallest << index) < size) {
      ++index;
    }
    return index;
  }
  static void destroy(BufferBlock* block) {
    std::free(block->data);
    delete block;
  }
  static void take_back(BufferBlock* block) {
    Core* core = static_cast<Core*>(block->owner);
    --core->out;
    const size_t index = class_of(block->capacity);
    if (core->orphaned || core->free_count[index] >= kKeptPerClass) {
      destroy(block);
      if (core->orphaned && core->out == 0) {
        delete core;
      }
      return;
    }
    block->next = core->free[index];
    core->free[index] = block;
    ++core->free_count[index];
  }
  Slice take(size_t size) {
    const size_t index = class_of(size);
    CHECK(index < kClasses);
    BufferBlock* block = free[index];
    if (block != nullptr) {
      free[index] = block->next;
      --free_count[index];
    } else {
      block = new BufferBlock;
      block->capacity = static_cast<u32>(kSmallest << index);
      block->data = static_cast<std::byte*>(std::aligned_alloc(4096, block->capacity));
      CHECK_NOTE(block->data != nullptr, "out of memory");
      block->owner = this;
      block->recycle = take_back;
    }
    ++out;
    return Slice(*block, block->data, size);
  }
};

HeapBuffers::HeapBuffers() : core_(new Core) {}

HeapBuffers::~HeapBuffers() {
  for (BufferBlock*& head : core_->free) {
    while (head != nullptr) {
      Core::destroy(std::exchange(head, head->next));
    }
  }
  core_->orphaned = true;
  if (core_->out == 0) {
    delete core_;
  }
}

Slice HeapBuffers::take(size_t size) { return core_->take(size); }

}  // namespace pangu::chunk
