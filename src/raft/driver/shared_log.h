#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/intrusive_list.h"
#include "base/result.h"
#include "raft/driver/entry_cache.h"
#include "raft/driver/log_groups.h"
#include "raft/driver/log_segment.h"
#include "raft/driver/log_store.h"
#include "raft/driver/log_tail.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// The log of all Raft groups of a process: one sequence of segment files, one durable write for all
// that waits (docs/formats/raft-log.md). It belongs to one reactor.
//
// Invariants
// 1. What a call acknowledged is there after any crash, byte for byte; what was cut, replaced or
//    removed never returns; a hard state never goes back.
// 2. A LogWrite is kept whole or not at all. One that was not acknowledged may be there after a
//    crash, unless it failed with kNoSpace.
// 3. Bytes that come back from disk are checked before anybody sees them.
// 4. Of entries that are on disk, memory holds some 16 bytes each, and at most `cache_bytes` of
//    entries.
namespace pangu::raft {

struct SharedLogOptions {
  std::string directory;  // exists, and is nobody else's
  Uuid log;               // written in every segment; another log's files are refused
  u64 segment_bytes = 32 * kMiB;
  u64 cache_bytes = 64 * kMiB;
  u64 write_bytes_max = 4 * kMiB;   // of one device write, unless a single LogWrite is larger
  u64 prepared_ahead = 512 * kKiB;  // zeroes beyond the last record; 0: none
};

inline constexpr u64 kEntryBytesMax = 64 * kMiB;  // payload of one entry
inline constexpr u64 kLogWriteBytesMax = kGiB;    // all entries of one LogWrite

struct SharedLogCounters {
  u64 writes = 0;         // LogWrites, and groups begun and removed
  u64 entries = 0;        // of LogWrites
  u64 device_writes = 0;  // of records: zeroes written ahead are not in it
  u64 bytes_written = 0;  // of records
  u64 segments_added = 0;
  u64 segments_removed = 0;
  u64 entries_copied = 0;  // out of old segments, so that they can go
  u64 fetches = 0;         // that had to read from disk
};

class SharedLog final : public LogStore {
 public:
  // `reactor` must outlive the log.
  SharedLog(Reactor& reactor, SharedLogOptions options);
  // REQUIRES: stop() returned, or open() did not succeed, or the reactor was abandoned
  ~SharedLog() override;
  SharedLog(const SharedLog&) = delete;
  SharedLog& operator=(const SharedLog&) = delete;

  // Reads all that is there. Once, before anything else. What a crash left of the last device write
  // is cut off. Errors: kCorrupt names file and offset, and nothing was changed; kUnsupported,
  // kWrongCluster: the files are of another version or log; kIoError, kNoSpace.
  Task<Status> open() override;

  // What open() found. Once. REQUIRES of the caller: to refuse a group whose state machine's
  // durable index lies before the base of its log: a file lost from the front of the log looks like
  // compaction.
  std::map<GroupId, Recovered> take_recovered() override;

  // A group that begins: base {0/0, first members}, or {0/0, nobody} for a member about to be
  // added. Durable when it returns. kAlreadyExists: this log has, or ever had, that group. Else as
  // write().
  Task<Status> create_group(GroupId group, SnapshotMeta base) override;
  // Durable when it returns; view() and everything else of the group ends with the call. The id may
  // never come back to this log. kNotFound; else as write().
  Task<Status> remove_group(GroupId group) override;

  // Durable when it returns ok. Writes of one group complete in the order in which they were begun.
  // Errors:
  //   kNoSpace   nothing was kept. All writes of the group that wait behind it fail alike; the
  //              caller may begin them again, in their order, when all of them have returned
  //              (before, kNoSpace at once). What it begins then must not build upon what was not
  //              kept: simplest is one write of a group at a time.
  //   kIoError   the log failed, now or before, for good: it takes nothing more, and whether this
  //              write is kept is not known.
  //   kTooLarge, kNotFound, kClosed, kInvalidArgument (a gap, indexes or a hard state that goes
  //              back, a commit index beyond the log): nothing was done.
  Task<Status> write(LogWrite write) override;

  // Over the cache: `not_in_memory` is what fetch() is for. Shows a write once it is durable. Valid
  // until remove_group(). REQUIRES: the group exists
  const LogView& view(GroupId group) const override;

  // The entries from range.first on, up to range.last or until they have `bytes_max` bytes, at
  // least one. From the cache or from disk. kNotFound: the log does not hold range.first, or does
  // not any more when the disk has answered. kCorrupt names file and offset. kIoError, kClosed.
  Task<Result<Entries>> fetch(GroupId group, IndexRange range, u64 bytes_max) override;

  // Entries up to `index` are not needed; nothing of them can be read any more, but they may come
  // back after a restart. Segments that nobody needs are deleted some time later. A group that
  // keeps an old segment alive has its entries there written again at the end of the log, as soon
  // as the log is more than twice as large as what is needed in it (and some segments).
  // kInvalidArgument: the log does not hold them, or a write under way cuts them. kNotFound.
  Status compact(GroupId group, Index index) override;

  u64 stored_bytes() const override;  // of all segments
  u64 stored_bytes(
      GroupId group) const override;  // of a group's entries; 0 if there is no such group
  u64 cached_bytes() const { return cache_.bytes(); }
  const SharedLogCounters& counters() const { return counters_; }

  // What is being written is finished, what waits fails with kClosed.
  Task<void> stop() override;

 private:
  class View final : public LogView {
   public:
    View(const EntryCache& cache, GroupId group) : cache_(cache), group_(group) {}
    Found read(IndexRange range, u64 bytes_max, Entries& out) const override {
      return cache_.read(group_, range, bytes_max, out);
    }

   private:
    const EntryCache& cache_;
    GroupId group_;
  };
  // A group as its callers see it: what they have begun, beside what is durable.
  struct Front {
    Front(const EntryCache& cache, GroupId group) : view(cache, group) {}
    View view;
    u32 pending = 0;          // requests that wait or are being written
    u32 failures_unseen = 0;  // writes that failed with kNoSpace and have not returned
    bool removing = false;
    // How the group will be when all that is pending is done; only while something is.
    Index base = 0;
    LogId last;
    HardState hard_state;
    Index cut_from = 0;  // the lowest index of an entry that is pending
  };
  struct Copied {
    Entry entry;
    GroupId group;
    Place from;
  };
  // Lives in the frame of the call that waits for it.
  struct Request : ListNode {
    enum class Kind : u8 { create, remove, write, copy };
    Request(Kind what, GroupId of) : kind(what), group(of) {}
    Kind kind;
    GroupId group;
    SnapshotMeta base;
    LogWrite write;
    std::vector<Copied> copies;
    bool refused = false;  // it was begun before the failure of another write was seen
    u64 bytes = 0;         // of its records
    u64 offset = 0;        // of its first record, in the segment
    std::optional<Error> error;
    Event done;
  };

  // Before the writer.
  Status usable() const;
  Result<Front*> front_of(GroupId group);
  void plan_from_durable(Front& front, const GroupLog& log);
  Status plan(Front& front, LogWrite& write);
  Result<LogId> plan_entries(const Front& front, const LogWrite& write, Index base, LogId last);
  Task<Status> carry_out(Request& request);

  // The writer.
  Task<void> write_loop();
  void take_batch();
  Task<Status> write_batch();
  Task<Status> add_segment();
  void encode(Request& request, RecordWriter& writer);
  void encode_write(const LogWrite& write, RecordWriter& writer);
  void apply(Request& request);
  void apply_write(const Request& request);
  void settle(const Status& written);
  void finish(Request& request, const Status& outcome);
  bool closed() const { return closing_ || broken_; }

  // log_fetch.cc
  struct Wanted {
    LogId id;
    Place place;
  };
  std::vector<Wanted> next_run(const GroupLog& log, IndexRange range, u64 bytes_max) const;
  Task<Status> read_run(GroupId group, std::vector<Wanted> run, Entries& out);
  Result<std::shared_ptr<env::File>> reader_of(u32 segment);
  Task<Result<std::vector<std::byte>>> read_at(u32 segment, u64 offset, u64 bytes);

  // log_reclaim.cc
  Task<void> reclaim_loop();
  bool may_remove_first() const;
  bool should_copy_first() const;
  Status remove_first();
  Task<Status> copy_live(u32 segment);
  Task<Status> copy_piece(u32 segment, Bytes piece, u64 at, u64& next);
  bool lives_at(GroupId group, LogId id, const Place& place) const;

  Reactor& reactor_;
  SharedLogOptions options_;
  LogSegments segments_;
  LogGroups groups_;
  EntryCache cache_;
  LogTail tail_;
  Chain chain_;
  SegmentHeader header_{};  // of the last segment
  std::map<GroupId, Front> fronts_;
  std::set<GroupId> beginning_;  // groups that are being created
  IntrusiveList<Request> queue_;
  IntrusiveList<Request> writing_;
  std::string buffer_;
  std::map<u32, std::shared_ptr<env::File>> readers_;
  WaitList queue_grew_;
  WaitList reclaim_due_;
  WaitList stopping_;
  bool opened_ = false;
  bool closing_ = false;
  std::optional<Error> broken_;
  Gate gate_;
  SharedLogCounters counters_;
};

}  // namespace pangu::raft
