#pragma once
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

// Small files of `key = "value"` lines, a subset of TOML, in which processes keep their identity
// (identity.toml in a data directory). Comments begin with '#'.
namespace pangu {

using KeyValues = std::map<std::string, std::string, std::less<>>;

std::string format_key_values(std::string_view comment, const KeyValues& values);
// `name` is the file's name for the error, which says the line and what was expected there.
Result<KeyValues> parse_key_values(std::string_view name, std::string_view text);
// The value of `key`, or an error that names file and key.
Result<std::string> required_value(std::string_view name, const KeyValues& values,
                                   std::string_view key);

}  // namespace pangu
