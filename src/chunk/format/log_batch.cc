#include "chunk/format/log_batch.h"

#include "base/check.h"

namespace pangu::chunk {

namespace {
u32 crc_of_header(const BatchHeader& header) {
  return crc32c({reinterpret_cast<const std::byte*>(&header), offsetof(BatchHeader, header_crc)});
}
}  // namespace

void seal_batch(BatchHeader header, MutableBytes batch) {
  CHECK(batch.size() == batch_bytes(header.body_bytes));
  const size_t end = sizeof(BatchHeader) + header.body_bytes;
  std::memset(batch.data() + end, 0, batch.size() - end);
  header.body_crc = crc32c(batch.subspan(sizeof(BatchHeader)));
  header.header_crc = crc_of_header(header);
  store_le(batch.data(), header);
}

std::optional<BatchHeader> decode_batch_header(const std::byte* sector, const Uuid& device,
                                               u32 shard) {
  const auto header = load_le<BatchHeader>(sector);
  if (header.magic != kBatchMagic || header.header_crc != crc_of_header(header) ||
      header.version != 1 || header.device != device || header.shard != shard ||
      header.position % kSectorBytes != 0 || header.zero1 != 0) {
    return std::nullopt;
  }
  return header;
}

bool batch_body_ok(const BatchHeader& header, Bytes batch) {
  return batch.size() == batch_bytes(header.body_bytes) &&
         header.body_crc == crc32c(batch.subspan(sizeof(BatchHeader)));
}

}  // namespace pangu::chunk
