#pragma once
#include <optional>
#include <vector>

#include "base/ids.h"
#include "chunk/format/sector.h"
#include "wire/data_plane.h"

// Sectors that stand in blocks beside the units of data: the RESERVED sector of a prepared
// one, and the header of a chunk (docs/formats/device.md).
namespace pangu::chunk {

inline constexpr u32 kReservedMagic = 0x44565352;  // "RSVD"
inline constexpr u32 kHeaderMagic = 0x4b4e4843;    // "CHNK"

// First sector of an block that is prepared for a create or for growth.
struct ReservedSector {
  Uuid device;
  u32 shard = 0;
  u32 block = 0;
  u64 sequence = 0;  // of the reservation that wrote it
};
void encode_reserved(const ReservedSector& reserved, std::byte* sector);
std::optional<ReservedSector> decode_reserved(const std::byte* sector);

// What a create must leave on the medium beside the data: the first one or two sectors of a chunk's
// first block, written together with its first run.
struct ChunkHeader {
  Uuid device;
  u32 shard = 0;
  u32 block = 0;
  ChunkId chunk;
  u64 base = 0;
  Epoch owner_epoch;
  u32 limit = 0;
  u8 copies_max = 0;
  u8 copies_min = 0;
  bool reborn = false;  // created again after it had been deleted from this device
  std::vector<wire::HistoryEntry> history;
};
inline constexpr u32 kHeaderSectorsMax = 2;
u32 header_sectors_for(size_t history_count);
// Writes header_sectors_for(history) sectors.
void encode_header(const ChunkHeader& header, std::byte* sectors);
// From the first sector and, if it says that there are two, the second. Nothing if they are damaged.
// `available`: how many sectors `sectors` has.
std::optional<ChunkHeader> decode_header(const std::byte* sectors, u32 available);

}  // namespace pangu::chunk
