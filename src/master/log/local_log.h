#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "env/env.h"
#include "master/log/command_log.h"
#include "master/log/segment.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// The log of a group that has one copy: segment files in a folder, one durable write for all
// proposals that came while the one before was under way.
//
// Invariants
// 1. At most one write is in flight; a record's durable_index is the last index before its write.
//    So a crash can tear only the records of one write, none of which was committed, and any record
//    that is unreadable although a later one says that it was durable is damage: open() refuses.
// 2. A failed proposal leaves nothing behind that a restart could find: after a full disk the file is
//    cut back; if that fails, or after any other error, the log takes nothing more and the proposals
//    of that write have an unknown outcome.
// 3. The file is filled with zeroes ahead of its records, so that a write of records changes nothing
//    that the file system keeps a journal of. No write of records overlaps a write of zeroes.
// 4. At open, the records of the last write are written again before they count: what was read may
//    have come from memory that the medium never saw.
namespace pangu::master {

struct LocalLogOptions {
  std::string directory;  // exists
  Uuid log;               // written in every segment
  u64 segment_bytes = 16 * kMiB;
  u64 write_bytes_max = kMiB;        // of one write, unless a single command is larger
  u64 queued_bytes_max = 64 * kMiB;  // proposed and not delivered; beyond it kBusy
  u64 prepared_ahead = 512 * kKiB;   // zeroes beyond the last record; 0: none
};

struct LocalLogCounters {
  u64 proposals = 0;
  u64 writes = 0;
  u64 bytes_written = 0;
  u64 segments_removed = 0;
};

class LocalLog final : public CommandLog {
 public:
  // `reactor` must outlive the log.
  LocalLog(Reactor& reactor, LocalLogOptions options);
  // REQUIRES: stop() returned, or open() did not succeed, or the reactor was abandoned
  ~LocalLog() override;

  Task<Status> open(u64 applied, Consumer& consumer) override;
  Task<Result<u64>> propose(std::string command, Instant deadline) override;
  Task<Status> read_barrier(Instant deadline) override;
  u64 committed() const override { return committed_; }
  u64 stored_bytes() const override;
  Status truncate_prefix(u64 index) override;
  Task<void> stop() override;
  const LocalLogCounters& counters() const { return counters_; }

 private:
  struct Segment {
    u64 first_index = 0;
    std::string path;
    u64 bytes = 0;  // of its headers and records
  };
  // Shared: a proposal whose deadline passes leaves while the writer still holds the command.
  struct Proposal {
    std::string command;
    u64 index = 0;
    bool writing = false;
    bool withdrawn = false;
    std::optional<Error> error;
    Event done;
  };
  using Batch = std::vector<std::shared_ptr<Proposal>>;

  // What open() knows while it goes through the segments.
  struct Replay {
    u64 applied = 0;
    u64 next_index = 0;  // 0: before the first segment
    u32 previous_crc = 0;
  };

  Status find_segments();
  Task<Status> replay_segment(size_t place, Replay& replay);
  Task<Status> repair_last(const SegmentScan& scan, Bytes bytes);
  Task<Result<std::vector<std::byte>>> read_segment(std::string path);
  Status add_segment();
  Status open_last();

  Task<void> write_loop();
  Batch take_batch();
  Task<Status> write_batch(const Batch& batch);
  Task<Status> write_all(u64 offset, Bytes bytes);
  Task<Status> cut_back();
  Task<void> wait_prepared();
  Task<void> prepare_loop();
  void break_log(const Error& cause);
  void settle(const Batch& batch, const Status& written);
  void fail_queue();
  Task<void> deliver_loop();

  Reactor& reactor_;
  LocalLogOptions options_;
  Consumer* consumer_ = nullptr;
  std::deque<Segment> segments_;
  std::unique_ptr<env::File> file_;  // of the last segment
  u64 committed_ = 0;
  u32 last_crc_ = 0;
  std::string buffer_;
  // Every byte of the file from its last record to here is zero, or is being written as a record.
  u64 prepared_ = 0;
  bool preparing_ = false;  // a write of zeroes from prepared_ on is in flight
  WaitList prepare_due_;
  WaitList prepare_ended_;

  std::deque<std::shared_ptr<Proposal>> queue_;
  std::deque<std::shared_ptr<Proposal>> deliveries_;
  u64 queued_bytes_ = 0;
  WaitList queue_grew_;
  WaitList deliveries_grew_;
  bool opened_ = false;
  bool closing_ = false;
  bool writer_gone_ = false;
  std::optional<Error> broken_;
  Gate gate_;
  LocalLogCounters counters_;
};

}  // namespace pangu::master
