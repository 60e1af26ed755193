#pragma once
#include <string>

#include "base/result.h"
#include "runtime/task.h"

// Where a group's commands become durable and get their order. Written for one copy of a group
// (log/local_log.h); several copies need the same members.
//
// Invariants
// 1. Indexes count up from 1 without gaps.
// 2. A command that was committed is delivered, in index order, exactly once in a process's life, and
//    again after a restart if the consumer's applied index lies before it.
// 3. Nothing is delivered before it is committed.
namespace pangu::master {

class CommandLog {
 public:
  class Consumer {
   public:
    virtual ~Consumer() = default;
    // One call at a time. An error is final: the log takes nothing more.
    virtual Task<Status> apply(u64 index, std::string command) = 0;
  };

  virtual ~CommandLog() = default;

  // Finds the commands that are already there and delivers those after `applied`. `consumer` must
  // outlive the log. Errors: kCorrupt names the damaged place, or what is missing.
  virtual Task<Status> open(u64 applied, Consumer& consumer) = 0;

  // The command's index, once it is committed (its delivery may come a little later). Errors:
  //   kNoSpace, kBusy, kTooLarge, kTimeout, kClosed   it was not committed and never will be
  //   kUnknownOutcome                                 it may be, or may become, committed
  //   kIoError                                        the log failed before: nothing was done
  virtual Task<Result<u64>> propose(std::string command, Instant deadline) = 0;

  // Returns ok once everything that was committed anywhere before the call is at least committed
  // here: what is read after it, when committed() is applied, is not stale.
  virtual Task<Status> read_barrier(Instant deadline) = 0;

  virtual u64 committed() const = 0;
  // Bytes that open() would read again.
  virtual u64 stored_bytes() const = 0;

  // Commands up to `index` are not needed any more. REQUIRES: they are applied, and what they did is
  // durable elsewhere. May keep some of them.
  virtual Status truncate_prefix(u64 index) = 0;

  // Proposals that are not being written fail with kClosed; what is committed is delivered.
  virtual Task<void> stop() = 0;
};

}  // namespace pangu::master
