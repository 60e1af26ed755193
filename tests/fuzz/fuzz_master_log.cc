// A segment of the master's log, however damaged.
#include "master/log/segment.h"

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  using namespace pangu;
  using namespace pangu::master;
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  constexpr Uuid kLog{.high = 1, .low = 2};
  const auto header = decode_segment_header("input", kLog, bytes);
  if (header.ok()) {
    const SegmentScan scan = scan_segment(*header, bytes);
    CHECK(scan.end <= bytes.size() && !(scan.clean_end && scan.damaged));
  }
  // Past the header's CRC, which no mutation gets by.
  if (bytes.size() >= sizeof(SegmentHeader)) {
    const SegmentHeader any{.first_index = load_le<u64>(bytes.data())};
    u64 end = sizeof(SegmentHeader);
    const SegmentScan scan = scan_segment(any, bytes);
    for (const Record& record : scan.records) {
      CHECK(record.offset == end && record.end <= bytes.size());
      end = record.end;
    }
    CHECK(scan.end == end);
  }
  return 0;
}
