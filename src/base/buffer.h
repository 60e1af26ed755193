#pragma once
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

// Reference-counted slices of pooled memory. A block belongs to one reactor: counts are plain
// integers, and a Slice never crosses threads (background work borrows the raw bytes while the
// owner keeps its Slice).
namespace pangu {

struct BufferBlock {
  std::byte* data = nullptr;
  u32 capacity = 0;
  u32 references = 0;
  // Index of the registered-buffer slot that covers `data`, or -1 (env/env.h, File::write).
  i32 registered_slot = -1;
  // Takes the block back when the last Slice is gone.
  void (*recycle)(BufferBlock*) = nullptr;
  void* owner = nullptr;
  BufferBlock* next = nullptr;
};

class Slice {
 public:
  Slice() = default;
  // Takes a share of `block`, which covers [data, data + size).
  Slice(BufferBlock& block, std::byte* data, size_t size)
      : block_(&block), data_(data), size_(size) {
    CHECK(data >= block.data && data + size <= block.data + block.capacity);
    ++block.references;
  }
  // A block of its own from the heap, 4096-aligned, zeroed. For control paths and tests.
  static Slice allocate(size_t size);
  static Slice copy_of(Bytes bytes);

  Slice(const Slice& other) : block_(other.block_), data_(other.data_), size_(other.size_) {
    if (block_ != nullptr) {
      ++block_->references;
    }
  }
  Slice(Slice&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Slice& operator=(Slice other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Slice() { reset(); }

  void reset() {
    if (block_ != nullptr && --block_->references == 0) {
      block_->recycle(block_);
    }
    block_ = nullptr;
    data_ = nullptr;
    size_ = 0;
  }

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Bytes bytes() const { return {data_, size_}; }
  MutableBytes mutable_bytes() const { return {data_, size_}; }
  BufferBlock* block() const { return block_; }

  // A share of the part [offset, offset + size). REQUIRES: it lies inside this slice.
  Slice part(size_t offset, size_t size) const {
    CHECK(offset + size <= size_);
    Slice out(*this);
    out.data_ += offset;
    out.size_ = size;
    return out;
  }

 private:
  BufferBlock* block_ = nullptr;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace pangu
