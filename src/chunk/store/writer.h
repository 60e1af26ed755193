#pragma once
#include <string>

#include "chunk/store/types.h"
#include "env/env.h"
#include "runtime/sync.h"

// The durability point: every write of the store goes through here and is durable when it returns.
// A write alone in flight is durable in itself; writes that meet others go out plain and share one
// flush, submitted when all of them have completed.
//
// A failed write (but for "no space") or flush is final: everything after it answers kDeviceFailed.
namespace pangu::chunk {

class Writer {
 public:
  // `file` and `counters` must outlive it.
  Writer(env::File& file, bool writes_are_durable, StoreCounters& counters)
      : file_(file), writes_are_durable_(writes_are_durable), counters_(counters) {}

  // kOk: durable. kNoSpace: nothing is known of the bytes there. kDeviceFailed.
  Task<Code> write_durable(u64 offset, Bytes from, i32 registered_slot);
  // kOk: will be durable when a sync() that begins later returns kOk.
  Task<Code> write_plain(u64 offset, Bytes from);
  Task<Code> sync();
  bool failed() const { return failed_; }
  // For people: what failed first. Empty if nothing has.
  const std::string& reason() const { return reason_; }
  env::File& file() { return file_; }

 private:
  // Writes that will share a flush. It is open until one of them has completed (and no older one is
  // still unflushed), then closed, and flushed once none of them is in flight.
  struct Batch {
    u32 writing = 0;
    u32 written = 0;
  };
  Batch& batch(u64 number) { return batches_[number % 2]; }
  void close_batch_if_due();
  Task<Code> settle(u64 number);
  Task<Code> write_all(u64 offset, Bytes from, env::Durability durability, i32 registered_slot);
  void fail(i64 result, std::string_view what);

  env::File& file_;
  const bool writes_are_durable_;
  StoreCounters& counters_;
  bool failed_ = false;
  std::string reason_;
  bool flushing_ = false;
  u32 active_ = 0;
  u64 open_ = 1;     // the batch that new writes join; open_ - 1 may be closed and unflushed
  u64 flushed_ = 0;  // every batch up to this one is durable
  Batch batches_[2];
  WaitList changed_;
};

}  // namespace pangu::chunk
