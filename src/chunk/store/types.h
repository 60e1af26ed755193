#pragma once
#include <limits>
#include <vector>

#include "base/buffer.h"
#include "base/ids.h"
#include "base/time.h"
#include "wire/data_plane.h"

// Arguments and answers of the chunk store's operations (store/chunk_store.h). They follow the bodies
// of wire/data_plane.h field by field; the device uuid is checked by whoever owns the stores.
namespace pangu::chunk {

// The fence of a chunk that a copy_chunk fills (PROTOCOL 31), and the epoch of its appends. No writer
// and no takeover ever has it: they count up from 1. Until it is finalized the chunk is no replica:
// nobody reads it, and nobody but the copy appends to it.
inline constexpr Epoch kCopyEpoch{0xffffffff};

struct AppendArgs {
  ChunkId chunk;
  Epoch epoch;        // of the sender
  Epoch owner_epoch;  // of the chunk: what its units carry
  u64 base = 0;       // stream offset of the chunk's first byte
  u64 committed = 0;  // stream offset that the sender knows committed
  u32 offset = 0;     // payload offset in the chunk where the run starts
  u32 data_len = 0;   // payload bytes of the run
  u32 unit_index = 0;
  u32 unit_count = 0;
  bool creates = false;
  bool recovers = false;  // RECOVER_APPEND, or with kCopyEpoch a piece of a copy: any units that join
  // The rest counts only if this append creates the chunk.
  u32 chunk_limit = 0;
  u8 copies_max = 0;
  u8 copies_min = 0;
  std::vector<wire::HistoryEntry> history;  // wire::kHistoryMax at most
  // Answered BUSY if there is still no prepared room for it then.
  Instant deadline = Instant::never();
};

// kOk, kDuplicate, kConflict, kGap, kSealed, kFenced, kStale, kNoSpace, kCorrupt, kBusy,
// kInvalidArgument (beyond the chunk's limit, or fields that contradict each other), kDeviceFailed,
// kIoError (this chunk lost a write: it takes no more appends of its owner), kClosed (stopping).
struct AppendOutcome {
  Code code = Code::kOk;
  u32 length = 0;  // contiguous durable payload bytes; kGap: what is accepted so far
  Epoch fence;     // kFenced: the fence that refused it
  wire::ReplyTiming timing{};
};

struct ReadArgs {
  ChunkId chunk;
  u32 offset = 0;
  u32 length = 0;  // > 0
  u32 settled_length = wire::kUnsettled;
  u64 known_committed = 0;  // stream offset
  bool recovers = false;    // a takeover reads up to the durable length; `epoch` must be the fence
  Epoch epoch;
};

// kOk (length 0 = `offset` is the end of a settled chunk), kNotHere (no such chunk, or a tombstone),
// kNotCommitted (unsettled, and `offset` is not below what is known committed and durable here),
// kShort (settled longer than what is here), kCorrupt, kFenced, kStale, kBusy, kIoError, kClosed.
struct ReadOutcome {
  Code code = Code::kOk;
  Slice units;  // whole units, from the one that holds `offset` on; every one checked
  u32 readable = 0;
  u32 length = 0;
  u32 unit_index = 0;
  u32 unit_count = 0;
  u32 unit_offset = 0;
  u32 valid = 0;  // kCorrupt: the payload is known good up to here
  wire::ReplyTiming timing{};
};

// kOk, kFenced (fence says by which), kCorrupt (the fence is stored all the same), kDeviceFailed,
// kNoSpace (only of a chunk that is not here: no room to remember another), kIoError, kClosed.
struct FenceOutcome {
  Code code = Code::kOk;
  bool exists = false;  // false: a tombstone is stored
  bool finalized = false;
  u64 base = 0;
  u32 length = 0;
  u32 unit_count = 0;
  Epoch owner_epoch;
  Epoch fence;  // after this call
  u32 chunk_limit = 0;
  u8 copies_max = 0;
  u8 copies_min = 0;
  u32 valid = 0;      // kCorrupt: good up to here,
  u32 committed = 0;  //           known to be committed up to there at least
  std::vector<wire::HistoryEntry> history;
  wire::ReplyTiming timing{};
};

// What stands where a copy is to be made. kOk: a tombstone, or an unfinished copy; the copy goes on at
// `length`. kSealed: a finalized chunk. kAlreadyExists: a replica that is not finalized. kNoSpace: no
// room to remember the chunk. kDeviceFailed, kIoError, kClosed.
struct CopyStart {
  Code code = Code::kOk;
  bool damaged = false;
  u32 length = 0;
  u32 unit_count = 0;
  u64 base = 0;
  Epoch owner_epoch;
};

// FINALIZE: kOk, kShort, kConflict (decided already, with another length), kCorrupt.
// CLOSE: kOk, kFenced, kStale (not the owner). DELETE: kOk. Both, of a chunk that is not here and
// leaves no room to remember it: kNoSpace. All: kDeviceFailed, kIoError, kClosed.
struct LengthOutcome {
  Code code = Code::kOk;
  u32 length = 0;
  Epoch fence;
  wire::ReplyTiming timing{};
};

struct WatchArgs {
  ChunkId chunk;
  u64 beyond = 0;
  u64 known_committed = 0;
  Instant deadline;
};

struct WatchOutcome {
  Code code = Code::kOk;  // or kClosed
  u64 committed = 0;      // stream offset; the base if nothing is known
  u32 length = 0;
  bool exists = false;
  bool finalized = false;
  bool fenced_or_closed = false;
  u64 base = 0;
};

// What the store knows of one chunk.
struct ChunkInfo {
  ChunkId chunk;
  bool exists = false;  // false: a tombstone
  bool finalized = false;
  bool closed = false;
  bool copying = false;  // what a copy has written so far: no replica
  bool damaged = false;  // answers CORRUPT; see `valid` and `committed`
  u64 base = 0;
  Epoch owner_epoch;
  Epoch fence;
  u32 length = 0;      // contiguous durable payload bytes; decided if `finalized`
  u32 accepted = 0;    // with appends that are not durable yet
  u32 committed = 0;   // payload bytes of the chunk known committed
  u32 valid = 0;       // damaged: good up to here
  u32 unit_count = 0;
  u32 chunk_limit = 0;
  u32 version = 0;     // of FINALIZE
  u8 copies_max = 0;
  u8 copies_min = 0;
  u64 allocated_bytes = 0;  // on the medium, with what is prepared for its growth
};

// Counted since open. Bytes written = chunk + zero + reserve + log + checkpoint.
struct StoreCounters {
  u64 appends = 0;            // accepted (not duplicates, not refused)
  u64 append_bytes = 0;       // payload
  u64 append_writes = 0;      // device writes they took: one each, unless a run straddles
  u64 chunk_bytes_written = 0;
  u64 payload_copies = 0;     // runs that had to be copied before the write
  u64 append_waits = 0;       // appends that waited for prepared room
  u64 durable_writes = 0;     // alone in flight: durable in themselves
  u64 grouped_writes = 0;     // plain, made durable by a flush for several
  u64 flushes = 0;
  u64 duplicates = 0;
  u64 reads = 0;
  u64 read_bytes = 0;         // payload answered
  u64 device_reads = 0;
  u64 device_read_bytes = 0;
  u64 tail_hits = 0;          // reads answered from memory
  u64 index_searches = 0;     // reads that had to look at footers to find their unit
  u64 bad_units = 0;          // units found damaged by reads
  u64 log_batches = 0;
  u64 log_bytes_written = 0;
  u64 checkpoints = 0;
  u64 checkpoint_bytes_written = 0;
  u64 reserve_bytes_written = 0;
  u64 zero_bytes_written = 0;
  u64 io_errors = 0;
};

// Chunk ids from `from` on, below `until`. REQUIRES: from < until
struct ChunkRange {
  ChunkId from;
  ChunkId until;
};

// What is kept of chunks that are not here.
struct Remembered {
  u64 tombstones = 0;
  u64 ranges = 0;     // of forgotten chunks
  bool full = false;  // creates are refused, for records of chunks leave no room for more
};

struct SpaceInfo {
  u64 capacity = 0;   // bytes of allocation units
  u64 free = 0;       // neither used nor prepared nor kept back
  u64 prepared = 0;   // ready for creates and growth
  u64 kept = 0;       // only for seals and recovery
  u64 log_bytes = 0;
  u64 log_used = 0;
  bool full = false;  // the last append that needed room found none
  bool failed = false;  // a write or flush failed: the device takes no more
};

// What recovery found at open.
struct RecoveryReport {
  u64 log_records = 0;
  u64 chunks = 0;
  u64 tombstones = 0;
  u64 open_chunks = 0;
  u64 units_scanned = 0;
  u64 units_cut = 0;         // stale units behind a torn tail, zeroed
  u64 chunks_damaged = 0;
  u64 chunks_adopted = 0;    // found in reserved units only
  bool used_older_checkpoint = false;
  Duration took;
};

}  // namespace pangu::chunk
