#include "base/buffer.h"

#include <cstdlib>

namespace pangu {

Slice Slice::allocate(size_t size) {
  const size_t capacity = round_up(size == 0 ? 1 : size, 4096);
  auto* block = new BufferBlock;
  block->data = static_cast<std::byte*>(std::aligned_alloc(4096, capacity));
  CHECK_NOTE(block->data != nullptr, "out of memory");
  std::memset(block->data, 0, capacity);
  block->capacity = static_cast<u32>(capacity);
  block->recycle = [](BufferBlock* dead) {
    std::free(dead->data);
    delete dead;
  };
  return Slice(*block, block->data, size);
}

Slice Slice::copy_of(Bytes bytes) {
  Slice out = allocate(bytes.size());
  if (!bytes.empty()) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
  }
  return out;
}

}  // namespace pangu
