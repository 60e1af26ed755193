#pragma once
#include <compare>
#include <limits>

#include "base/types.h"

// Durations and points of the monotonic clock, in nanoseconds. An Instant is meaningful only within
// the process (or the simulated node) that read it: no protocol decision compares two machines'
// clocks, so it never goes on the wire.
namespace pangu {

struct Duration {
  i64 ns = 0;
  constexpr auto operator<=>(const Duration&) const = default;
  constexpr i64 us() const { return ns / 1000; }
  constexpr i64 ms() const { return ns / 1'000'000; }
  constexpr double seconds() const { return static_cast<double>(ns) / 1e9; }
};
constexpr Duration nanoseconds(i64 n) {
  return {n};
}
constexpr Duration microseconds(i64 n) {
  return {n * 1000};
}
constexpr Duration milliseconds(i64 n) {
  return {n * 1'000'000};
}
constexpr Duration seconds(i64 n) {
  return {n * 1'000'000'000};
}
constexpr Duration operator+(Duration a, Duration b) {
  return {a.ns + b.ns};
}
constexpr Duration operator-(Duration a, Duration b) {
  return {a.ns - b.ns};
}
constexpr Duration operator*(Duration a, i64 n) {
  return {a.ns * n};
}
constexpr Duration operator/(Duration a, i64 n) {
  return {a.ns / n};
}

struct Instant {
  i64 ns = 0;
  constexpr auto operator<=>(const Instant&) const = default;
  static constexpr Instant never() { return {std::numeric_limits<i64>::max()}; }
};
constexpr Instant operator+(Instant t, Duration d) {
  return d.ns >= Instant::never().ns - t.ns ? Instant::never() : Instant{t.ns + d.ns};
}
constexpr Instant operator-(Instant t, Duration d) {
  return {t.ns - d.ns};
}
constexpr Duration operator-(Instant a, Instant b) {
  return {a.ns - b.ns};
}

}  // namespace pangu
