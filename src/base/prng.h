#pragma once
#include "base/check.h"
#include "base/hash.h"
#include "base/types.h"

namespace pangu {

// A small deterministic generator (splitmix64): the same seed gives the same numbers on every
// machine and compiler. For simulation, tests, jitter and placement; not for secrets.
class Prng {
 public:
  explicit Prng(u64 seed) : state_(hash64(seed)) {}
  u64 next() { return mix64(state_ += 0x9e3779b97f4a7c15ULL); }
  // Uniform in [0, bound). REQUIRES: bound > 0
  u64 below(u64 bound) {
    CHECK(bound > 0);
    return static_cast<u64>((static_cast<Wide>(next()) * bound) >> 64);
  }
  // Uniform in [low, high].
  u64 between(u64 low, u64 high) { return low + below(high - low + 1); }
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  bool chance(double probability) { return unit() < probability; }

 private:
  __extension__ using Wide = unsigned __int128;
  u64 state_;
};

}  // namespace pangu
