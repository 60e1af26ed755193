// Log batches, and the records that log and checkpoints are made of.
#include "chunk/format/checkpoint_slot.h"
#include "chunk/format/log_batch.h"
#include "chunk/format/record.h"

namespace {

using namespace pangu;
using namespace pangu::chunk;

constexpr Uuid kDevice{.high = 1, .low = 2};

// What was read and is written again reads the same.
void check_records(Bytes bytes) {
  while (!bytes.empty()) {
    const Bytes before = bytes;
    const auto record = decode_record(bytes);
    if (!record.ok()) {
      return;
    }
    CHECK(bytes.size() < before.size());
    std::vector<std::byte> again;
    encode_record(record->record, record->lsn, again);
    Bytes rest(again);
    const auto twice = decode_record(rest);
    CHECK(twice.ok() && rest.empty() && twice->lsn == record->lsn);
    CHECK(twice->record.index() == record->record.index());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  check_records(bytes);
  std::vector<std::byte> sectors(round_up(size + 1, kSectorBytes));
  std::memcpy(sectors.data(), data, size);
  const auto batch_ok = [&] {
    const auto header = decode_batch_header(sectors.data(), kDevice, 0);
    return header && batch_bytes(header->body_bytes) <= sectors.size() &&
           batch_body_ok(*header, Bytes(sectors).first(batch_bytes(header->body_bytes)));
  };
  (void)batch_ok();
  (void)decode_slot_header(sectors.data(), kDevice, 0, kMiB);
  seal_sector(sectors.data());
  (void)decode_slot_header(sectors.data(), kDevice, 0, kMiB);
  // A batch with this body and right checksums is taken; with any byte of it wrong it is not.
  BatchHeader header;
  header.device = kDevice;
  header.sequence = 1;
  header.body_bytes = static_cast<u32>(size);
  sectors.assign(batch_bytes(header.body_bytes), std::byte{0});
  std::memcpy(sectors.data() + sizeof(BatchHeader), data, size);
  seal_batch(header, sectors);
  CHECK(batch_ok());
  sectors[size * 7 % sectors.size()] ^= std::byte{16};
  CHECK(!batch_ok());
  return 0;
}
