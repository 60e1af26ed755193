#pragma once
#include <cstddef>
#include <cstdint>

// Short integer names used all over the project.
namespace pangu {
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

inline constexpr u64 kKiB = 1024;
inline constexpr u64 kMiB = 1024 * kKiB;
inline constexpr u64 kGiB = 1024 * kMiB;
inline constexpr u64 kTiB = 1024 * kGiB;

constexpr u64 round_up(u64 value, u64 multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr u64 round_down(u64 value, u64 multiple) {
  return value / multiple * multiple;
}
}  // namespace pangu
