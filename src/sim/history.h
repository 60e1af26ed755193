#pragma once
#include <optional>
#include <vector>

#include "base/time.h"
#include "sim/namespace_tree.h"

// What clients asked and were answered, as one observer saw it: the order of calls and answers is
// the order in which they were recorded. Times are for people.
namespace pangu::sim {

struct RecordedCall {
  static constexpr u64 kNever = ~u64{0};

  u32 client = 0;
  NamespaceOp op;
  u64 called = 0;          // numbers of the events, from 1 on
  u64 returned = kNever;   // kNever: it may happen at any time after the call, or not at all
  NamespaceAnswer answer;  // if it returned
  Instant called_at;
  Instant returned_at;   // of one that never returned: when its caller gave up, or never()
  bool nothing = false;  // it did not happen, or nobody was told anything: it proves nothing

  bool answered() const { return returned != kNever; }
};

class History {
 public:
  // Returns the call's number, for one of:
  size_t call(u32 client, NamespaceOp op, Instant now);
  void answered(size_t call, NamespaceAnswer answer, Instant now);
  // The caller gave up. A change may have happened, or happen yet; so may one whose caller died,
  // and that needs no word.
  void unknown(size_t call, Instant now);
  // It surely did not happen and never will.
  void nothing(size_t call);

  const std::vector<RecordedCall>& calls() const { return calls_; }
  u64 events() const { return events_; }

 private:
  u64 events_ = 0;
  std::vector<RecordedCall> calls_;
};

}  // namespace pangu::sim
