// A segment of the shared Raft log, however damaged, and the bodies of its records.
#include "raft/driver/log_groups.h"

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  using namespace pangu;
  using namespace pangu::raft;
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  constexpr Uuid kLog{.high = 1, .low = 2};
  const auto decoded = decode_segment_header("input", kLog, bytes);
  const SegmentHeader header = decoded.ok() ? *decoded : make_segment_header(kLog, 1);
  for (const bool known : {false, true}) {
    const SegmentScan scan =
        scan_segment(header, bytes, known ? std::optional<Chain>(Chain{}) : std::nullopt);
    CHECK(scan.torn || !scan.damaged);
    u64 end = sizeof(SegmentHeader);
    for (const u32 offset : scan.offsets) {
      const Record record = checked_record_at(bytes, offset);
      CHECK(record.offset == end && record.end <= bytes.size());
      end = record.end;
    }
    CHECK(scan.end == end);
  }

  // Past the CRCs, which no mutation gets by: the input as the body of a record of each type.
  const auto table = decode_table(bytes);
  if (table.ok()) {
    CHECK(as_text(bytes) == encode_table(*table));
  }
  LogSegments segments;
  segments.list().push_back({.number = 1});
  LogGroups groups(segments);
  const auto state = decode_state(bytes);
  if (state.ok()) {
    CHECK(as_text(bytes) == encode_state(state->hard_state, state->summary));
    const LogSummary& summary = state->summary;
    if (summary.last().index - summary.base().index < 10'000) {
      CHECK(groups.restore({1}, *state).ok());
      CHECK(groups.verify({1}, *state).ok());
      static_cast<void>(groups.settle(true));
    }
  }
  Record record{.header = {}, .body = bytes};
  for (u64 index = 0; index < 6; ++index) {
    record.header.index = index;
    record.header.term = index / 2;
    record.header.kind = static_cast<u8>(index);
    const auto meta = decode_meta(record);
    if (meta.ok()) {
      static_cast<void>(groups.create({index}, *meta));
      static_cast<void>(groups.install({1}, *meta));
    }
    const auto hard_state = decode_hard_state(record);
    if (hard_state.ok()) {
      static_cast<void>(groups.set_hard_state({1}, *hard_state));
    }
    const auto entry = decode_entry(record);
    if (entry.ok()) {
      static_cast<void>(groups.append({1}, *entry, {.segment = 1, .offset = 40, .bytes = 64}));
      static_cast<void>(groups.relocate({1}, entry->id(), {.segment = 1, .bytes = 72}));
    }
  }
  return 0;
}
