#pragma once
#include <optional>
#include <vector>

#include "base/ids.h"

// The last changes of a device's chunks, so that who has listed them once need not do so again. In
// memory only: a new life begins with a random number, which tells old ones apart.
namespace pangu::chunk {

class Changes {
 public:
  static constexpr size_t kKeptMax = 4096;

  // Numbers go on from `before`.
  explicit Changes(u64 before) : last_(before) {}

  void note(const ChunkId& id) {
    if (ids_.size() < kKeptMax) {
      ids_.push_back(id);
    } else {
      ids_[oldest_] = id;
      oldest_ = (oldest_ + 1) % kKeptMax;
    }
    ++last_;
  }
  u64 last() const { return last_; }
  // What changed after the change `number`, each id once, in order. Nothing if that is not known.
  std::optional<std::vector<ChunkId>> since(u64 number, const ChunkId& from,
                                            const ChunkId& until) const;

 private:
  u64 last_;
  std::vector<ChunkId> ids_;  // a ring once it is full
  size_t oldest_ = 0;
};

}  // namespace pangu::chunk
