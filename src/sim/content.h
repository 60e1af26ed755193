#pragma once
#include "base/bytes.h"

// The bytes that simulated writers append: pseudo-random, and different for every place in every
// append, so that a byte that is missing, doubled, moved or changed is always noticed.
namespace pangu::sim {

struct ContentKey {
  u64 file = 0;
  u32 session = 0;  // one writer, from its open to its end
  u32 append = 0;
};

// The bytes [from, from + into.size()) of an append.
void fill_content(const ContentKey& key, u64 from, MutableBytes into);
// How many bytes from the start of `bytes` on are the append's bytes from `from` on.
u64 matching_content(const ContentKey& key, u64 from, Bytes bytes);

}  // namespace pangu::sim
