#include "chunk/store/memory_file.h"

#include <algorithm>
#include <cerrno>

namespace pangu::chunk {

MemoryFile::Finish::Finish(MemoryFile* file)
    : Timer([](Timer* timer) noexcept { static_cast<Finish*>(timer)->owner->run_completions(); }),
      owner(file) {}

MemoryFile::MemoryFile(Reactor& reactor, u64 size) : reactor_(&reactor), size_(size) {
  blocks_.resize((size + kBlock - 1) / kBlock);
}

MemoryFile::~MemoryFile() = default;

Status MemoryFile::resize(u64 bytes) {
  if (bytes < size_ && bytes % kBlock != 0 && blocks_[bytes / kBlock] != nullptr) {
    std::memset(blocks_[bytes / kBlock].get() + bytes % kBlock, 0, kBlock - bytes % kBlock);
  }
  size_ = bytes;
  blocks_.resize((bytes + kBlock - 1) / kBlock);
  return ok_status();
}

void MemoryFile::peek(u64 offset, MutableBytes into) const {
  while (!into.empty()) {
    const u64 inside = offset % kBlock;
    const size_t step = std::min<size_t>(into.size(), kBlock - inside);
    const auto& block = blocks_[offset / kBlock];
    if (block == nullptr) {
      std::memset(into.data(), 0, step);
    } else {
      std::memcpy(into.data(), block.get() + inside, step);
    }
    into = into.subspan(step);
    offset += step;
  }
}

void MemoryFile::poke(u64 offset, Bytes from) {
  while (!from.empty()) {
    const u64 inside = offset % kBlock;
    const size_t step = std::min<size_t>(from.size(), kBlock - inside);
    auto& block = blocks_[offset / kBlock];
    if (block == nullptr) {
      block = step == kBlock ? std::make_unique_for_overwrite<std::byte[]>(kBlock)
                             : std::make_unique<std::byte[]>(kBlock);
    }
    std::memcpy(block.get() + inside, from.data(), step);
    from = from.subspan(step);
    offset += step;
  }
}

void MemoryFile::read(env::Operation& op, u64 offset, MutableBytes into) {
  if (read_error_ != 0) {
    complete(op, -read_error_);
    return;
  }
  const u64 there = offset < size_ ? size_ - offset : 0;
  const size_t size = std::min<size_t>(into.size(), there);
  peek(offset, into.first(size));
  complete(op, static_cast<i64>(size));
}

bool MemoryFile::grows(u64 offset, u64 size) const {
  const auto first = blocks_.begin() + static_cast<std::ptrdiff_t>(offset / kBlock);
  const auto last = blocks_.begin() + static_cast<std::ptrdiff_t>((offset + size - 1) / kBlock);
  return std::find(first, last + 1, nullptr) != last + 1;
}

void MemoryFile::write(env::Operation& op, u64 offset, Bytes from, env::Durability, i32) {
  ++writes_;
  if (write_error_ != 0) {
    complete(op, -write_error_);
    return;
  }
  if (offset + from.size() > size_ || (refuse_growth_ && grows(offset, from.size()))) {
    complete(op, -ENOSPC);
    return;
  }
  poke(offset, from);
  complete(op, static_cast<i64>(from.size()));
}

void MemoryFile::flush(env::Operation& op) {
  ++flushes_;
  complete(op, -flush_error_);
}

void MemoryFile::complete(env::Operation& op, i64 result) {
  pending_.push_back({&op, result});
  if (!finish_.armed()) {
    finish_.arm(*reactor_, reactor_->now());
  }
}

void MemoryFile::run_completions() {
  running_.swap(pending_);
  for (const Pending& each : running_) {
    each.op->done(each.op, each.result);
  }
  running_.clear();
}

}  // namespace pangu::chunk
