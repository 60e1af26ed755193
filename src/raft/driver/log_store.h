#pragma once
#include <map>
#include <optional>

#include "raft/core/log_summary.h"
#include "raft/driver/ids.h"
#include "runtime/task.h"

// Where the groups of one process keep their logs. In the product: shared_log.h, one log on disk
// for all of them. The seam is here so that a host can also run on memory, for tests and to measure
// what the disk costs.
namespace pangu::raft {

// What one write makes durable, in this order or at once.
struct LogWrite {
  GroupId group;
  // The group's log is replaced by an empty one that begins after this snapshot.
  std::optional<SnapshotMeta> install;
  std::optional<HardState> hard_state;
  // If the first index is not the one after the log's end, the log is cut there first.
  Entries entries;
};

class LogStore {
 public:
  struct Recovered {
    HardState hard_state;
    LogSummary log;
  };

  virtual ~LogStore() = default;

  // Reads what is there. kCorrupt names the damaged place and says what to do.
  virtual Task<Status> open() = 0;
  // Once, after open().
  virtual std::map<GroupId, Recovered> take_recovered() = 0;

  // A group that begins: `base` is {0/0, first members}, or {0/0, nobody} for a member that is
  // about to be added to one. Durable when it returns. kAlreadyExists.
  virtual Task<Status> create_group(GroupId group, SnapshotMeta base) = 0;
  // Durable when it returns; the id may never come back to this log.
  virtual Task<Status> remove_group(GroupId group) = 0;

  // Durable when it returns ok. Writes of one group complete in the order in which they were begun.
  // kNoSpace: nothing was kept, the caller may try again. Any other error is final for the store.
  virtual Task<Status> write(LogWrite write) = 0;

  // Recent entries, from memory. Valid until remove_group().
  virtual const LogView& view(GroupId group) const = 0;
  // From memory or disk, at least one entry. kNotFound: the range is not (or no longer) there.
  virtual Task<Result<Entries>> fetch(GroupId group, IndexRange range, u64 bytes_max) = 0;

  // Entries up to `index` are not needed any more. May keep some of them.
  virtual Status compact(GroupId group, Index index) = 0;
  virtual u64 stored_bytes() const = 0;
  virtual u64 stored_bytes(GroupId group) const = 0;

  virtual Task<void> stop() = 0;
};

}  // namespace pangu::raft
