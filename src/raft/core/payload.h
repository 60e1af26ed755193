#pragma once
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/types.h"

// The immutable bytes of an entry. Shared, because an entry is at the same time in the tail of the
// log, in a write to disk, in messages to several members and in the driver's cache. The count is a
// plain integer: a group lives on one reactor, and so do all holders of its entries.
namespace pangu::raft {

class Payload {
 public:
  Payload() = default;
  static Payload copy_of(Bytes bytes) {
    Payload out;
    if (!bytes.empty()) {
      void* memory = ::operator new(sizeof(Block) + bytes.size());
      out.block_ = new (memory) Block{1, bytes.size()};
      std::memcpy(out.block_ + 1, bytes.data(), bytes.size());
    }
    return out;
  }
  static Payload copy_of(std::string_view text) { return copy_of(as_bytes_of(text)); }

  Payload(const Payload& other) : block_(other.block_) {
    if (block_ != nullptr) {
      ++block_->references;
    }
  }
  Payload(Payload&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Payload& operator=(Payload other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Payload() {
    if (block_ != nullptr && --block_->references == 0) {
      ::operator delete(block_);
    }
  }

  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  Bytes bytes() const {
    return block_ == nullptr ? Bytes() : Bytes(reinterpret_cast<std::byte*>(block_ + 1), size());
  }
  std::string_view text() const { return as_text(bytes()); }

 private:
  struct Block {
    u64 references;
    u64 size;
  };
  Block* block_ = nullptr;
};

}  // namespace pangu::raft
