#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/driver/log_segment.h"

// What the shared log knows of its segments and groups, as of the records that are durable. Both
// replay and the running log change it, record by record, through the same functions.
namespace pangu::raft {

// Where an entry is. segment 0: nowhere, its segment was deleted.
struct Place {
  u32 segment = 0;
  u32 offset = 0;
  u32 bytes = 0;  // of its record
  bool operator==(const Place&) const = default;
};

struct LogSegment {
  u32 number = 0;
  std::string path;
  u64 bytes = 0;              // of its header and records
  u64 table_end = 0;          // where the records after its table begin; 0: the table is not there
  u64 live_entries = 0;       // entries that some group needs
  u64 live_bytes = 0;         // of their records
  u64 record_bytes() const {  // beside the table
    return table_end == 0 ? 0 : bytes - table_end;
  }
};

// The segments there are, numbered without gaps.
class LogSegments {
 public:
  std::deque<LogSegment>& list() { return list_; }
  const std::deque<LogSegment>& list() const { return list_; }
  // REQUIRES: it is there
  LogSegment& at(u32 number) { return list_[number - list_.front().number]; }
  void add_live(const Place& place);
  void drop_live(const Place& place);  // segment 0: nothing
  u64 bytes() const;
  u64 live_bytes() const { return live_bytes_; }
  u64 record_bytes() const;  // without tables

 private:
  std::deque<LogSegment> list_;
  u64 live_bytes_ = 0;
};

// One group's log as it is on disk.
// Invariant: places has one place for each entry after summary.base().
struct GroupLog {
  explicit GroupLog(SnapshotMeta base) : summary(std::move(base)) {}
  explicit GroupLog(StateBody state);
  HardState hard_state;
  LogSummary summary;
  std::deque<Place> places;
  u64 live_bytes = 0;

  const Place& place_of(Index index) const { return places[index - summary.base().index - 1]; }
  bool holds(Index index) const {
    return index > summary.base().index && index <= summary.last().index;
  }
};

class LogGroups {
 public:
  explicit LogGroups(LogSegments& segments) : segments_(segments) {}

  GroupLog* find(GroupId group);
  const GroupLog* find(GroupId group) const;
  const std::map<GroupId, GroupLog>& all() const { return groups_; }
  bool was_removed(GroupId group) const;

  // One per record type; kCorrupt: cannot follow what was there, and nothing changed.
  Status create(GroupId group, SnapshotMeta base);
  Status remove(GroupId group);
  Status install(GroupId group, SnapshotMeta base);
  Status set_hard_state(GroupId group, const HardState& hard_state);
  Status append(GroupId group, const Entry& entry, const Place& place);
  Status relocate(GroupId group, LogId id, const Place& place);
  // REQUIRES: the group exists; base <= index <= last
  void compact(GroupId group, Index index);

  // The table of a segment that begins now.
  void add_table(RecordWriter& writer) const;
  // The table of the first segment of a replay; then a state for each group.
  void begin(const TableBody& table);
  Status restore(GroupId group, StateBody state);
  // The table of a later segment: what is known already, but for compaction.
  Status verify(const TableBody& table) const;
  Status verify(GroupId group, const StateBody& state);

  // After a replay. An entry that is nowhere was compacted, and all before it; if nothing was ever
  // deleted, it is missing. kCorrupt: a log ends before its commit index, or entries are missing.
  Status settle(bool segments_were_deleted);

 private:
  TableBody describe() const;
  void add_removed(u64 id);
  Result<GroupLog*> existing(GroupId group);
  void drop_last(GroupLog& log);
  void drop_all(GroupLog& log);

  LogSegments& segments_;
  std::map<GroupId, GroupLog> groups_;
  std::map<u64, u64> removed_;  // first and last id of each range
};

}  // namespace pangu::raft
