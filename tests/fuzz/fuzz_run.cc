// Runs of units as they come from a socket or a medium. The first bytes choose what is expected.
#include <vector>

#include "wire/unit.h"

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  using namespace pangu;
  using namespace pangu::wire;
  if (size < 16) {
    return 0;
  }
  const auto* at = reinterpret_cast<const std::byte*>(data);
  const RunStart start{.chunk = {.file = {load_le<u64>(at)}, .sequence = 1},
                       .epoch = {1},
                       .unit_index = load_le<u32>(at + 8),
                       .offset = 0};
  const u32 data_len = load_le<u32>(at + 12);
  const Bytes rest{at + 16, size - 16};
  std::vector<std::byte> run(rest.begin(), rest.end());
  (void)check_run(start, data_len, run).ok();
  run.resize(round_up(run.size() + 1, kUnitBytes));
  (void)check_run(start, data_len, run).ok();
  (void)check_unit(start.chunk, start.unit_index, run.data());
  (void)wire_bytes_of(start.unit_index, data_len).ok();
  return 0;
}
