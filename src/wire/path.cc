#include "wire/path.h"

#include <algorithm>
#include <string>

#include <fmt/core.h>

namespace pangu::wire {
namespace {

// `path` as a person can read it: anything strange is escaped, anything long is cut.
std::string shown(std::string_view path) {
  constexpr size_t kShown = 200;
  const bool strange = !is_utf8(path) || std::any_of(path.begin(), path.end(), [](char c) {
    return static_cast<u8>(c) < 0x20 || c == 0x7f;
  });
  if (!strange && path.size() <= kShown) {
    return std::string(path);
  }
  std::string out;
  for (const char c : path.substr(0, kShown)) {
    const bool plain = static_cast<u8>(c) >= 0x20 && static_cast<u8>(c) < 0x7f;
    out += plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<u8>(c));
  }
  return path.size() > kShown ? out + "..." : out;
}

Error refused(std::string_view path, std::string_view rule) {
  return Error(Code::kInvalidArgument, fmt::format("path '{}': {}", shown(path), rule));
}

// The rule that a part without '/' breaks, apart from those of characters; empty if none.
std::string broken_rule(std::string_view name) {
  if (name == "." || name == "..") {
    return "must not contain '.' or '..' as a part";
  }
  if (name.size() > kNameBytesMax) {
    return fmt::format("has a part of {} bytes; at most {} are allowed", name.size(),
                       kNameBytesMax);
  }
  return {};
}

// Bytes of the well-formed UTF-8 character that `text` begins with, or 0.
size_t character_size(std::string_view text) {
  const auto at = [text](size_t i) { return static_cast<u8>(text[i]); };
  const u8 lead = at(0);
  if (lead < 0x80) {
    return 1;
  }
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) {
    return 0;
  }
  for (size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) {
      return 0;
    }
  }
  const bool overlong = (lead == 0xe0 && at(1) < 0xa0) || (lead == 0xf0 && at(1) < 0x90);
  const bool surrogate = lead == 0xed && at(1) >= 0xa0;
  const bool beyond = lead == 0xf4 && at(1) >= 0x90;
  return overlong || surrogate || beyond ? 0 : size;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t size = character_size(text);
    if (size == 0) {
      return false;
    }
    text.remove_prefix(size);
  }
  return true;
}

Status check_name(std::string_view name) {
  const auto refuse = [name](std::string_view rule) {
    return Error(Code::kInvalidArgument, fmt::format("name '{}': {}", shown(name), rule));
  };
  if (name.empty() || name.find('/') != std::string_view::npos) {
    return refuse("must be one part of a path: not empty, no '/'");
  }
  if (name.find('\0') != std::string_view::npos) {
    return refuse("must not contain a NUL byte");
  }
  if (!is_utf8(name)) {
    return refuse("must be valid UTF-8");
  }
  if (const std::string rule = broken_rule(name); !rule.empty()) {
    return refuse(rule);
  }
  return {};
}

Result<std::vector<std::string_view>> parse_path(std::string_view path) {
  if (path.empty() || path.front() != '/') {
    return refused(path, "must be absolute: it has to begin with '/'");
  }
  if (path.size() > kPathBytesMax) {
    return refused(path, fmt::format("has {} bytes; at most {} are allowed", path.size(),
                                     kPathBytesMax));
  }
  if (path.find('\0') != std::string_view::npos) {
    return refused(path, "must not contain a NUL byte");
  }
  if (!is_utf8(path)) {
    return refused(path, "must be valid UTF-8");
  }
  std::vector<std::string_view> names;
  if (path == "/") {
    return names;
  }
  std::string_view rest = path.substr(1);
  for (;;) {
    const size_t slash = rest.find('/');
    const std::string_view name = rest.substr(0, slash);
    if (name.empty()) {
      return refused(path, slash == std::string_view::npos ? "must not end with '/'"
                                                           : "must not have an empty part ('//')");
    }
    if (const std::string rule = broken_rule(name); !rule.empty()) {
      return refused(path, rule);
    }
    names.push_back(name);
    if (names.size() > kPathDepthMax) {
      return refused(path, fmt::format("is more than {} parts deep", kPathDepthMax));
    }
    if (slash == std::string_view::npos) {
      return names;
    }
    rest.remove_prefix(slash + 1);
  }
}

}  // namespace pangu::wire
