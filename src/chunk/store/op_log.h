#pragma once
#include <deque>
#include <vector>

#include "chunk/format/log_batch.h"
#include "chunk/format/record.h"
#include "chunk/format/superblock.h"
#include "chunk/store/writer.h"

// The op log: a ring of batches of records. A record is applied to memory by whoever appends it and
// takes its place in the order at that moment; it counts once wait() has returned for it. One batch
// is written at a time and takes whatever has gathered meanwhile.
namespace pangu::chunk {

// Where a replay would begin that has to see every record appended from now on.
struct LogCut {
  u64 position = 0;
  u64 sequence = 0;
};

class OpLog {
 public:
  // All references must outlive it.
  OpLog(Writer& writer, const ShardLayout& layout, const Uuid& device, u32 shard,
        StoreCounters& counters);

  // Goes on behind what recovery found. `tail`: the ring is needed from there on.
  void start(LogCut head, u64 next_lsn, u64 tail);
  // Queues the record; returns its lsn.
  u64 append(const Record& record);
  // Until the record with this lsn is durable: kOk, or kDeviceFailed.
  Task<Code> wait(u64 lsn);
  LogCut cut() const { return {head_, next_sequence_}; }
  u64 next_lsn() const { return next_lsn_; }
  // The ring is needed only from `position` on.
  void set_tail(u64 position);
  u64 tail() const { return tail_; }
  u64 used() const { return head_ - tail_; }
  u64 size() const { return layout_.log_bytes; }

  // The task that writes batches, until end() was called and everything is written, or the device
  // failed. `full` is set by it while it waits for a checkpoint to free the ring.
  Task<void> run();
  void end();
  bool starved() const { return starved_; }
  // Woken after each batch: somebody may want to write a checkpoint.
  WaitList& written() { return written_; }

 private:
  struct Pending {
    u64 lsn = 0;
    std::vector<std::byte> bytes;
  };
  // Moves records into batch_ and returns its header; CHECKs that there is one.
  BatchHeader build();
  bool place(u64 bytes);

  Writer& writer_;
  const ShardLayout& layout_;
  const Uuid device_;
  const u32 shard_;
  StoreCounters& counters_;
  std::deque<Pending> pending_;
  Slice batch_;
  u64 head_ = 0;
  u64 tail_ = 0;
  u64 next_sequence_ = 1;
  u64 next_lsn_ = 1;
  u64 durable_lsn_ = 0;
  bool ended_ = false;
  bool starved_ = false;
  WaitList work_;
  WaitList written_;
};

}  // namespace pangu::chunk
