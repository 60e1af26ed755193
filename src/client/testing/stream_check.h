#pragma once
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace pangu::client::testing {

// What writer number `writer` of a file puts at stream offset `offset`: every byte tells who wrote
// it and where.
inline std::string content(u64 writer, u64 from, u64 size) {
  std::string out(size, '\0');
  u64 word = 0;
  for (u64 i = 0; i < size; ++i) {
    const u64 at = from + i;
    if (i == 0 || at % 8 == 0) {
      word = hash_combine(writer, at / 8);
    }
    out[i] = static_cast<char>((word >> (at % 8 * 8)) & 0xff);
  }
  return out;
}
inline Bytes bytes_in(const std::string& text) {
  return as_bytes_of(std::string_view(text));
}

}  // namespace pangu::client::testing
