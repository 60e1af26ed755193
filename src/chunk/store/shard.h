#pragma once
#include "chunk/format/superblock.h"
#include "chunk/store/block_map.h"
#include "chunk/store/buffers.h"
#include "chunk/store/checkpoint.h"
#include "chunk/store/changes.h"
#include "chunk/store/chunk_store.h"
#include "chunk/store/chunk_table.h"
#include "chunk/store/op_log.h"
#include "chunk/store/room.h"
#include "chunk/store/writer.h"

// Everything that one open shard consists of. The operations stand in files of their own and work on
// this; nothing here waits.
namespace pangu::chunk {

struct Shard {
  Shard(Reactor& on, env::File& medium, Buffers& memory, const StoreOptions& how,
        const Superblock& head);

  Reactor& reactor;
  env::File& file;
  Buffers& buffers;
  HeapBuffers scratch;  // for what the store reads and writes of its own
  const StoreOptions options;
  const Superblock superblock;
  const ShardLayout layout;
  DeviceIdentity identity;
  StoreCounters counters;
  RecoveryReport report;
  bool stopping = false;

  Writer writer;
  OpLog log;
  BlockMap blocks;
  ChunkTable table;
  Changes changes;
  Room room;
  Checkpointer checkpointer;
  u64 next_reservation = 1;
  u64 forget_lsn = 0;  // of the newest record of forgotten chunks since open

  IntrusiveList<Live> open_chunks;       // most recently appended last
  u64 tail_bytes = 0;                    // of memory held for tail readers
  IntrusiveList<CachedIndex> indexes;    // most recently used last
  u64 index_bytes = 0;
  std::vector<ChunkRef> unlogged;        // chunks with Chunk::unlogged set
  u64 history_bytes = 0;                 // of all open chunks
  u64 checkpoint_extra = 0;              // what the last one took beyond the estimate
  WaitList io_ended;                     // woken when a chunk that is being removed has none left
  Gate operations;
  Gate background;
  Gate log_task;

  const Uuid& device() const { return superblock.device; }
  u32 sectors_per_block() const { return layout.sectors_per_block(); }
  u32 blocks_for(u64 sectors) const {
    return static_cast<u32>((sectors + sectors_per_block() - 1) / sectors_per_block());
  }
  // Blocks of `chunk` that hold something of it, from the first on; the others are only prepared.
  u32 used_blocks(const Chunk& chunk) const;
  // Where sectors [first, first + count) of a chunk stand: pieces of the device in order.
  struct Piece {
    u64 offset = 0;
    u64 bytes = 0;
  };
  std::vector<Piece> pieces_of(const Chunk& chunk, u32 first_sector, u32 count) const;

  // Queues a record of the chunk's present state: the blocks it uses are its own from then on.
  // `released`: blocks it had and gives back with this.
  u64 log_chunk(Chunk& chunk, std::vector<Extent> released = {});
  // Queues a record of every chunk whose blocks the log does not give to it yet.
  void log_unlogged();
  void mark_unlogged(Chunk& chunk);
  u64 log_tombstone(const ChunkId& id, std::vector<Extent> released = {});
  // Gives prepared blocks that the chunk does not use back to the pool.
  void return_spare(Chunk& chunk);

  // A checkpoint has no room for another entry of that kind. What fences, seals or deletes a chunk
  // that is here needs none: its record is there already, and its tombstone is smaller.
  enum class Entry : u8 { chunk, recovered_chunk, tombstone };
  bool metadata_full(Entry entry) const;
  u64 estimate_checkpoint() const;
  void note_checkpoint_bytes(u64 bytes);
  // One did not fit: nothing is added until another has.
  void note_checkpoint_too_large() { checkpoint_extra = layout.slot_bytes; }
  // Beginning and end of I/O on a chunk.
  void begin_io(Chunk& chunk) { ++chunk.io; }
  void end_io(Chunk& chunk) {
    --chunk.io;
    const bool awaited = chunk.removing || (chunk.live != nullptr && chunk.live->final_pending);
    if (chunk.io == 0 && awaited) {
      io_ended.wake_all();
    }
  }

  // Keeps `units` for tail readers, or not; lets go of older ones as memory demands.
  void keep_tail(Live& live, u32 unit, u32 offset, const Slice& units);
  void drop_tail(Live& live);
  void trim_tails();
  // Drops what only an open chunk needs. REQUIRES: finalized, nothing in flight, nobody waits on it.
  void close_live(Chunk& chunk);
  void keep_index(Chunk& chunk, ChunkIndex index);
  void drop_index(Chunk& chunk);
};

ChunkRecord record_of(const Shard& shard, const Chunk& chunk);
ChunkInfo info_of(const Shard& shard, const Chunk& chunk);

}  // namespace pangu::chunk
