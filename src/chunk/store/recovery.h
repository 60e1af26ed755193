#pragma once
#include <map>

#include "chunk/format/block_sectors.h"
#include "chunk/store/load.h"

// The second half of recovery: what the blocks themselves say. It finds the chunks and the growth
// that no log record knows, and where every open chunk ends.
//
// Rules
// 1. A chunk ends before the first unit that is not its next good one. What is known committed (from
//    the footers of all its good units) must end before that too; otherwise the chunk is damaged: it
//    answers CORRUPT and never a shorter length.
// 2. Units behind the end of a chunk that is not damaged are overwritten with zeroes before anything
//    is appended, so that a second recovery cannot find them again.
// 3. Everything that counts is durable before the first answer.
namespace pangu::chunk {

class Recovery {
 public:
  explicit Recovery(Shard& shard) : shard_(shard) {}

  // Reads only. Afterwards the shard's table, block map and pool are complete in memory.
  Task<Status> look();
  // Writes what rules 2 and 3 demand, with a checkpoint.
  Task<Status> settle(const Loaded& loaded);

 private:
  // A good unit found in a block.
  struct Seen {
    ChunkId chunk;
    Epoch epoch;
    u32 sector = 0;  // inside the block
    u32 unit_index = 0;
    u32 committed = 0;
  };
  // A prepared block and what stands in it.
  struct Block {
    u32 number = 0;
    bool reserved = false;    // its first sector still is the RESERVED one
    bool unreadable = false;  // its first sector
    std::optional<ChunkHeader> header;
    std::vector<Seen> seen;
    bool owned = false;       // a chunk has it
  };
  Task<Status> look_at_block(u32 number);
  void see_unit(Block& block, u32 sector, const std::byte* bytes);
  bool may_be_owned(const ChunkId& id) const;
  void create_found_chunks();
  void drop_remains();
  void attach_growth();
  void find_headless();
  Task<void> scan_chunk(ChunkRef chunk);
  void detach_unused(Chunk& chunk);
  void forget_stale_units();
  void sort_out_blocks();
  Status mark_used();
  Task<Status> write_zeroes();
  Error write_error(Code code, std::string_view doing) const;

  Shard& shard_;
  std::vector<Block> blocks_;
  std::map<u32, size_t> block_index_;  // number -> place in blocks_
  std::map<ChunkId, u32> committed_;  // what good units in prepared blocks say is committed
  std::vector<u64> stale_;  // device offsets of sectors to be zeroed
};

}  // namespace pangu::chunk
