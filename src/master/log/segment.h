#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

// The bytes of a log segment (docs/formats/master-log.md).
namespace pangu::master {

inline constexpr u32 kSegmentMagic = 0x474c4750;  // "PGLG"
inline constexpr u32 kRecordMagic = 0x434c4750;   // "PGLC"
inline constexpr u32 kLogVersion = 1;
inline constexpr u32 kRecordAlignment = 8;
inline constexpr u32 kCommandBytesMax = 8 * kMiB;

struct SegmentHeader {
  u32 magic;
  u32 version;
  u64 log_high;  // the log this segment belongs to: the cluster's id
  u64 log_low;
  u64 first_index;
  u32 previous_crc32c;  // of the record before its first; 0 for index 1
  u32 crc32c;           // over the bytes before it
};
static_assert(sizeof(SegmentHeader) == 40);
static_assert(std::has_unique_object_representations_v<SegmentHeader>);

struct RecordHeader {
  u32 magic;
  u32 version;
  u32 length;  // of the command that follows; then zeroes up to the next multiple of 8
  u32 crc32c;  // over the bytes after it in this header, and the command
  u64 index;
  u64 term;           // 1
  u64 durable_index;  // every record up to it was on stable media when this one was written
  u32 previous_crc32c;
  u32 zero;
};
static_assert(sizeof(RecordHeader) == 48);
static_assert(std::has_unique_object_representations_v<RecordHeader>);

std::string encode_segment_header(const Uuid& log, u64 first_index, u32 previous_crc32c);
// kCorrupt, kUnsupported or kWrongCluster say what is wrong. `name` is for that text.
Result<SegmentHeader> decode_segment_header(std::string_view name, const Uuid& log, Bytes segment);

// Appends the record to `out` and returns its crc32c.
u32 append_record(std::string& out, u64 index, u64 durable_index, u32 previous_crc32c,
                  std::string_view command);

struct Record {
  RecordHeader header;
  std::string_view command;  // points into the segment
  u64 offset;
  u64 end;
};
// The record at `offset`, if there is a whole and undamaged one.
std::optional<Record> record_at(Bytes segment, u64 offset);

// What is readable of a segment.
struct SegmentScan {
  std::vector<Record> records;  // consecutive, from first_index on, each continuing the one before
  u64 end = 0;                  // where the next record belongs
  // Nothing but zeroes follows.
  bool clean_end = false;
  // Something follows, and it proves that the record that belongs at `end` had been durable:
  // this is damage. Without proof it is what a crash left of the last write.
  bool damaged = false;
};
// REQUIRES: `header` was decoded from `segment`
SegmentScan scan_segment(const SegmentHeader& header, Bytes segment);

}  // namespace pangu::master
