#pragma once
#include "chunk/store/shard.h"

// The first half of recovery: the newest checkpoint and the log behind it, read into a shard that
// has not been started. Nothing is written.
namespace pangu::chunk {

struct Loaded {
  u64 newest_number = 0;  // of any slot header seen
  size_t used_slot = 0;   // the one that was read
  u64 used_position = 0;
  bool used_older = false;
  LogCut log_end;
  u64 next_lsn = 1;
  u64 log_records = 0;
};

// Afterwards: table, and blocks.reserved and blocks.prewritten; open chunks have a Live with their
// history only; blocks.used is not filled in. Corrupt says what is beyond use.
Task<Result<Loaded>> load_shard(Shard& shard);

// Applies one record of the log or of a checkpoint. Corrupt if it contradicts what is known.
Status apply_record(Shard& shard, DecodedRecord record);

}  // namespace pangu::chunk
