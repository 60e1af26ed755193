#include "raft/driver/log_segment.h"

#include <algorithm>
#include <cstddef>
#include <fmt/core.h>

#include "base/crc32c.h"

namespace pangu::raft {
namespace {

constexpr size_t kCrcCoversFrom = offsetof(RecordHeader, length);
constexpr char kZeroes[kRecordAlignment] = {};

u32 crc_of(u32 salt, Bytes record) {
  return crc32c_extend(salt, record.subspan(kCrcCoversFrom));
}

// A record's size by what its header says, if that fits in `room`.
std::optional<u64> claimed_bytes(const RecordHeader& header, u64 room) {
  if (header.magic != kRecordMagic || header.length > kRecordBodyMax ||
      record_bytes(header.length) > room) {
    return std::nullopt;
  }
  return record_bytes(header.length);
}

bool proves_durable(Bytes segment, u64 from, u64 sequence, u32 salt) {
  for (u64 offset = from; offset + sizeof(RecordHeader) <= segment.size();
       offset += kRecordAlignment) {
    if (load_le<u32>(segment.data() + offset) != kRecordMagic) {
      continue;
    }
    const auto record = record_at(segment, offset, salt);
    if (record && record->header.durable >= sequence) {
      return true;
    }
  }
  return false;
}

Error bad_body(std::string_view what) {
  return Error(Code::kCorrupt, fmt::format("a record that is not a {}", what));
}

// Reads integers off the front of a body.
class BodyReader {
 public:
  explicit BodyReader(Bytes body) : rest_(body) {}
  template <class Int>
  Int take() {
    if (rest_.size() < sizeof(Int)) {
      failed_ = true;
      rest_ = {};
      return 0;
    }
    const Int out = load_le<Int>(rest_.data());
    rest_ = rest_.subspan(sizeof(Int));
    return out;
  }
  Bytes take_bytes(u64 count) {
    if (rest_.size() < count) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const Bytes out = rest_.first(count);
    rest_ = rest_.subspan(count);
    return out;
  }
  bool ok() const { return !failed_; }
  bool done() const { return !failed_ && rest_.empty(); }

 private:
  Bytes rest_;
  bool failed_ = false;
};

template <class Int>
void put(std::string& out, Int value) {
  const size_t at = out.size();
  out.resize(at + sizeof(Int));
  store_le(out.data() + at, value);
}

}  // namespace

SegmentHeader make_segment_header(const Uuid& log, u64 number) {
  SegmentHeader header{.magic = kSegmentMagic,
                       .version = kLogVersion,
                       .log_high = log.high,
                       .log_low = log.low,
                       .number = number,
                       .zero = 0,
                       .crc32c = 0};
  header.crc32c = crc32c(as_bytes_of(header).first(offsetof(SegmentHeader, crc32c)));
  return header;
}

Result<SegmentHeader> decode_segment_header(std::string_view name, const Uuid& log, Bytes segment) {
  const auto bad = [name](std::string_view what) {
    return Error(Code::kCorrupt, fmt::format("Raft log segment {}: {}; restore this file, or take "
                                             "this member out of its groups",
                                             name, what));
  };
  if (segment.size() < sizeof(SegmentHeader)) {
    return bad("is shorter than its header");
  }
  const auto header = load_le<SegmentHeader>(segment.data());
  if (header.magic != kSegmentMagic) {
    return bad("is not a segment of a Raft log");
  }
  if (header.crc32c != crc32c(segment.first(offsetof(SegmentHeader, crc32c)))) {
    return bad("its header is damaged");
  }
  if (header.version != kLogVersion) {
    return Error(Code::kUnsupported,
                 fmt::format("Raft log segment {}: has format version {}, this program reads {}",
                             name, header.version, kLogVersion));
  }
  if (header.log_high != log.high || header.log_low != log.low) {
    return Error(Code::kWrongCluster,
                 fmt::format("Raft log segment {}: belongs to log {}, not to {}", name,
                             to_string(Uuid{.high = header.log_high, .low = header.log_low}),
                             to_string(log)));
  }
  return header;
}

void RecordWriter::add(const Record& record, Bytes body) {
  CHECK(body.size() <= kRecordBodyMax);
  RecordHeader header{.magic = kRecordMagic,
                      .crc32c = 0,
                      .length = static_cast<u32>(body.size()),
                      .type = record.type,
                      .kind = record.kind,
                      .more = static_cast<u8>(record.more ? 1 : 0),
                      .zero = 0,
                      .sequence = chain_.sequence + 1,
                      .durable = durable_,
                      .group = record.group.value(),
                      .index = record.id.index,
                      .term = record.id.term.value(),
                      .previous_crc32c = chain_.crc32c,
                      .zero2 = 0};
  const u64 padding = round_up(body.size(), kRecordAlignment) - body.size();
  u32 crc = crc32c_extend(salt_, as_bytes_of(header).subspan(kCrcCoversFrom));
  crc = crc32c_extend(crc, body);
  header.crc32c = crc32c_extend(crc, as_bytes_of(std::string_view(kZeroes, padding)));
  out_.append(as_text(as_bytes_of(header)));
  out_.append(as_text(body));
  out_.append(padding, '\0');
  chain_ = {header.sequence, header.crc32c};
}

Record checked_record_at(Bytes segment, u64 offset) {
  const auto header = load_le<RecordHeader>(segment.data() + offset);
  return {.header = header,
          .body = segment.subspan(offset + sizeof(RecordHeader), header.length),
          .offset = offset,
          .end = offset + record_bytes(header.length)};
}

std::optional<Record> record_at(Bytes segment, u64 offset, u32 salt) {
  if (offset > segment.size() || segment.size() - offset < sizeof(RecordHeader)) {
    return std::nullopt;
  }
  const auto header = load_le<RecordHeader>(segment.data() + offset);
  const auto bytes = claimed_bytes(header, segment.size() - offset);
  if (!bytes || header.crc32c != crc_of(salt, segment.subspan(offset, *bytes))) {
    return std::nullopt;
  }
  return checked_record_at(segment, offset);
}

SegmentScan scan_segment(const SegmentHeader& header, Bytes segment, std::optional<Chain> before) {
  SegmentScan scan;
  scan.end = sizeof(SegmentHeader);
  scan.chain = before.value_or(Chain{});
  Chain chain = scan.chain;
  u64 stop = scan.end;  // after the last good record, whether it counts or not
  size_t readable = 0;
  while (stop < segment.size()) {
    const auto record = record_at(segment, stop, header.crc32c);
    if (!record) {
      break;
    }
    const bool first_known = before || readable > 0;
    if (first_known && (record->header.sequence != chain.sequence + 1 ||
                        record->header.previous_crc32c != chain.crc32c)) {
      break;
    }
    ++readable;
    scan.offsets.push_back(static_cast<u32>(stop));
    chain = {record->header.sequence, record->header.crc32c};
    stop = record->end;
    if (record->header.more == 0) {
      scan.chain = chain;
      scan.end = stop;
      scan.durable = record->header.durable;
    }
  }
  while (!scan.offsets.empty() && scan.offsets.back() >= scan.end) {
    scan.offsets.pop_back();
  }
  const Bytes rest = segment.subspan(std::min<u64>(scan.end, segment.size()));
  scan.torn =
      std::any_of(rest.begin(), rest.end(), [](std::byte each) { return each != std::byte{0}; });
  // Where nothing is known of the first record, any that proves something proves that it was there.
  const u64 missing = before || readable > 0 ? chain.sequence + 1 : 1;
  scan.damaged = scan.torn && proves_durable(segment, stop, missing, header.crc32c);
  scan.damaged_at = stop;
  return scan;
}

std::string encode_table(const TableBody& table) {
  std::string out;
  put<u64>(out, table.groups);
  for (const TableBody::Range& range : table.removed) {
    put<u64>(out, range.first);
    put<u64>(out, range.last);
  }
  return out;
}

Result<TableBody> decode_table(Bytes body) {
  if (body.size() < 8 || body.size() % 16 != 8) {
    return bad_body("table of groups");
  }
  BodyReader reader(body);
  TableBody out{.groups = reader.take<u64>(), .removed = {}};
  for (u64 i = 0; i < body.size() / 16; ++i) {
    const u64 first = reader.take<u64>();
    const u64 last = reader.take<u64>();
    const bool apart = out.removed.empty() || first > out.removed.back().last;
    if (last < first || !apart) {
      return bad_body("table of groups");
    }
    out.removed.push_back({first, last});
  }
  return out;
}

std::string encode_state(const HardState& hard_state, const LogSummary& summary) {
  std::string out;
  put<u64>(out, hard_state.term.value());
  put<u64>(out, hard_state.vote.value());
  put<u64>(out, hard_state.commit);
  put<u64>(out, summary.last().index);
  put<u32>(out, static_cast<u32>(summary.runs().size()));
  put<u32>(out, static_cast<u32>(summary.configurations().size()));
  for (const LogSummary::Run& run : summary.runs()) {
    put<u64>(out, run.first);
    put<u64>(out, run.term.value());
  }
  for (const LogSummary::Configured& each : summary.configurations()) {
    const Payload configuration = encode(each.configuration);
    put<u64>(out, each.index);
    put<u32>(out, static_cast<u32>(configuration.size()));
    out.append(configuration.text());
  }
  return out;
}

Result<StateBody> decode_state(Bytes body) {
  BodyReader reader(body);
  HardState hard_state{
      .term = {reader.take<u64>()}, .vote = {reader.take<u64>()}, .commit = reader.take<u64>()};
  const Index last = reader.take<u64>();
  const u32 run_count = reader.take<u32>();
  const u32 configuration_count = reader.take<u32>();
  std::vector<LogSummary::Run> runs;
  for (u32 i = 0; i < run_count && reader.ok(); ++i) {
    const Index first = reader.take<u64>();
    runs.push_back({first, {reader.take<u64>()}});
  }
  std::vector<LogSummary::Configured> configurations;
  for (u32 i = 0; i < configuration_count && reader.ok(); ++i) {
    const Index index = reader.take<u64>();
    const u32 bytes = reader.take<u32>();
    TRY(configuration, decode_configuration(reader.take_bytes(bytes)));
    configurations.push_back({index, std::move(configuration)});
  }
  if (!reader.done()) {
    return bad_body("state of a group");
  }
  TRY(summary, LogSummary::from_parts(std::move(runs), std::move(configurations), last));
  return StateBody{hard_state, std::move(summary)};
}

std::string encode_vote(NodeId vote) {
  std::string out;
  put<u64>(out, vote.value());
  return out;
}

Result<HardState> decode_hard_state(const Record& record) {
  if (record.body.size() != 8) {
    return bad_body("hard state");
  }
  return HardState{.term = {record.header.term},
                   .vote = {load_le<u64>(record.body.data())},
                   .commit = record.header.index};
}

Result<SnapshotMeta> decode_meta(const Record& record) {
  TRY(configuration, decode_configuration(record.body));
  return SnapshotMeta{record.id(), std::move(configuration)};
}

Result<Entry> decode_entry(const Record& record) {
  const auto kind = static_cast<EntryKind>(record.header.kind);
  if (kind != EntryKind::command && kind != EntryKind::empty && kind != EntryKind::configuration) {
    return bad_body("Raft entry");
  }
  return Entry{.term = record.id().term,
               .index = record.id().index,
               .kind = kind,
               .payload = Payload::copy_of(record.body)};
}

}  // namespace pangu::raft
