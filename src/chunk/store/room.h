#pragma once
#include <map>
#include <vector>

#include "chunk/store/chunk.h"

// Room for creates and growth: blocks that are prepared ahead of need, so that no append waits for
// the log or changes a file's metadata.
//
// A block is prepared when its first sector is durably a RESERVED sector and then the log says so.
// Prepared blocks are in the pool or behind a chunk's last used block; either way recovery looks at
// their first sectors to see whether a chunk has come to use them.
namespace pangu::chunk {

struct Shard;

class Room {
 public:
  explicit Room(Shard& shard);

  // Adds at least `needed` and, while there is plenty, up to `wanted` prepared blocks to `extents`,
  // adjacent to its end if possible. False: the pool has too few; nothing is changed.
  bool extend(std::vector<Extent>& extents, u32 needed, u32 wanted);
  // Until the pool has `blocks`. kOk is only a hint: somebody else may have been faster. kNoSpace,
  // kBusy (deadline), kDeviceFailed, kClosed. `privileged`: may use what is kept back.
  Task<Code> wait(u32 blocks, bool privileged, Instant deadline);
  // Has blocks prepared behind the chunk's last one.
  void ask_growth(Chunk& chunk);
  // Prepared blocks that nobody uses any more.
  void give_back(const std::vector<Extent>& prepared);
  // Blocks that held data: free. What frees them is durable already.
  void free(const std::vector<Extent>& blocks);

  // Blocks to give a new chunk ahead of its needs.
  u32 stretch() const { return stretch_; }
  // An open chunk with less room than this behind its end asks for more.
  u32 low_water() const { return low_water_; }
  u32 pool_blocks() const { return pool_blocks_; }
  u32 kept_blocks() const { return kept_; }
  bool full() const { return full_; }

  // The background task; ends when the store is stopping or the device failed.
  Task<void> run();
  void wake() { wake_.wake_all(); }

 private:
  struct Item {
    Extent extent;
    ChunkRef chunk;  // for whom, or nobody
  };
  void put(Extent extent);
  Extent take_from_pool(std::map<u32, u32>::iterator at, u32 want);
  std::map<u32, u32>::iterator best_fit(u32 want);
  bool needs_work() const;
  std::vector<Item> plan();
  void plan_growth(std::vector<Item>& plan, u32& available);
  void reclaim();
  Task<Code> prepare(const std::vector<Item>& plan);
  Task<Code> write_reserved(Extent extent);
  Task<Code> write_zeroed(Extent extent);
  void hand_out(const std::vector<Item>& plan);
  void deny();

  Shard& shard_;
  std::map<u32, u32> pool_;  // start -> count, disjoint, not adjacent
  u32 pool_blocks_ = 0;
  u32 stretch_ = 0;
  u32 low_water_ = 0;  // sectors
  u32 target_ = 0;
  u32 target_max_ = 0;
  u32 kept_ = 0;
  u32 gap_ = 0;
  bool full_ = false;
  u32 demand_ = 0;  // the largest number of blocks somebody waits for
  u32 waiting_ = 0;
  u32 privileged_waiting_ = 0;
  u64 denials_ = 0;
  std::vector<ChunkRef> growing_;
  Slice image_;  // up to 1 MiB of zeroes, in which RESERVED sectors are set and cleared
  WaitList wake_;
  WaitList changed_;
};

}  // namespace pangu::chunk
