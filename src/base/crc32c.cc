#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace pangu {

u32 crc32c_extend(u32 crc, Bytes bytes) {
  // crc32_iscsi neither pre- nor post-inverts, takes a non-const pointer and an int length.
  u32 state = ~crc;
  auto* at = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  size_t left = bytes.size();
  constexpr size_t kStep = size_t{1} << 30;
  while (left > 0) {
    const size_t step = left < kStep ? left : kStep;
    state = crc32_iscsi(at, static_cast<int>(step), state);
    at += step;
    left -= step;
  }
  return ~state;
}

u32 crc32c(Bytes bytes) {
  return crc32c_extend(0, bytes);
}

}  // namespace pangu
