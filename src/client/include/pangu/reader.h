#pragma once
#include <memory>

#include "base/bytes.h"
#include "base/time.h"
#include "runtime/task.h"

namespace pangu::client {

class ReaderCore;

// Reads one file by position, also while it is being written. Any number of calls may run at once.
// It must not outlive its client's reactor; calls after Client::stop() fail with kClosed.
//
// Invariants
// 1. Only committed bytes are ever returned, every unit of them checked from end to end.
// 2. A length that one Reader has reported never shrinks.
class Reader {
 public:
  explicit Reader(std::shared_ptr<ReaderCore> core);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Fills `into` with the bytes from `offset` on; returns how many there are, fewer than asked for
  // only at the committed end of the file. `into` stays in place until then.
  //   kUnavailable  no replica of some chunk answered with good bytes in time; it names them
  //   kNotFound     the file was removed
  Task<Result<u64>> read(u64 offset, MutableBytes into);
  // The committed length, asked for now.
  Task<Result<u64>> length();
  // The largest length seen so far, without asking.
  u64 known_length() const;
  // Waits until the file is longer than `offset`, it is sealed, or `deadline`. Returns the length
  // known then.
  Task<Result<u64>> read_wait(u64 offset, Instant deadline);

 private:
  std::shared_ptr<ReaderCore> core_;  // tasks of its own outlive a call that failed early
};

}  // namespace pangu::client
