#include "chunk/store/block_map.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace pangu::chunk {

namespace {
// The bits of word `word` that lie in [from, to).
u64 mask_of(u32 word, u32 from, u32 to) {
  const u32 low = std::max(from, word * 64) - word * 64;
  const u32 high = std::min(to - word * 64, 64u);
  const u64 below_high = high == 64 ? ~u64{0} : (u64{1} << high) - 1;
  return below_high & ~((u64{1} << low) - 1);
}
}  // namespace

bool Bitmap::test_all(Extent extent) const { return next_clear(extent.start) >= extent.end(); }
bool Bitmap::test_any(Extent extent) const { return next_set(extent.start) < extent.end(); }

void Bitmap::set(Extent extent) {
  CHECK(extent_fits(extent, bits_));
  for (u32 word = extent.start / 64; word * 64 < extent.end(); ++word) {
    const u64 mask = mask_of(word, extent.start, extent.end());
    count_ += static_cast<u32>(std::popcount(mask & ~words_[word]));
    words_[word] |= mask;
  }
}

void Bitmap::clear(Extent extent) {
  CHECK(extent_fits(extent, bits_));
  for (u32 word = extent.start / 64; word * 64 < extent.end(); ++word) {
    const u64 mask = mask_of(word, extent.start, extent.end());
    count_ -= static_cast<u32>(std::popcount(mask & words_[word]));
    words_[word] &= ~mask;
  }
}

std::vector<Extent> Bitmap::extents() const {
  std::vector<Extent> out;
  for (u32 at = next_set(0); at < bits_;) {
    const u32 end = next_clear(at);
    out.push_back({at, end - at});
    at = next_set(end);
  }
  return out;
}

u32 Bitmap::next_set(u32 from) const {
  for (u32 word = from / 64; word < words_.size(); ++word) {
    u64 bits = words_[word];
    if (word == from / 64) {
      bits &= ~u64{0} << (from % 64);
    }
    if (bits != 0) {
      return std::min(word * 64 + static_cast<u32>(std::countr_zero(bits)), bits_);
    }
  }
  return bits_;
}

u32 Bitmap::next_clear(u32 from) const {
  for (u32 word = from / 64; word < words_.size(); ++word) {
    u64 bits = ~words_[word];
    if (word == from / 64) {
      bits &= ~u64{0} << (from % 64);
    }
    if (bits != 0) {
      return std::min(word * 64 + static_cast<u32>(std::countr_zero(bits)), bits_);
    }
  }
  return bits_;
}

std::optional<Extent> BlockMap::take_at(u32 at, u32 want) {
  if (at >= blocks() || used.test(at) || want == 0) {
    return std::nullopt;
  }
  const u32 end = std::min(used.next_set(at), blocks());
  const Extent extent{at, std::min(want, end - at)};
  used.set(extent);
  return extent;
}

std::optional<Extent> BlockMap::take(u32 want, u32 gap) {
  if (want == 0 || free() == 0) {
    return std::nullopt;
  }
  Extent best;
  const auto look = [&](u32 from, u32 to) {
    for (u32 at = used.next_clear(from); at < to;) {
      const u32 end = used.next_set(at);
      const u32 count = std::min(end - at, want);
      if (count > best.count) {
        best = {at, count};
      }
      if (best.count == want) {
        return;
      }
      at = used.next_clear(end);
    }
  };
  look(std::min(cursor_, blocks()), blocks());
  if (best.count < want) {
    look(0, std::min(cursor_, blocks()));
  }
  if (best.count == 0) {
    return std::nullopt;
  }
  used.set(best);
  cursor_ = std::min(best.end() + gap, blocks());
  return best;
}

}  // namespace pangu::chunk
