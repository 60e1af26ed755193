#pragma once
#include <memory>
#include <optional>
#include <string>

#include "env/env.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// The file at the end of the shared log, where records are written.
//
// Invariants
// 1. end() is where the last durable record ends. One write of records at a time.
// 2. The file is filled with zeroes ahead of its records, so that a write of records changes
// nothing
//    that the file system keeps a journal of. No write of records overlaps a write of zeroes.
// 3. After any error but want of space nothing is written any more: failure() says why.
namespace pangu::raft {

class LogTail {
 public:
  // The reactor must outlive it. `ahead`: zeroes beyond the last record; `file_bytes`: but not
  // beyond that.
  LogTail(Reactor& reactor, u64 ahead, u64 file_bytes)
      : reactor_(reactor), ahead_(ahead), file_bytes_(file_bytes) {}

  // The file to write from now on: its records end at `end`, and up to `prepared` it is zeroes.
  // Waits for what is being prepared in the one before.
  Task<Status> switch_to(std::string path, u64 end, u64 prepared);
  u64 end() const { return end_; }
  const std::optional<Error>& failure() const { return failure_; }

  // Durable at end() when it returns. kNoSpace: the file ends where it did, nothing is left of it.
  // `bytes` stay in place until then.
  Task<Status> append(Bytes bytes);
  // Writes `bytes`, which end at end(), once more: they may have been read from memory that the
  // medium never saw. What follows up to `torn_upto` is erased first. For open().
  Task<Status> repair(Bytes bytes, u64 torn_upto);

  // Writes the zeroes, until stop() or a failure.
  Task<void> prepare();
  void stop();

 private:
  Task<Status> write_all(u64 offset, Bytes bytes);
  Task<Status> cut_back();
  Task<Status> erase_tail(u64 upto);
  Task<void> wait_prepared();
  Error from_errno(i64 result) const;

  Reactor& reactor_;
  u64 ahead_;
  u64 file_bytes_;
  std::string path_;
  std::unique_ptr<env::File> file_;
  u64 end_ = 0;
  // Every byte of the file from end_ to here is zero, or is being written as a record.
  u64 prepared_ = 0;
  bool preparing_ = false;  // a write of zeroes from prepared_ on is in flight
  bool stopped_ = false;
  std::optional<Error> failure_;
  WaitList prepare_due_;
  WaitList prepare_ended_;
};

}  // namespace pangu::raft
