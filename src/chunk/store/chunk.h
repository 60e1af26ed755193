#pragma once
#include <deque>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/intrusive_list.h"
#include "chunk/format/record.h"
#include "chunk/store/chunk_index.h"
#include "chunk/store/types.h"
#include "runtime/sync.h"

// A chunk in memory. A sealed one that nobody reads is only its Chunk (about 200 bytes with its place
// in the table); an open one has a Live besides.
namespace pangu::chunk {

struct Chunk;

// What only an open chunk has.
struct Live : ListNode {
  explicit Live(Chunk& owner) : chunk(owner) {}

  u64 history_bytes() const { return history.size() * sizeof(wire::HistoryEntry); }

  Chunk& chunk;
  std::vector<wire::HistoryEntry> history;
  ChunkIndex index;
  u32 accepted = 0;        // payload bytes taken, in flight or durable
  u32 accepted_units = 0;
  u32 committed = 0;       // payload bytes of this chunk known committed; may exceed its length
  bool failed = false;     // a write failed: no more appends until a fence has cut the tail
  bool final_pending = false;
  bool growth_asked = false;  // and not answered, or there is no room behind the last block
  Code failure = Code::kOk;
  // First unit that a failed write may have left behind on the medium; 0: none.
  u32 dirty_tail_end = 0;

  // Appends being written, in order of their offsets.
  struct InFlight {
    u32 end_offset = 0;
    u32 end_unit = 0;
    bool finished = false;
  };
  std::deque<InFlight> in_flight;
  u64 first_ticket = 0;  // of in_flight.front()
  u32 writing = 0;       // writes that have not returned
  WaitList progress;     // woken when `length` grew, a write failed, or all have returned
  WaitList watchers;

  // Runs kept for tail readers, oldest first.
  struct TailRun {
    u32 unit = 0;
    u32 offset = 0;
    Slice units;
  };
  std::deque<TailRun> tail;
  u64 tail_bytes = 0;
};

// A sealed chunk's index, read in for its readers; in a list of the least recently used.
struct CachedIndex : ListNode {
  Chunk* chunk = nullptr;
  ChunkIndex index;
};

struct Chunk {
  ChunkId id;
  u64 base = 0;
  Epoch owner_epoch;
  Epoch fence;
  u32 limit = 0;
  u32 length = 0;      // contiguous durable payload bytes; decided if `finalized`
  u32 unit_count = 0;  // units that hold them
  u32 version = 0;
  u32 known_committed = 0;  // damaged: committed up to there at least
  bool finalized = false;
  bool closed = false;
  bool reborn = false;    // was deleted from this device once: its blocks are cleared before use
  bool headless = false;  // its header is lost
  bool regular = false;   // finalized: every unit but the last is full
  bool damaged = false;   // a unit below a length it may have acknowledged is bad; good to `valid`
  bool removing = false;  // takes no more operations
  bool unlogged = false;  // in Shard::unlogged: has blocks that no log record gives to it yet
  u8 copies_max = 0;
  u8 copies_min = 0;
  u8 header_sectors = 1;
  u16 index_sectors = 0;
  u32 valid = 0;  // damaged: the payload is good up to here
  u32 logged_blocks = 0;  // the first ones of `extents` that the log or a checkpoint gives to it
  u32 slot = 0;           // in ChunkTable
  u32 references = 0;
  u32 io = 0;             // reads and writes of it in flight
  u64 lsn = 0;            // of the last record about it
  std::vector<Extent> extents;  // its blocks in order; the last ones may be prepared and unused
  std::unique_ptr<Live> live;
  std::unique_ptr<CachedIndex> index;

  u32 block_count() const;
  u32 sectors_used() const;  // by header and accepted units
  // Recovery found it shorter than what is known committed; its blocks are kept as they are.
  bool lost_units() const { return damaged && known_committed > length; }
  bool open() const { return live != nullptr && !finalized; }
  bool copying() const { return fence == kCopyEpoch && !finalized; }
};

// Keeps a chunk in memory across waits; the chunk may be removed from the store meanwhile.
class ChunkRef {
 public:
  ChunkRef() = default;
  explicit ChunkRef(Chunk* chunk) : chunk_(chunk) {
    if (chunk_ != nullptr) {
      ++chunk_->references;
    }
  }
  ChunkRef(const ChunkRef& other) : ChunkRef(other.chunk_) {}
  ChunkRef(ChunkRef&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
  ChunkRef& operator=(ChunkRef other) noexcept {
    std::swap(chunk_, other.chunk_);
    return *this;
  }
  ~ChunkRef() {
    if (chunk_ != nullptr && --chunk_->references == 0) {
      delete chunk_;
    }
  }
  Chunk* get() const { return chunk_; }
  Chunk& operator*() const { return *chunk_; }
  Chunk* operator->() const { return chunk_; }
  explicit operator bool() const { return chunk_ != nullptr; }

 private:
  Chunk* chunk_ = nullptr;
};

// Appends `extent` to a list of blocks, joining it to the last one if it is adjacent.
void append_extent(std::vector<Extent>& extents, Extent extent);
// The blocks of `extents` from the `first`-th to before the `last`-th.
std::vector<Extent> slice_extents(const std::vector<Extent>& extents, u32 first, u32 last);
u32 count_blocks(const std::vector<Extent>& extents);

}  // namespace pangu::chunk
