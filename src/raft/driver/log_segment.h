#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "raft/core/log_summary.h"
#include "raft/driver/ids.h"

// The bytes of a segment of the shared log (docs/formats/raft-log.md).
namespace pangu::raft {

inline constexpr u32 kSegmentMagic = 0x53524750;  // "PGRS"
inline constexpr u32 kRecordMagic = 0x52524750;   // "PGRR"
inline constexpr u32 kLogVersion = 1;
inline constexpr u32 kRecordAlignment = 8;
inline constexpr u32 kRecordBodyMax = 64 * kMiB;

struct SegmentHeader {
  u32 magic;
  u32 version;
  u64 log_high;
  u64 log_low;
  u64 number;  // segments count up from 1 without gaps
  u32 zero;
  u32 crc32c;  // over the bytes before it; the CRC of every record in the segment begins with it
};
static_assert(sizeof(SegmentHeader) == 40);
static_assert(std::has_unique_object_representations_v<SegmentHeader>);

// On disk: never renumber.
enum class RecordType : u8 {
  table = 1,       // first of a segment: the groups there are, each with a `state`
  state = 2,       // of one group, as of the table
  create = 3,      // a group begins
  remove = 4,      // a group ends
  install = 5,     // a group's log is replaced by one that begins after a snapshot
  hard_state = 6,  // of a group
  entry = 7,       // of a group; cuts its log if it is not the next one
  copy = 8,        // an entry that the log holds, from a segment that is to go
};

struct RecordHeader {
  u32 magic;
  u32 crc32c;  // over what follows it: header, body and zeroes up to a multiple of 8
  u32 length;  // of the body
  RecordType type;
  u8 kind;  // of an entry; else 0
  u8 more;  // 1: kept only together with the record after it
  u8 zero;
  u64 sequence;  // counts all records of the log
  u64 durable;   // every record up to it was on stable media when this one was written
  u64 group;
  u64 index;
  u64 term;
  u32 previous_crc32c;  // of the record before, also over the border of segments; 0: the first
  u32 zero2;
};
static_assert(sizeof(RecordHeader) == 64);
static_assert(std::has_unique_object_representations_v<RecordHeader>);

constexpr u64 record_bytes(u64 length) {
  return sizeof(RecordHeader) + round_up(length, kRecordAlignment);
}

SegmentHeader make_segment_header(const Uuid& log, u64 number);
// kCorrupt, kUnsupported or kWrongCluster say what is wrong. `name` is for that text.
Result<SegmentHeader> decode_segment_header(std::string_view name, const Uuid& log, Bytes segment);

// Where a log has got to: what its next record has to continue.
struct Chain {
  u64 sequence = 0;  // of the last record
  u32 crc32c = 0;    // of the last record
};

// Adds records to a string.
class RecordWriter {
 public:
  // What is in `out` already is left alone. `out` must outlive it.
  RecordWriter(std::string& out, const SegmentHeader& segment, Chain chain, u64 durable)
      : out_(out), salt_(segment.crc32c), chain_(chain), durable_(durable) {}

  struct Record {
    RecordType type = RecordType::entry;
    u8 kind = 0;
    bool more = false;
    GroupId group;
    LogId id;
  };
  void add(const Record& record, Bytes body);
  const Chain& chain() const { return chain_; }

 private:
  std::string& out_;
  u32 salt_;
  Chain chain_;
  u64 durable_;
};

struct Record {
  RecordHeader header;
  Bytes body;  // points into the segment
  u64 offset = 0;
  u64 end = 0;
  GroupId group() const { return {header.group}; }
  LogId id() const { return {{header.term}, header.index}; }
};
// The record at `offset`, if there is a whole and undamaged one. `salt` is the crc32c of the
// segment's header.
std::optional<Record> record_at(Bytes segment, u64 offset, u32 salt);
// The same without its CRC. REQUIRES: record_at() gave one
Record checked_record_at(Bytes segment, u64 offset);

// What is readable of a segment.
struct SegmentScan {
  std::vector<u32> offsets;  // of the records that count, in order
  u64 end = 0;               // where the next record belongs
  Chain chain;               // of the last record that counts
  u64 durable = 0;           // its RecordHeader::durable
  // Something other than zeroes follows.
  bool torn = false;
  // What is not readable is known to have been durable: `damaged_at` is where.
  bool damaged = false;
  u64 damaged_at = 0;
};
// `before`: what the first record has to continue; nothing if that is not known.
// REQUIRES: `header` was decoded from `segment`
SegmentScan scan_segment(const SegmentHeader& header, Bytes segment, std::optional<Chain> before);

// ---- bodies ----

// table: the number of `state` records that follow it, and the ids of groups that were removed, as
// ranges.
struct TableBody {
  u64 groups = 0;
  struct Range {
    u64 first = 0;
    u64 last = 0;
    bool operator==(const Range&) const = default;
  };
  std::vector<Range> removed;  // ascending, apart
};
std::string encode_table(const TableBody& table);
Result<TableBody> decode_table(Bytes body);

std::string encode_state(const HardState& hard_state, const LogSummary& summary);
struct StateBody {
  HardState hard_state;
  LogSummary summary;
};
Result<StateBody> decode_state(Bytes body);

// hard_state: header.term and header.index (the commit index), and in the body the vote.
std::string encode_vote(NodeId vote);
Result<HardState> decode_hard_state(const Record& record);

// create and install: header.index, header.term, and in the body the configuration.
Result<SnapshotMeta> decode_meta(const Record& record);
// entry and copy. The payload is copied.
Result<Entry> decode_entry(const Record& record);

}  // namespace pangu::raft
