#pragma once
#include <string_view>

#include "base/ids.h"
#include "base/types.h"

// Hashes that may be persisted or agreed between nodes: defined here, bit for bit, for ever
// (std::hash is not).
namespace pangu {

// The finalizer of splitmix64: a bijection that spreads every input bit.
constexpr u64 mix64(u64 x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}
constexpr u64 hash64(u64 x) {
  return mix64(x + 0x9e3779b97f4a7c15ULL);
}
constexpr u64 hash_combine(u64 a, u64 b) {
  return mix64(a * 0x9e3779b97f4a7c15ULL + hash64(b));
}
// Bytes in 8-byte little-endian words through hash_combine, then the length.
u64 hash64(std::string_view bytes, u64 seed = 0);

// Hashers for unordered containers in memory.
struct IdHash {
  size_t operator()(const ChunkId& id) const {
    return hash_combine(id.file.number, (u64{id.sequence} << 16) | id.shard);
  }
  size_t operator()(const Uuid& id) const { return hash_combine(id.high, id.low); }
  template <class Tag, class Int>
  size_t operator()(const StrongInt<Tag, Int>& id) const {
    return hash64(id.number);
  }
};

}  // namespace pangu
