#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "base/types.h"

// Sizes and durations as people write and read them.
namespace pangu {

// "4096", "4k", "64M", "1MiB", "2G", "1TiB": binary multiples whatever the case or the "iB".
Result<u64> parse_size(std::string_view text);
// "10ms", "500us", "2s", "1m"; a bare number is refused, because its unit would be a guess.
Result<Duration> parse_duration(std::string_view text);
std::string format_size(u64 bytes);       // "64.0 MiB", "512 B"
std::string format_duration(Duration d);  // "187 us", "2.1 ms", "3.0 s"

}  // namespace pangu
