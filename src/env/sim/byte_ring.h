#pragma once
#include <algorithm>
#include <bit>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"

namespace pangu::env::sim {

// A queue of bytes that grows and keeps its memory.
class ByteRing {
 public:
  u64 size() const { return head_ - tail_; }
  void clear() { head_ = tail_ = 0; }

  void push(Bytes from) {
    reserve(size() + from.size());
    for (size_t done = 0; done < from.size();) {
      const size_t at = (head_ + done) & (capacity_ - 1);
      const size_t part = std::min(from.size() - done, capacity_ - at);
      std::memcpy(memory_.get() + at, from.data() + done, part);
      done += part;
    }
    head_ += from.size();
  }
  // REQUIRES: into.size() <= size()
  void pop(MutableBytes into) {
    CHECK(into.size() <= size());
    for (size_t done = 0; done < into.size();) {
      const size_t at = (tail_ + done) & (capacity_ - 1);
      const size_t part = std::min(into.size() - done, capacity_ - at);
      std::memcpy(into.data() + done, memory_.get() + at, part);
      done += part;
    }
    tail_ += into.size();
  }

 private:
  void reserve(u64 needed) {
    if (needed <= capacity_) {
      return;
    }
    ByteRing larger;
    larger.capacity_ = std::max<u64>(std::bit_ceil(needed), 4096);
    larger.memory_ = std::make_unique_for_overwrite<std::byte[]>(larger.capacity_);
    const u64 held = size();
    pop({larger.memory_.get(), held});
    memory_ = std::move(larger.memory_);
    capacity_ = larger.capacity_;
    tail_ = 0;
    head_ = held;
  }

  std::unique_ptr<std::byte[]> memory_;
  u64 capacity_ = 0;
  u64 head_ = 0;
  u64 tail_ = 0;
};

}  // namespace pangu::env::sim
