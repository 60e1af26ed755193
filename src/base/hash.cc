#include "base/hash.h"

#include "base/bytes.h"

namespace pangu {

u64 hash64(std::string_view bytes, u64 seed) {
  u64 state = hash64(seed);
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    state = hash_combine(state, load_le<u64>(bytes.data() + at));
  }
  u64 tail = 0;
  for (size_t i = 0; at + i < bytes.size(); ++i) {
    tail |= u64{static_cast<u8>(bytes[at + i])} << (8 * i);
  }
  return hash_combine(hash_combine(state, tail), bytes.size());
}

}  // namespace pangu
