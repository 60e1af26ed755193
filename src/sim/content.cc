#include "sim/content.h"

#include <algorithm>
#include <bit>

#include "base/hash.h"

namespace pangu::sim {

namespace {

u64 seed_of(const ContentKey& key) {
  return hash_combine(hash_combine(key.file, key.session), key.append);
}

u64 word_at(u64 seed, u64 index) {
  return mix64(seed + (index + 1) * 0x9e3779b97f4a7c15ULL);
}

}  // namespace

void fill_content(const ContentKey& key, u64 from, MutableBytes into) {
  const u64 seed = seed_of(key);
  for (u64 done = 0; done < into.size();) {
    const u64 word = word_at(seed, (from + done) / 8);
    const u64 skip = (from + done) % 8;
    const u64 part = std::min<u64>(8 - skip, into.size() - done);
    std::memcpy(into.data() + done, reinterpret_cast<const std::byte*>(&word) + skip, part);
    done += part;
  }
}

u64 matching_content(const ContentKey& key, u64 from, Bytes bytes) {
  const u64 seed = seed_of(key);
  u64 done = 0;
  while (done < bytes.size()) {
    const u64 word = word_at(seed, (from + done) / 8);
    const u64 skip = (from + done) % 8;
    const u64 part = std::min<u64>(8 - skip, bytes.size() - done);
    u64 found = word;
    std::memcpy(reinterpret_cast<std::byte*>(&found) + skip, bytes.data() + done, part);
    if (found != word) {
      const u64 different = static_cast<u64>(std::countr_zero(found ^ word)) / 8;
      return done + different - skip;
    }
    done += part;
  }
  return bytes.size();
}

}  // namespace pangu::sim
