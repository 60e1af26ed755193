#pragma once
#include "chunk/format/checkpoint_slot.h"
#include "chunk/store/op_log.h"

// Writes checkpoints: the state of the shard as records, into the slot that is not the newest, while
// everything goes on. A chunk's record carries the lsn up to which it is true, so the changes that
// happen while it is written do not matter.
namespace pangu::chunk {

struct Shard;

class Checkpointer {
 public:
  explicit Checkpointer(Shard& shard) : shard_(shard) {}

  // Goes on from what recovery found: the newest slot's header, and its index.
  void start(u64 newest_number, size_t newest_slot, u64 newest_position);
  // Writes one now. kOk, kNoSpace (too large for a slot, or the file could not grow), kDeviceFailed,
  // kBusy (one is being written).
  Task<Code> write();
  // The background task: writes one whenever a quarter of the log has filled since the last.
  Task<void> run();
  // A tombstone must not leave memory while one is being written: the records of its chunk that come
  // after the cut make no sense without it.
  bool writing() const { return writing_; }
  WaitList& ended() { return ended_; }

 private:
  struct Body;
  Task<Code> write_body(Body& body);
  Task<Code> add_chunks(Body& body);
  Task<Code> add_tombstones(Body& body, u64 lsn_min);
  Task<Code> flush_body(Body& body);
  bool due() const;

  Shard& shard_;
  u64 number_ = 0;
  size_t slot_ = 0;        // of the newest
  u64 position_ = 0;       // where the newest one's replay begins
  bool writing_ = false;
  WaitList ended_;
};

}  // namespace pangu::chunk
