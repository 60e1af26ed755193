#include "base/ids.h"

#include <charconv>
#include <fmt/format.h>

namespace pangu {

std::string to_string(FileId id) {
  return fmt::format("0x{:016x}", id.number);
}
std::string to_string(const ChunkId& id) {
  return fmt::format("0x{:016x}.{:08x}.{:04x}", id.file.number, id.sequence, id.shard);
}
std::string to_string(const Uuid& id) {
  return fmt::format("{:016x}{:016x}", id.high, id.low);
}
std::string to_string(ServerId id) {
  return fmt::format("{}", id.number);
}
std::string to_string(Epoch epoch) {
  return fmt::format("{}", epoch.number);
}

namespace {
// The whole of `text` as hex, or false.
template <class Int>
bool parse_hex(std::string_view text, Int& out) {
  if (text.empty() || text.size() > sizeof(Int) * 2) {
    return false;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  return error == std::errc() && end == text.data() + text.size();
}
}  // namespace

Result<Uuid> parse_uuid(std::string_view text) {
  Uuid out;
  if (text.size() != 32 || !parse_hex(text.substr(0, 16), out.high) ||
      !parse_hex(text.substr(16), out.low)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("'{}' is no id: 32 hexadecimal digits are expected", text));
  }
  return out;
}

Result<ChunkId> parse_chunk_id(std::string_view text) {
  const std::string_view whole = text;
  ChunkId out;
  if (text.starts_with("0x")) {
    text.remove_prefix(2);
  }
  const auto first = text.find('.');
  const auto second = text.find('.', first == text.npos ? first : first + 1);
  if (first == text.npos || second == text.npos ||
      !parse_hex(text.substr(0, first), out.file.number) ||
      !parse_hex(text.substr(first + 1, second - first - 1), out.sequence) ||
      !parse_hex(text.substr(second + 1), out.shard)) {
    return Error(
        Code::kInvalidArgument,
        fmt::format("'{}' is no chunk id: 0xFILE.SEQUENCE.SHARD in hexadecimal is expected",
                    whole));
  }
  return out;
}

}  // namespace pangu
