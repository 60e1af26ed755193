#pragma once
#include <optional>

#include "base/ids.h"
#include "chunk/format/sector.h"

// The header of a checkpoint slot: one sector, written durably after the body behind it is durable.
// The body is records (format/record.h); the slot with the higher number counts
// (docs/formats/device.md).
namespace pangu::chunk {

inline constexpr u32 kSlotMagic = 0x54504b43;  // "CKPT"

struct SlotHeader {
  u32 magic = kSlotMagic;
  u16 version = 1;
  u16 zero = 0;
  u32 shard = 0;
  u32 body_crc = 0;
  Uuid device;
  u64 number = 0;        // 1, 2, 3, …
  u64 body_bytes = 0;
  u64 record_count = 0;
  u64 log_position = 0;  // replay begins with the batch there
  u64 log_sequence = 0;  // and this is its sequence
  u64 next_lsn = 0;      // above every lsn in the body
  u64 next_reservation = 0;
};
static_assert(sizeof(SlotHeader) == 88);
static_assert(std::has_unique_object_representations_v<SlotHeader>);

inline void encode_slot_header(const SlotHeader& header, std::byte* sector) {
  std::memset(sector, 0, kSectorBytes);
  store_le(sector, header);
  seal_sector(sector);
}
inline std::optional<SlotHeader> decode_slot_header(const std::byte* sector, const Uuid& device,
                                                    u32 shard, u64 slot_bytes) {
  const auto header = load_le<SlotHeader>(sector);
  if (!sector_ok(sector, kSlotMagic) || header.version != 1 || header.device != device ||
      header.shard != shard || header.number == 0 ||
      header.body_bytes > slot_bytes - kSectorBytes || header.log_position % kSectorBytes != 0) {
    return std::nullopt;
  }
  return header;
}

}  // namespace pangu::chunk
