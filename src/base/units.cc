#include "base/units.h"

#include <charconv>
#include <fmt/format.h>

namespace pangu {

namespace {
struct Split {
  u64 number;
  std::string unit;  // lower case
};

std::optional<Split> split_number(std::string_view text) {
  Split out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out.number);
  if (error != std::errc()) {
    return std::nullopt;
  }
  for (const char* at = end; at < text.data() + text.size(); ++at) {
    out.unit += static_cast<char>(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
  }
  return out;
}
}  // namespace

Result<u64> parse_size(std::string_view text) {
  const auto split = split_number(text);
  if (split) {
    static constexpr std::string_view kPowers = "kmgt";
    std::string unit = split->unit;
    if (unit.ends_with("ib")) {
      unit.resize(unit.size() - 2);
    } else if (unit.ends_with("b")) {
      unit.resize(unit.size() - 1);
    }
    u64 factor = 1;
    if (unit.size() == 1 && kPowers.find(unit[0]) != kPowers.npos) {
      factor = u64{1} << (10 * (kPowers.find(unit[0]) + 1));
      unit.clear();
    }
    u64 bytes = 0;
    if (unit.empty() && !__builtin_mul_overflow(split->number, factor, &bytes)) {
      return bytes;
    }
  }
  return Error(
      Code::kInvalidArgument,
      fmt::format("'{}' is no size: write a whole number and k, M, G or T, as in 64M", text));
}

Result<Duration> parse_duration(std::string_view text) {
  const auto split = split_number(text);
  if (split && split->number < 1'000'000'000) {
    const i64 n = static_cast<i64>(split->number);
    if (split->unit == "us") {
      return microseconds(n);
    }
    if (split->unit == "ms") {
      return milliseconds(n);
    }
    if (split->unit == "s") {
      return seconds(n);
    }
    if (split->unit == "m") {
      return seconds(n * 60);
    }
    if (split->unit == "h") {
      return seconds(n * 3600);
    }
  }
  return Error(
      Code::kInvalidArgument,
      fmt::format("'{}' is no duration: write a whole number and us, ms, s, m or h, as in 10ms",
                  text));
}

std::string format_size(u64 bytes) {
  static constexpr const char* kNames[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < kKiB) {
    return fmt::format("{} B", bytes);
  }
  double value = static_cast<double>(bytes);
  size_t power = 0;
  while (value >= 1024 && power + 1 < std::size(kNames)) {
    value /= 1024;
    ++power;
  }
  return fmt::format("{:.1f} {}", value, kNames[power]);
}

std::string format_duration(Duration d) {
  if (d < microseconds(1000)) {
    return fmt::format("{} us", d.us());
  }
  if (d < seconds(1)) {
    return fmt::format("{:.1f} ms", d.seconds() * 1e3);
  }
  return fmt::format("{:.1f} s", d.seconds());
}

}  // namespace pangu
