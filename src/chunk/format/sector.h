#pragma once
#include "base/bytes.h"
#include "base/crc32c.h"
#include "wire/unit.h"

// What all sectors of the device format share: 4096 bytes, a u32 magic first, a crc32c over the 4092
// bytes before it last (docs/formats/device.md).
namespace pangu::chunk {

inline constexpr u32 kSectorBytes = wire::kUnitBytes;
inline constexpr u32 kSectorBodyMax = kSectorBytes - sizeof(u32);

// A stretch of blocks of one shard. A block is an allocation unit: 64 KiB or 1 MiB; "unit" alone
// always means the sector unit of wire/unit.h.
struct Extent {
  u32 start = 0;
  u32 count = 0;
  u32 end() const { return start + count; }
  auto operator<=>(const Extent&) const = default;
};

inline u32 sector_crc(const std::byte* sector) { return crc32c({sector, kSectorBodyMax}); }
inline void seal_sector(std::byte* sector) {
  store_le(sector + kSectorBodyMax, sector_crc(sector));
}
// The magic and the checksum are right.
inline bool sector_ok(const std::byte* sector, u32 magic) {
  return load_le<u32>(sector) == magic &&
         load_le<u32>(sector + kSectorBodyMax) == sector_crc(sector);
}

}  // namespace pangu::chunk
