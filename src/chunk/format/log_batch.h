#pragma once
#include <optional>

#include "base/ids.h"
#include "chunk/format/sector.h"

// The framing of the op log: a ring of sectors that holds batches of records. Batch n+1 is written
// only when batch n is durable, so a damaged batch is a torn tail exactly if no later one exists
// (docs/formats/device.md).
namespace pangu::chunk {

inline constexpr u32 kBatchMagic = 0x474f4c4f;  // "OLOG"

struct BatchHeader {
  u32 magic = kBatchMagic;
  u16 version = 1;
  u16 zero = 0;
  u32 shard = 0;
  u32 record_count = 0;
  Uuid device;
  u64 sequence = 0;   // 1, 2, 3, …
  u64 position = 0;   // where it stands in the endless log; the ring keeps position mod its size
  u64 first_lsn = 0;  // of its records
  u32 body_bytes = 0;
  u32 body_crc = 0;
  u32 header_crc = 0;  // over the bytes before it
  u32 zero1 = 0;
};
static_assert(sizeof(BatchHeader) == 72);
static_assert(std::has_unique_object_representations_v<BatchHeader>);

// What a batch takes in the ring: whole sectors.
constexpr u64 batch_bytes(u32 body_bytes) {
  return round_up(sizeof(BatchHeader) + body_bytes, kSectorBytes);
}

// Fills in both checksums and writes header and zero padding around the body, which stands in
// `batch` at sizeof(BatchHeader) already. `batch` is batch_bytes(header.body_bytes) long.
void seal_batch(BatchHeader header, MutableBytes batch);

// The header at the front of a sector, if its own checksum holds and it belongs to this ring.
std::optional<BatchHeader> decode_batch_header(const std::byte* sector, const Uuid& device,
                                               u32 shard);
// `batch`: from its header on, batch_bytes long.
bool batch_body_ok(const BatchHeader& header, Bytes batch);

}  // namespace pangu::chunk
