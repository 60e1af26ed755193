#include "master/log/segment.h"

#include <algorithm>
#include <cstddef>

#include <fmt/core.h>

#include "base/crc32c.h"

namespace pangu::master {
namespace {

constexpr size_t kCrcCoversFrom = offsetof(RecordHeader, index);

u32 crc_of(const RecordHeader& header, std::string_view command) {
  const u32 crc = crc32c(as_bytes_of(header).subspan(kCrcCoversFrom));
  return crc32c_extend(crc, as_bytes_of(command));
}

bool proves_durable(Bytes segment, u64 from, u64 index) {
  for (u64 offset = from; offset + sizeof(RecordHeader) <= segment.size();
       offset += kRecordAlignment) {
    const auto record = record_at(segment, offset);
    if (record && record->header.durable_index >= index) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string encode_segment_header(const Uuid& log, u64 first_index, u32 previous_crc32c) {
  SegmentHeader header{.magic = kSegmentMagic,
                       .version = kLogVersion,
                       .log_high = log.high,
                       .log_low = log.low,
                       .first_index = first_index,
                       .previous_crc32c = previous_crc32c,
                       .crc32c = 0};
  header.crc32c = crc32c(as_bytes_of(header).first(offsetof(SegmentHeader, crc32c)));
  return std::string(as_text(as_bytes_of(header)));
}

Result<SegmentHeader> decode_segment_header(std::string_view name, const Uuid& log,
                                            Bytes segment) {
  const auto bad = [name](std::string_view what) {
    return Error(Code::kCorrupt, fmt::format("log segment {}: {}", name, what));
  };
  if (segment.size() < sizeof(SegmentHeader)) {
    return bad("is shorter than its header");
  }
  const auto header = load_le<SegmentHeader>(segment.data());
  if (header.magic != kSegmentMagic) {
    return bad("is not a log segment");
  }
  if (header.crc32c != crc32c(segment.first(offsetof(SegmentHeader, crc32c)))) {
    return bad("its header is damaged");
  }
  if (header.version != kLogVersion) {
    return Error(Code::kUnsupported,
                 fmt::format("log segment {}: has format version {}, this program reads {}", name,
                             header.version, kLogVersion));
  }
  if (header.log_high != log.high || header.log_low != log.low) {
    return Error(Code::kWrongCluster,
                 fmt::format("log segment {}: belongs to cluster {}, not to {}", name,
                             to_string(Uuid{.high = header.log_high, .low = header.log_low}),
                             to_string(log)));
  }
  return header;
}

u32 append_record(std::string& out, u64 index, u64 durable_index, u32 previous_crc32c,
                  std::string_view command) {
  RecordHeader header{.magic = kRecordMagic,
                      .version = kLogVersion,
                      .length = static_cast<u32>(command.size()),
                      .crc32c = 0,
                      .index = index,
                      .term = 1,
                      .durable_index = durable_index,
                      .previous_crc32c = previous_crc32c,
                      .zero = 0};
  header.crc32c = crc_of(header, command);
  out.append(as_text(as_bytes_of(header)));
  out.append(command);
  out.append(round_up(command.size(), kRecordAlignment) - command.size(), '\0');
  return header.crc32c;
}

std::optional<Record> record_at(Bytes segment, u64 offset) {
  if (offset + sizeof(RecordHeader) > segment.size()) {
    return std::nullopt;
  }
  Record record{.header = load_le<RecordHeader>(segment.data() + offset),
                .command = {},
                .offset = offset,
                .end = 0};
  const RecordHeader& header = record.header;
  const u64 room = segment.size() - offset - sizeof(RecordHeader);
  const u64 padded = round_up(header.length, kRecordAlignment);
  if (header.magic != kRecordMagic || header.version != kLogVersion ||
      header.length > kCommandBytesMax || padded > room) {
    return std::nullopt;
  }
  record.command = as_text(segment.subspan(offset + sizeof(RecordHeader), header.length));
  record.end = offset + sizeof(RecordHeader) + padded;
  if (header.crc32c != crc_of(header, record.command)) {
    return std::nullopt;
  }
  return record;
}

SegmentScan scan_segment(const SegmentHeader& header, Bytes segment) {
  SegmentScan scan;
  scan.end = sizeof(SegmentHeader);
  u64 index = header.first_index;
  u32 previous = header.previous_crc32c;
  while (scan.end < segment.size()) {
    const auto record = record_at(segment, scan.end);
    if (!record || record->header.index != index || record->header.previous_crc32c != previous) {
      break;
    }
    scan.records.push_back(*record);
    scan.end = record->end;
    previous = record->header.crc32c;
    ++index;
  }
  const Bytes rest = segment.subspan(std::min<u64>(scan.end, segment.size()));
  scan.clean_end = std::all_of(rest.begin(), rest.end(),
                               [](std::byte each) { return each == std::byte{0}; });
  scan.damaged = !scan.clean_end && proves_durable(segment, scan.end, index);
  return scan;
}

}  // namespace pangu::master
