#pragma once
#include <deque>
#include <map>
#include <set>

#include "base/prng.h"
#include "raft/driver/log_store.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// A LogStore on memory that outlives its process: what a perfect disk would do, as slow and as full
// as a test wishes, and what the rest of the driver costs without a disk.
namespace pangu::raft::testing {

// What a crash keeps. Belongs to the test.
struct MemoryDisk {
  struct Group {
    HardState hard_state;
    SnapshotMeta base;
    std::deque<Entry> log;  // from base.id.index + 1 on
    Index last() const { return base.id.index + log.size(); }
  };
  std::map<GroupId, Group> groups;
  std::set<GroupId> removed;

  Duration write_max;      // a write takes a draw below this
  u64 forgets_every = 0;   // every so many reads find nothing in memory; 0: none
  bool full = false;       // kNoSpace
  bool broken = false;     // kIoError
};

class MemoryLog final : public LogStore {
 public:
  // `disk` must outlive the log.
  MemoryLog(Reactor& reactor, MemoryDisk& disk);
  ~MemoryLog() override;

  Task<Status> open() override;
  std::map<GroupId, Recovered> take_recovered() override;
  Task<Status> create_group(GroupId group, SnapshotMeta base) override;
  Task<Status> remove_group(GroupId group) override;
  Task<Status> write(LogWrite write) override;
  const LogView& view(GroupId group) const override;
  Task<Result<Entries>> fetch(GroupId group, IndexRange range, u64 bytes_max) override;
  Status compact(GroupId group, Index index) override;
  u64 stored_bytes() const override;
  u64 stored_bytes(GroupId group) const override;
  Task<void> stop() override;

 private:
  struct View;
  Task<void> delay();
  Status perform(LogWrite& write);
  Status usable() const;

  MemoryDisk& disk_;
  Prng prng_;
  Semaphore writer_{1};
  bool stopped_ = false;
  mutable std::map<GroupId, std::unique_ptr<View>> views_;
};

}  // namespace pangu::raft::testing
