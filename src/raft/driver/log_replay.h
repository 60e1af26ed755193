#pragma once
#include <optional>
#include <string>
#include <vector>

#include "raft/driver/log_groups.h"
#include "runtime/reactor.h"

// Reads the shared log from disk and changes nothing there.
namespace pangu::raft {

// Names of segment files: 16 hex digits ".raftlog".
std::string segment_file_name(u64 number);
u64 segment_number_of(std::string_view file_name);  // 0: not the name of a segment

class LogReplay {
 public:
  // All must outlive it.
  LogReplay(Reactor& reactor, std::string directory, const Uuid& log, LogSegments& segments,
            LogGroups& groups)
      : reactor_(reactor),
        directory_(std::move(directory)),
        log_(log),
        segments_(segments),
        groups_(groups) {}

  // Fills segments and groups. Errors as SharedLog::open().
  Task<Status> run();

  // What was found; of the last segment, if there is any.
  const Chain& chain() const { return chain_; }
  u64 file_bytes() const { return file_bytes_; }
  // Something follows the last record that counts: a crash left it of the last write.
  bool torn() const { return torn_; }
  // The records of the last write: they end at the segment's end.
  Bytes last_write() const { return last_write_; }

 private:
  Status find_segments();
  Task<Status> replay_segment(size_t place);
  Task<Result<std::vector<std::byte>>> read_segment(std::string path);
  Status apply(const LogSegment& segment, const Record& record);
  Status apply_table(const LogSegment& segment, const Record& record);
  void remember_last_write(const SegmentScan& scan, Bytes bytes);

  Reactor& reactor_;
  std::string directory_;
  Uuid log_;
  LogSegments& segments_;
  LogGroups& groups_;
  Chain chain_;
  bool chain_known_ = false;
  // Something follows the records of a segment that is not the last. If the next segment continues
  // those records, none is missing.
  struct Unproven {
    std::string path;
    u64 offset = 0;
  };
  std::optional<Unproven> unproven_;
  bool restoring_ = false;  // in the table of the first segment
  u64 states_left_ = 0;     // of the table that is being read
  u64 file_bytes_ = 0;
  bool torn_ = false;
  std::vector<std::byte> last_write_;
};

}  // namespace pangu::raft
