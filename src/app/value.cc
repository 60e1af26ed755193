#include "app/value.h"

#include <fmt/format.h>

#include <charconv>

#include "app/nearest.h"
#include "base/units.h"

namespace pangu::app {

Result<u64> parse_count(std::string_view text) {
  u64 number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || at != end) {
    return Error(Code::kInvalidArgument, fmt::format("'{}' is no whole number", text));
  }
  return number;
}

Result<bool> parse_toggle(std::string_view text) {
  if (text == "true" || text == "yes" || text == "on" || text == "1") {
    return true;
  }
  if (text == "false" || text == "no" || text == "off" || text == "0") {
    return false;
  }
  return Error(Code::kInvalidArgument, fmt::format("'{}' is neither true nor false", text));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) {
      parts.emplace_back(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

namespace {
Status check_choice(std::string_view choices, std::string_view text) {
  const std::vector<std::string> allowed = split(choices, '|');
  if (std::find(allowed.begin(), allowed.end(), text) != allowed.end()) {
    return {};
  }
  const std::vector<std::string_view> words(allowed.begin(), allowed.end());
  return Error(Code::kInvalidArgument,
               fmt::format("'{}' is none of {}{}", text, choices, did_you_mean(text, words)));
}

template <class T>
Status status_of(Result<T> result) {
  return result.ok() ? Status() : Status(std::move(result).error());
}
}  // namespace

Status check_value(ValueKind kind, std::string_view choices, std::string_view text) {
  if (!choices.empty()) {
    return check_choice(choices, text);
  }
  switch (kind) {
    case ValueKind::toggle:
      return status_of(parse_toggle(text));
    case ValueKind::count:
      return status_of(parse_count(text));
    case ValueKind::size:
      return status_of(parse_size(text));
    case ValueKind::duration:
      return status_of(parse_duration(text));
    case ValueKind::text:
    case ValueKind::list:
      return {};
  }
  return {};
}

}  // namespace pangu::app
