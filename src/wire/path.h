#pragma once
#include <string_view>
#include <vector>

#include "base/result.h"

// What a path may be: absolute, parts separated by one '/', none of them ".", ".." or empty, valid
// UTF-8 without NUL, each at most 255 bytes, 4096 bytes and 64 parts in all. "/" is the root.
// Clients take paths apart, masters check each name: both by these rules.
namespace pangu::wire {

inline constexpr size_t kNameBytesMax = 255;
inline constexpr size_t kPathBytesMax = 4096;
inline constexpr size_t kPathDepthMax = 64;

// The parts of `path`, which point into it; none for the root. InvalidArgument names the rule that
// the path breaks.
Result<std::vector<std::string_view>> parse_path(std::string_view path);

// Whether `name` may be one part of a path; InvalidArgument names the rule that it breaks.
Status check_name(std::string_view name);

// Whether `text` is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace pangu::wire
