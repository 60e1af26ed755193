#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

// The kinds of value that a flag or a configuration key can take, checked once where they are read.
namespace pangu::app {

enum class ValueKind : u8 {
  toggle,    // true or false; as a flag it takes no value
  text,
  count,     // a whole number
  size,      // "64M"
  duration,  // "10ms"
  list,      // texts; kept as one text with a newline after each but the last
};
inline constexpr char kListSeparator = '\n';

// Whether `text` is a value of this kind; with `choices` ("auto|io_uring|epoll") one of them.
Status check_value(ValueKind kind, std::string_view choices, std::string_view text);
Result<u64> parse_count(std::string_view text);
Result<bool> parse_toggle(std::string_view text);
// The parts of `text` between separators, without empty ones.
std::vector<std::string> split(std::string_view text, char separator);

}  // namespace pangu::app
