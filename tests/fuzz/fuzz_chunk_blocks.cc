// Sectors that stand in blocks beside the units: RESERVED, chunk headers, indexes; also with right
// checksums.
#include "chunk/format/block_sectors.h"
#include "chunk/store/chunk_index.h"

namespace {

using namespace pangu;
using namespace pangu::chunk;

void look(const ChunkId& id, const std::vector<std::byte>& sectors, u32 count) {
  (void)decode_reserved(sectors.data());
  for (u32 available = 1; available <= std::min(count, kHeaderSectorsMax); ++available) {
    const auto header = decode_header(sectors.data(), available);
    CHECK(!header || header->history.size() <= wire::kHistoryMax);
  }
  const auto image = decode_index(id, sectors.data(), count);
  const auto index = image ? ChunkIndex::from_image(*image) : std::nullopt;
  if (!index) {
    return;
  }
  CHECK(!index->find(index->offset_end()));
  for (u32 i = 0; i < 16; ++i) {
    const auto offset = static_cast<u32>(u64{index->offset_end()} * i / 16);
    const auto hit = index->find(offset);
    CHECK(!hit || (hit->start <= offset && hit->unit < index->unit_end()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
  const u32 count = static_cast<u32>(size / kSectorBytes) + 1;
  std::vector<std::byte> sectors(size_t{count} * kSectorBytes);
  std::memcpy(sectors.data(), data, size);
  const ChunkId id{.file = {load_le<u64>(sectors.data() + 8)},
                   .sequence = load_le<u32>(sectors.data() + 16)};
  look(id, sectors, count);
  for (u32 i = 0; i < count; ++i) {
    seal_sector(sectors.data() + size_t{i} * kSectorBytes);
  }
  look(id, sectors, count);
  return 0;
}
