#pragma once
#include <array>

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/ids.h"

// The sector unit: wire format, disk format and check unit at once (docs/formats/unit.md).
//
//   0 ............ data_len ............ 4048 ............ 4096
//   | data         | padding (zero)      | footer (48 bytes) |
//
// The client cuts an append into a run of units once, before fan-out; every replica stores these
// very bytes, the reader checks them again. Only the last unit of a run may be partial; its padding
// is not sent (the receiver zeroes it) but is covered by the CRC.
namespace pangu::wire {

inline constexpr u32 kUnitBytes = 4096;
inline constexpr u32 kUnitDataMax = 4048;
inline constexpr u32 kFooterBytes = 48;
inline constexpr u32 kUnitMagic = 0x54494e55;  // "UNIT" read little-endian
inline constexpr u8 kUnitVersion = 1;
// A run's payload is at most this many units: 1 MiB on the medium.
inline constexpr u32 kRunUnitsMax = 256;
inline constexpr u32 kRunDataMax = kRunUnitsMax * kUnitDataMax;

struct UnitFooter {
  u32 magic;
  u8 version;
  u8 flags;  // 0 in version 1
  u16 data_len;
  u64 file;           // chunk id: file,
  u32 sequence;       //           sequence,
  u16 shard;          //           shard,
  u16 reserved;       //           0
  u32 unit_index;     // place in the chunk
  u32 epoch;          // the chunk's owner epoch
  u32 end_offset;     // payload bytes of the chunk up to and with this unit
  u32 committed_lag;  // end_offset minus the committed chunk length known when the run was cut
  u32 generation;     // erasure coding; 0 for replicas
  u32 crc32c;         // over the 4092 bytes before it
};
static_assert(sizeof(UnitFooter) == kFooterBytes);
static_assert(std::has_unique_object_representations_v<UnitFooter>);

inline ChunkId chunk_of(const UnitFooter& footer) {
  return {.file = {footer.file}, .sequence = footer.sequence, .shard = footer.shard};
}
inline UnitFooter footer_of(const std::byte* unit) {
  return load_le<UnitFooter>(unit + kUnitDataMax);
}

constexpr u32 units_for(u64 data_bytes) {
  return static_cast<u32>((data_bytes + kUnitDataMax - 1) / kUnitDataMax);
}

// Where a run begins and who writes it.
struct RunStart {
  ChunkId chunk;
  Epoch epoch;
  u32 unit_index = 0;  // of the first unit
  u32 offset = 0;      // payload offset of the first byte in the chunk
  u32 committed = 0;   // committed payload length of the chunk known now; <= offset
  u32 generation = 0;
};

// Cuts `data` (one to four pieces, kRunDataMax bytes at most in all, at least one) into units in
// `into`, which holds units_for(total) units, 4096-aligned not required. Every byte of `into` is
// written. Returns the number of units.
u32 cut_run(const RunStart& start, std::span<const Bytes> data, MutableBytes into);

// A run on the wire: all bytes of its units but the padding of the last one. As up to two pieces of
// the slice that holds the whole run.
struct WirePieces {
  std::array<Bytes, 2> pieces;
  size_t count = 0;
  u64 bytes = 0;
};
// REQUIRES: `run` is whole units made by cut_run or checked by check_run.
WirePieces wire_pieces_of(Bytes run);
// How many bytes a run of `unit_count` units with `data_len` payload bytes takes on the wire, or
// InvalidArgument if no run can look like that.
Result<u64> wire_bytes_of(u32 unit_count, u32 data_len);

// Checks every unit of a run: magic, version, chunk, epoch, generation, consecutive unit indexes
// from start.unit_index, offsets that join from start.offset, only the last one partial, data_len
// and lags in bounds, padding zero, CRC. Corrupt names the first unit that fails and why.
Status check_run(const RunStart& start, u32 data_len, Bytes run);

// Why a stored unit is not what it should be; `ok` when it is.
enum class UnitFault : u8 { ok, blank, not_a_unit, bad_crc, other_chunk, other_place, malformed };
std::string_view to_string(UnitFault fault);
// Checks one unit by itself: that it is chunk `chunk`'s unit number `unit_index` and undamaged.
UnitFault check_unit(const ChunkId& chunk, u32 unit_index, const std::byte* unit);

}  // namespace pangu::wire
