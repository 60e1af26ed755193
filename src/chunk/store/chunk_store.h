#pragma once
#include <memory>
#include <optional>
#include <string>

#include "chunk/store/buffers.h"
#include "chunk/store/device.h"
#include "chunk/store/types.h"
#include "env/env.h"
#include "runtime/reactor.h"

// The chunk store (USSFS): self-contained append-only chunks on one shard of one device. Belongs to
// one reactor; every member is called on it. The bytes of a run go to the medium as they came, in
// one write; everything else about a chunk is found again from the medium alone (device.md).
//
// Invariants
// 1. All units of a chunk carry its one owner epoch, in order, without holes; a unit below the
//    durable length is never written again.
// 2. What an operation answered survives a crash: an append's bytes below `length`, a fence, a
//    tombstone, a close, a final length, a delete.
// 3. A unit is checked when it arrives and each time it is read back; a bad one is never handed out,
//    and a length that may have been acknowledged is never answered shorter: CORRUPT instead.
// 4. No content of the medium trips a CHECK.
// 5. A failed write or flush is final: the device takes no more writes (DEVICE_FAILED); reads are
//    still tried. A device without space takes deletes, fences, closes and seals of every chunk that
//    is here, and appends again as soon as there is room. What it must remember of chunks that are
//    not here is bounded by the checkpoint slots and ends with forget().
//
// Operations may overlap freely. Appends of one chunk that overlap are accepted in the order of the
// calls, written at the same time and acknowledged in order.
namespace pangu::chunk {

struct StoreOptions {
  u32 shard = 0;
  // The file is a regular one: units are written with zeroes before their first use, so that
  // overwriting them later changes no metadata. False for block devices and memory.
  bool prewrite = true;
  // The file is a block device that says it has no volatile cache: plain writes are durable.
  bool writes_are_durable = false;
  // Memory for indexes of open and recently read chunks.
  u64 index_bytes_max = 64 * kMiB;
  // The last bytes of an open chunk that stay in memory for tail readers.
  u32 tail_bytes_max = 256 * kKiB;
};

class ChunkStore {
 public:
  // Space in front of a creating run, in the run's own buffer block, where the store puts the chunk's
  // header so that both leave in one write. Without it the run is copied.
  static constexpr size_t kHeadroom = 8192;

  // Recovers the shard and starts its background work. `file` and `buffers` must outlive the store.
  // NotOurs, WrongVersion; Corrupt: the superblock, both checkpoints or the log are damaged beyond
  // use (the rest of the cluster has the data); IoError.
  static Task<Result<std::unique_ptr<ChunkStore>>> open(Reactor& reactor, env::File& file,
                                                        Buffers& buffers, StoreOptions options);
  virtual ~ChunkStore() = default;  // REQUIRES: stop() was awaited, or the reactor was abandoned

  // Ends background work, lets operations finish, writes a checkpoint. Later calls answer kClosed.
  virtual Task<void> stop() = 0;

  // `run`: unit_count whole units, padding zeroed, 4096-aligned. It is held until written, and a
  // while longer for tail readers. When it creates the chunk, kHeadroom bytes in front of it in its
  // block belong to the store until then.
  virtual Task<AppendOutcome> append(AppendArgs args, Slice run) = 0;
  virtual Task<ReadOutcome> read(ReadArgs args) = 0;
  virtual Task<FenceOutcome> fence(ChunkId chunk, Epoch epoch) = 0;
  virtual Task<LengthOutcome> finalize(ChunkId chunk, u32 length, u32 version) = 0;
  virtual Task<LengthOutcome> close(ChunkId chunk, Epoch epoch) = 0;
  // Deletes the chunk; a tombstone stays that refuses every later create of its owner. `version` not
  // 0: a chunk finalized with a later one stays, and the answer is kOk.
  virtual Task<LengthOutcome> remove(ChunkId chunk, u32 version = 0) = 0;
  // A copy of a settled chunk is to be made here (PROTOCOL 31), by append() with kCopyEpoch from
  // `length` on and finalize(). Only appends of a copy are accepted from now on, durably. What is
  // unfinished stays, over a crash too, until it is finalized or removed.
  virtual Task<CopyStart> begin_copy(ChunkId chunk) = 0;
  // Chunks that a copy left unfinished, in order.
  virtual std::vector<ChunkId> unfinished_copies() const = 0;

  // An owner's word on how far the stream is committed. Ignored unless `epoch` owns the chunk.
  virtual void set_committed(ChunkId chunk, Epoch epoch, u64 committed) = 0;
  // Answers when the committed stream offset known here exceeds `beyond`, or the chunk is not open
  // (any more), or at the deadline.
  virtual Task<WatchOutcome> watch(WatchArgs args) = 0;

  // NotFound if the store has neither chunk nor tombstone.
  virtual Result<ChunkInfo> stat(ChunkId chunk) const = 0;
  // Up to `max` chunks and tombstones with ids above `after`, in order of ids.
  virtual std::vector<ChunkInfo> list(ChunkId after, size_t max) const = 0;
  // Up to `max` chunks, no tombstones, with ids in [from, until), in order. Takes time for these only.
  virtual std::vector<ChunkInfo> chunks_between(ChunkId from, ChunkId until, size_t max) const = 0;
  // The number of the last change: of a chunk made, removed or found damaged, or a copy finalized.
  // Each opening begins with another number, far from those before.
  virtual u64 last_change() const = 0;
  // Chunks with ids in [from, until) that changed after the change with this number, in order of
  // ids. Nothing if that is not known: it is too long ago, or of an earlier opening.
  virtual std::optional<std::vector<ChunkId>> changed_since(u64 change, ChunkId from,
                                                            ChunkId until) const = 0;

  // Reads up to `units_max` units of a chunk from unit `first` on and checks them: for scrub and for
  // comparing replicas. `digest` covers the checksums of the good prefix. NotHere, IoError, Busy.
  struct Checked {
    u32 units = 0;      // looked at
    u32 bad_units = 0;
    u32 digest = 0;     // crc32c over the units' checksums
    u32 end_offset = 0; // payload offset where the good prefix ends
    bool at_end = false;
  };
  virtual Task<Result<Checked>> verify(ChunkId chunk, u32 first, u32 units_max) = 0;

  // The stream service says of every chunk in `dead` that it is not open and never will be: settled,
  // dropped, given back, never listed before another one of its file was, or its file is removed
  // (PROTOCOL 29). Their tombstones are forgotten, and creates of their owners go on being refused
  // (SEALED). Chunks that are here stay as they are, and FENCE, RECOVER_APPEND and DELETE go on as
  // before. Durable when it returns. A range that would cost a record and save none is passed over:
  // nothing in it is refused that was not before.
  virtual Task<Status> forget(std::vector<ChunkRange> dead) = 0;
  Task<Status> forget_files(FileId first, FileId last) {
    return forget({{.from = {.file = first}, .until = {.file = {last.number + 1}}}});
  }
  // The first chunk id at or above `from` of which forget() might leave less to remember.
  virtual std::optional<ChunkId> forgettable(ChunkId from) const = 0;
  virtual Remembered remembered() const = 0;
  // Of chunks of one stream group's files (wire/partition.h).
  virtual Remembered remembered_of(u32 stream_index) const = 0;

  // Gives back the memory kept for tail readers, at once. The store does so by itself, at its next
  // append, when Buffers::pressed() says so.
  virtual void drop_tails() = 0;

  virtual const DeviceIdentity& identity() const = 0;
  virtual const StoreCounters& counters() const = 0;
  virtual const RecoveryReport& recovery() const = 0;
  virtual SpaceInfo space() const = 0;
  // Payload bytes of all chunks, and how many chunks and tombstones there are.
  struct Contents {
    u64 chunks = 0;
    u64 open_chunks = 0;
    u64 tombstones = 0;
    u64 payload_bytes = 0;
  };
  virtual Contents contents() const = 0;
};

// Reports for people about a device that may be damaged, foreign or blank. They change nothing and
// need no cluster. Each line ends in '\n'.
Task<Result<std::string>> inspect_device(env::File& file);
// Also reads and checks every unit of every chunk.
Task<Result<std::string>> verify_device(env::File& file);

}  // namespace pangu::chunk
