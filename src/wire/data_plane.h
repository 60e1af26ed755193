#pragma once
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

// Bodies of the data plane: fixed little-endian structs without padding, read by memcpy, checked by
// size and bounds. Rules named "PROTOCOL n" are those of docs/design/0003-protocol.md.
//
// Offsets inside a chunk are payload bytes, u32; offsets in the stream (= file) are u64.
namespace pangu::wire {

struct WireChunkId {
  u64 file;
  u32 sequence;
  u16 shard;
  u16 zero;
};
static_assert(sizeof(WireChunkId) == 16);
inline WireChunkId to_wire(const ChunkId& id) {
  return {.file = id.file.number, .sequence = id.sequence, .shard = id.shard, .zero = 0};
}
inline ChunkId from_wire(const WireChunkId& id) {
  return {.file = {id.file}, .sequence = id.sequence, .shard = id.shard};
}

// Every reply of the data plane begins with where the time went at the server.
struct ReplyTiming {
  u32 queue_us;
  u32 verify_us;
  u32 media_us;
  u32 total_us;
  u32 reserved[4];
};
static_assert(sizeof(ReplyTiming) == 32);

enum AppendFlags : u16 {
  kAppendCreates = 1,  // the chunk may be created by this append (always set at offset 0)
  kAppendRecovers =
      2,  // RECOVER_APPEND (PROTOCOL 8): a takeover fills a replica with original bytes
};

// APPEND and RECOVER_APPEND. The payload is the run on the wire (wire/unit.h). With kAppendCreates
// the body goes on with history_count HistoryEntry: the writer's unsettled chunks before this one.
struct AppendRequest {
  WireChunkId chunk;
  Uuid device;      // the location's device: another one answers NOT_HERE
  u32 epoch;        // of the sender: the owner, or the takeover if kAppendRecovers
  u32 owner_epoch;  // of the chunk: what its units carry
  u64 base;         // stream offset of the chunk's first byte
  u64 committed;    // stream offset up to which the sender knows committed
  u32 offset;       // payload offset in the chunk where this run starts
  u32 data_len;     // payload bytes of the run
  u32 unit_index;   // of the run's first unit
  u32 unit_count;
  u32 chunk_limit;  // create: payload bytes this chunk may grow to
  u16 flags;        // AppendFlags
  u8 copies_max;    // create: n of PROTOCOL 3 (MaxCopy)
  u8 copies_min;    // create: a of PROTOCOL 3 (MinCopy)
  u16 history_count;
  u16 reserved0;
  u32 reserved1[5];
};
static_assert(sizeof(AppendRequest) == 104 && sizeof(AppendRequest) <= 128);

struct HistoryEntry {
  u32 sequence;  // of the same file
  u32 zero;
  u64 base;
};
static_assert(sizeof(HistoryEntry) == 16);
inline constexpr u16 kHistoryMax = 256;

// status: kOk, kDuplicate (both: every byte below `length` is durable), kConflict, kGap (length =
// what the replica accepted so far), kSealed, kFenced (fence = the epoch that fences), kNotHere,
// kStale, kNoSpace, kCorrupt, kBusy.
struct AppendReply {
  ReplyTiming timing;
  u32 length;  // contiguous durable payload bytes
  u32 fence;   // kFenced: the replica's fence
  u32 reserved[4];
};
static_assert(sizeof(AppendReply) == 56);

inline constexpr u32 kUnsettled = 0xffffffff;

enum ReadFlags : u32 {
  kReadRecovers = 1,  // a takeover reads beyond the committed length; `epoch` must be the fence
};

// READ. The reply's payload is whole units, from the one that holds `offset` on.
struct ReadRequest {
  WireChunkId chunk;
  Uuid device;
  u32 offset;
  u32 length;           // wanted payload bytes, > 0; the reply may be shorter
  u32 settled_length;   // the length the stream service decided, or kUnsettled
  u32 epoch;            // kReadRecovers
  u64 known_committed;  // stream offset the reader knows to be committed (PROTOCOL 30); 0 = none
  u32 flags;            // ReadFlags
  u32 reserved[3];
};
static_assert(sizeof(ReadRequest) == 72);

struct ReadReply {
  ReplyTiming timing;
  u32 readable;    // chunk length a reader may see here: settled, or the committed length
  u32 length;      // payload bytes in the units that lie in [offset, offset + wanted, readable)
  u32 unit_index;  // of the first unit sent
  u32 unit_count;
  u32 unit_offset;  // payload offset in the chunk of the first unit's first byte
  u32 valid;        // kCorrupt: valid up to here although `readable` is known to be committed
  u32 reserved[2];
};
static_assert(sizeof(ReadReply) == 64);

// FENCE (PROTOCOL 7). Durable when answered with kOk.
struct FenceRequest {
  WireChunkId chunk;
  Uuid device;
  u32 epoch;
  u32 reserved;
};
static_assert(sizeof(FenceRequest) == 40);

// The body goes on with history_count HistoryEntry.
struct FenceReply {
  ReplyTiming timing;
  u64 base;
  u32 length;  // contiguous durable payload bytes
  u32 unit_count;
  u32 owner_epoch;
  u32 fence;  // after this call; kFenced: the higher one that refused it
  u32 chunk_limit;
  u16 history_count;
  u8 exists;  // 0: a tombstone was stored (PROTOCOL 2)
  u8 copies_max;
  u8 copies_min;
  u8 finalized;  // 1: `length` is the decided one
  u16 reserved0;
  u32 reserved1;
};
static_assert(sizeof(FenceReply) == 72);

// FINALIZE (PROTOCOL 9): the stream service has decided. kShort: the replica holds less.
struct FinalizeRequest {
  WireChunkId chunk;
  Uuid device;
  u32 length;
  u32 version;
  u32 reserved[2];
};
static_assert(sizeof(FinalizeRequest) == 48);

// CLOSE (PROTOCOL 9): the owner's appends are refused from now on. Decides nothing.
struct CloseRequest {
  WireChunkId chunk;
  Uuid device;
  u32 epoch;
  u32 reserved;
};
static_assert(sizeof(CloseRequest) == 40);

// Answer of FINALIZE and CLOSE.
struct LengthReply {
  ReplyTiming timing;
  u32 length;
  u32 reserved[3];
};
static_assert(sizeof(LengthReply) == 48);

// COMMITTED: an idle writer tells how far it is committed. The body is `count` entries after this.
struct CommittedRequest {
  u32 count;
  u32 reserved;
};
struct CommittedEntry {
  WireChunkId chunk;
  Uuid device;
  u32 epoch;
  u32 reserved;
  u64 committed;  // stream offset
};
static_assert(sizeof(CommittedEntry) == 48);
inline constexpr u32 kCommittedMax = 1024;

// WATCH: answers when the committed stream offset known here exceeds `beyond`, the chunk stops
// being open, or the deadline is near; at once if one of them holds already. time 0 = just ask.
struct WatchRequest {
  WireChunkId chunk;
  Uuid device;
  u64 beyond;
  u64 known_committed;
  u32 wait_us;
  u32 reserved;
};
static_assert(sizeof(WatchRequest) == 56);

struct WatchReply {
  ReplyTiming timing;
  u64 committed;  // stream offset; base of the chunk if nothing is known
  u32 length;     // contiguous durable payload bytes
  u8 exists;
  u8 finalized;
  u8 fenced_or_closed;  // no more appends of the owner: ask the master for the next chunk
  u8 reserved0;
  u64 base;
  u32 reserved1[2];
};
static_assert(sizeof(WatchReply) == 64);

// The struct at the front of a body. BadFrame if the body is too small.
template <class T>
Result<T> read_struct(Bytes body) {
  static_assert(std::has_unique_object_representations_v<T>);
  if (body.size() < sizeof(T)) {
    return Error(Code::kBadFrame, "body is shorter than its struct");
  }
  return load_le<T>(body.data());
}
// `count` records of T that follow a struct of `after` bytes. BadFrame if they do not fit.
template <class T>
Result<std::vector<T>> read_records(Bytes body, size_t after, size_t count) {
  static_assert(std::has_unique_object_representations_v<T>);
  if (body.size() < after || (body.size() - after) / sizeof(T) < count) {
    return Error(Code::kBadFrame, "body is shorter than its records");
  }
  std::vector<T> out(count);
  if (count > 0) {
    std::memcpy(out.data(), body.data() + after, count * sizeof(T));
  }
  return out;
}

}  // namespace pangu::wire
