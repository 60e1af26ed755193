#include "base/key_values.h"

#include <fmt/format.h>

namespace pangu {

namespace {
std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == text.npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}
}  // namespace

std::string format_key_values(std::string_view comment, const KeyValues& values) {
  std::string out = fmt::format("# {}\n", comment);
  for (const auto& [key, value] : values) {
    CHECK(value.find_first_of("\"\n\\") == value.npos);
    out += fmt::format("{} = \"{}\"\n", key, value);
  }
  return out;
}

Result<KeyValues> parse_key_values(std::string_view name, std::string_view text) {
  KeyValues out;
  int number = 0;
  while (!text.empty()) {
    ++number;
    const auto end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') {
      continue;
    }
    const auto equals = line.find('=');
    const std::string_view key = trimmed(line.substr(0, equals));
    std::string_view value = equals == line.npos ? "" : trimmed(line.substr(equals + 1));
    if (equals == line.npos || key.empty() || value.size() < 2 || value.front() != '"' ||
        value.back() != '"' || value.substr(1, value.size() - 2).find('"') != value.npos) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{} line {}: 'key = \"value\"' is expected, not '{}'", name, number,
                               line.substr(0, 80)));
    }
    value = value.substr(1, value.size() - 2);
    if (!out.emplace(key, value).second) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{} line {}: '{}' is given twice", name, number, key));
    }
  }
  return out;
}

Result<std::string> required_value(std::string_view name, const KeyValues& values,
                                   std::string_view key) {
  const auto found = values.find(key);
  if (found == values.end()) {
    return Error(Code::kInvalidArgument, fmt::format("{}: '{}' is missing", name, key));
  }
  return found->second;
}

}  // namespace pangu
