#pragma once
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "chunk/format/sector.h"
#include "wire/data_plane.h"

// Records: what the op log and the checkpoints are made of. Each carries the sequence number of the
// change (lsn); the entry of a chunk remembers the last one that changed it, so replaying a record
// that a checkpoint already contains changes nothing (docs/formats/device.md).
namespace pangu::chunk {

// The state of a chunk, absolute but for the extents: its blocks from the
// `blocks_before`-th on are `extents`.
struct ChunkRecord {
  ChunkId chunk;
  u64 base = 0;
  Epoch owner_epoch;
  Epoch fence;
  u32 limit = 0;
  u32 length = 0;      // durable when this was written, or decided
  u32 unit_count = 0;  // wire units that hold `length` bytes
  u32 version = 0;
  bool finalized = false;
  bool closed = false;
  bool reborn = false;
  bool regular = false;   // finalized: every unit but the last is full
  bool headless = false;  // its header is lost; damaged with nothing valid
  bool damaged = false;   // a unit below an acknowledged length is bad: answers CORRUPT
  u32 known_committed = 0;  // damaged: committed up to there at least,
  u32 valid = 0;            //          good up to here
  u8 copies_max = 0;
  u8 copies_min = 0;
  u8 header_sectors = 1;
  u16 index_sectors = 0;  // right behind the last unit; 0: none
  u32 blocks_before = 0;
  std::vector<wire::HistoryEntry> history;
  std::vector<Extent> extents;
  std::vector<Extent> released;  // given back by this change
};

// `chunk` is not here (any more) and its owner may never create it.
struct TombstoneRecord {
  ChunkId chunk;
  Epoch fence;
  bool deleted = false;  // it was here once
  bool closed = false;
  std::vector<Extent> released;
};

// Prepared for creates and growth from now on.
struct ReserveRecord {
  u64 sequence = 0;
  std::vector<Extent> extents;
};

// No longer prepared: free.
struct ReleaseRecord {
  std::vector<Extent> extents;
};

// Blocks that have been written at least once. Checkpoints only; a reservation implies it.
struct PrewrittenRecord {
  std::vector<Extent> extents;
};

// Chunks with ids in [from, until) are dead: their owners' creates are refused without a tombstone.
struct ForgetRecord {
  ChunkId from;
  ChunkId until;
};

// The same of all chunks of files `first` to `last`. Read, but no longer written.
struct ForgetFilesRecord {
  FileId first;
  FileId last;
};

using Record = std::variant<ChunkRecord, TombstoneRecord, ReserveRecord, ReleaseRecord,
                            PrewrittenRecord, ForgetFilesRecord, ForgetRecord>;

// No record is larger.
inline constexpr size_t kRecordBytesMax = 768 * kKiB;

// Appends the record's bytes to `into`.
void encode_record(const Record& record, u64 lsn, std::vector<std::byte>& into);
size_t encoded_bytes(const ChunkRecord& record);
inline constexpr size_t kTombstoneBytes = 48;
inline constexpr size_t kForgetBytes = 48;

struct DecodedRecord {
  Record record;
  u64 lsn = 0;
};
// Takes one record off the front of `bytes`. Corrupt if what stands there cannot be one.
Result<DecodedRecord> decode_record(Bytes& bytes);

}  // namespace pangu::chunk
