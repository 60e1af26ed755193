#pragma once
#include <memory>
#include <string>
#include <vector>

#include "raft/core/payload.h"
#include "raft/driver/codec.h"
#include "runtime/task.h"

// What a group is for: given by the user of the driver, one for each member.
namespace pangu::raft {

// A snapshot on its way in. What was written may be kept when the sink goes without commit(), so
// that begin_install() of the same image can go on from there.
class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  // For each piece, how many of its first bytes are there already.
  virtual std::vector<u64> have() const = 0;
  // In order within a piece.
  virtual Task<Status> write(u32 piece, u64 offset, std::string bytes) = 0;
  // The state is replaced by the snapshot: a crash leaves the old one or the new one, and once it
  // has returned ok the new one. Then applied() == durable() == the image's index. kCorrupt: a
  // piece does not have its CRC; what was staged is gone. kNoSpace may be tried again.
  virtual Task<Status> commit() = 0;
};

class StateMachine {
 public:
  virtual ~StateMachine() = default;

  // The command at `index`. One call at a time, in order, and never beside make_snapshot() or
  // commit(); may be slow. Indexes of entries that are not commands are left out. An error is
  // final: the member takes part in nothing any more.
  virtual Task<Status> apply(Index index, Payload command) = 0;
  // The last index that apply() has finished, or that was installed or found at start.
  virtual Index applied() const = 0;
  // What a crash would leave of it. The log is kept from here on.
  virtual Index durable() const = 0;

  // A consistent picture of what is applied, named by its index, kept until it is released.
  // kBusy: not now.
  virtual Task<Result<SnapshotImage>> make_snapshot() = 0;
  // Exactly `length` bytes; may run beside everything else.
  virtual Task<Result<std::string>> read_piece(Index index, u32 piece, u64 offset, u32 length) = 0;
  virtual void release_snapshot(Index index) = 0;

  // May run beside apply(), and so may the sink's write(). One at a time.
  virtual Task<Result<std::unique_ptr<SnapshotSink>>> begin_install(SnapshotImage image) = 0;
};

}  // namespace pangu::raft
