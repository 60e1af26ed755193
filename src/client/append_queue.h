#pragma once
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "base/intrusive_list.h"
#include "base/time.h"
#include "runtime/sync.h"

// The appends of one writer that are not acknowledged yet, in stream order, and what of them stands
// in runs of the current chunk. Pure bookkeeping: it sends nothing.
//
//   acked() ........ cut() ........ end()
//   | in runs of the | waiting to be |
//   | current chunk  | cut           |
//
// Invariants
// 1. acked() <= cut() <= end(); every byte of [acked(), end()) stays readable in its caller's
// memory.
// 2. cut() lies inside no record.
namespace pangu::client {

// One append. Its owner keeps it and its bytes in place until `done` is set.
struct PendingAppend : ListNode {
  Bytes bytes;
  Slice keep;  // what holds `bytes`, where the caller gave memory away
  bool record = false;
  u64 offset = 0;  // of its first byte in the stream, set by push
  Instant submitted;
  Instant deadline;
  std::optional<Error> error;  // when done: why not
  Event done;
  // Called instead of waking somebody, if set: an append that nobody waits for.
  void (*on_done)(PendingAppend&) = nullptr;
  void* owner = nullptr;

  u64 end() const { return offset + bytes.size(); }
};

class AppendQueue {
 public:
  explicit AppendQueue(u64 start) : acked_(start), cut_(start), end_(start) {}

  u64 acked() const { return acked_; }
  u64 cut() const { return cut_; }
  u64 end() const { return end_; }
  u64 waiting() const { return end_ - cut_; }
  bool empty() const { return acked_ == end_; }
  // The oldest append, or nullptr.
  PendingAppend* front() { return list_.front(); }

  // REQUIRES: not empty.
  void push(PendingAppend& append);

  // The pieces of the next run: from cut() on, as much as is waiting, at most `room` bytes and
  // wire::kRunDataMax, ending early before a record that would straddle a unit or does not fit.
  // Empty: nothing waits, or what waits first does not fit into `room`. Valid until the next call.
  struct Plan {
    std::span<const Bytes> pieces;
    u32 length = 0;
  };
  Plan plan_run(u32 room);
  // The planned run has been cut.
  void mark_cut(u32 length);
  // The chunk was left: everything that is not acknowledged waits again.
  void uncut();

  // [.., to) is acknowledged: finishes the appends that end there. Each is handed to
  // `visit(append)` before it is finished.
  template <class Visit>
  void acknowledge(u64 to, Visit visit) {
    CHECK(to >= acked_ && to <= cut_);
    acked_ = to;
    while (PendingAppend* append = list_.front()) {
      if (append->end() > to) {
        break;
      }
      CHECK(cut_in_ != append);  // it is cut to its end
      append->unlink();
      visit(*append);
      finish(*append);
    }
  }
  // Fails all with `error`; afterwards the queue is empty and end() == acked().
  template <class Visit>
  void fail_all(const Error& error, Visit visit) {
    while (PendingAppend* append = list_.pop_front()) {
      append->error = error;
      visit(*append);
      finish(*append);
    }
    cut_in_ = nullptr;
    cut_ = end_ = acked_;
  }

 private:
  static void finish(PendingAppend& append) {
    if (append.on_done != nullptr) {
      append.on_done(append);  // may free it
    } else {
      append.done.set();
    }
  }
  u64 acked_;
  u64 cut_;
  u64 end_;
  IntrusiveList<PendingAppend> list_;
  PendingAppend* cut_in_ = nullptr;  // the append that holds the byte at cut_; nullptr: none waits
  std::vector<Bytes> pieces_;
};

}  // namespace pangu::client
