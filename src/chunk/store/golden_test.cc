#include <gtest/gtest.h>

#include <cstdio>

#include "chunk/format/block_sectors.h"
#include "chunk/format/checkpoint_slot.h"
#include "chunk/format/index_image.h"
#include "chunk/format/log_batch.h"
#include "chunk/format/record.h"
#include "chunk/store/damage_rig.h"

// Format version 1 as it was when it was decided (docs/formats/device.md). Devices that carry it must
// be readable for ever: these tests fail when a byte moves. PANGU_UPDATE_GOLDEN=1 writes the files of
// tests/data anew; that is right only for a format version that nobody uses yet.
namespace pangu::chunk {
namespace {

constexpr u64 kGoldenBytes = 4 * kMiB;

std::string path_of(const std::string& name) { return std::string(PANGU_TEST_DATA) + "/" + name; }

std::vector<std::byte> read_golden(const std::string& name) {
  std::vector<std::byte> out;
  if (FILE* file = std::fopen(path_of(name).c_str(), "rb")) {
    std::byte block[4096];
    size_t got = 0;
    while ((got = std::fread(block, 1, sizeof block, file)) > 0) {
      out.insert(out.end(), block, block + got);
    }
    std::fclose(file);
  }
  return out;
}

bool updating() { return std::getenv("PANGU_UPDATE_GOLDEN") != nullptr; }

void write_golden(const std::string& name, Bytes bytes) {
  FILE* file = std::fopen(path_of(name).c_str(), "wb");
  ASSERT_NE(file, nullptr) << path_of(name);
  EXPECT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
  std::fclose(file);
}

// What is not zero: {offset u64, size u64, bytes}*, broken where 32 zeroes follow each other.
std::vector<std::byte> pack(Bytes whole) {
  std::vector<std::byte> out;
  const auto zero = [&](u64 at) { return at >= whole.size() || whole[at] == std::byte{0}; };
  for (u64 at = 0; at < whole.size();) {
    if (zero(at)) {
      ++at;
      continue;
    }
    u64 end = at;
    for (u64 zeroes = 0; zeroes < 32 && end + zeroes < whole.size();) {
      if (zero(end + zeroes)) {
        ++zeroes;
      } else {
        end += zeroes + 1;
        zeroes = 0;
      }
    }
    const size_t head = out.size();
    out.resize(head + 16);
    store_le<u64>(out.data() + head, at);
    store_le<u64>(out.data() + head + 8, end - at);
    out.insert(out.end(), whole.begin() + static_cast<std::ptrdiff_t>(at),
               whole.begin() + static_cast<std::ptrdiff_t>(end));
    at = end;
  }
  return out;
}

std::vector<std::byte> unpack(Bytes packed, u64 size) {
  std::vector<std::byte> out(size);
  while (packed.size() >= 16) {
    const u64 at = load_le<u64>(packed.data());
    const u64 bytes = load_le<u64>(packed.data() + 8);
    CHECK(bytes <= packed.size() - 16 && at + bytes <= size);
    std::memcpy(out.data() + at, packed.data() + 16, bytes);
    packed = packed.subspan(16 + bytes);
  }
  return out;
}

ChunkRecord sample_record() {
  return {.chunk = {.file = {0x1112131415161718}, .sequence = 0x21222324, .shard = 0x3132},
          .base = 0x4142434445464748,
          .owner_epoch = {0x51525354},
          .fence = {0x61626364},
          .limit = 0x71727374,
          .length = 0x01828384,
          .unit_count = 0x00092939,
          .version = 0x01a2a3a4,
          .finalized = true,
          .closed = true,
          .regular = true,
          .damaged = true,
          .known_committed = 0x01b2b3b4,
          .valid = 0x01c2c3c4,
          .copies_max = 3,
          .copies_min = 2,
          .header_sectors = 2,
          .index_sectors = 5,
          .blocks_before = 6,
          .history = {{7, 0, 8}, {9, 0, 10}},
          .extents = {{11, 12}, {13, 14}},
          .released = {{15, 16}}};
}

// One of everything that stands on a device, in sectors.
std::vector<std::byte> one_of_each() {
  std::vector<std::byte> out;
  const auto sectors = [&](size_t count) {
    out.resize(out.size() + count * kSectorBytes);
    return out.data() + out.size() - count * kSectorBytes;
  };
  Superblock superblock{.cluster = kTestCluster,
                        .device = kTestDevice,
                        .server = {7},
                        .shards = 2,
                        .capacity = 64 * kMiB,
                        .block_bytes = 64 * kKiB};
  CHECK(divide(superblock).ok());
  encode_superblock(superblock, sectors(1));
  SlotHeader slot;
  slot.shard = 1;
  slot.body_crc = 2;
  slot.device = kTestDevice;
  slot.number = 3;
  slot.body_bytes = 4;
  slot.record_count = 5;
  slot.log_position = 6 * kSectorBytes;
  slot.log_sequence = 7;
  slot.next_lsn = 8;
  slot.next_reservation = 9;
  encode_slot_header(slot, sectors(1));
  std::vector<std::byte> records;
  encode_record(sample_record(), 100, records);
  encode_record(TombstoneRecord{.chunk = sample_record().chunk,
                                .fence = {9},
                                .deleted = true,
                                .closed = true,
                                .released = {{17, 18}}},
                101, records);
  encode_record(ReserveRecord{.sequence = 3, .extents = {{1, 2}}}, 102, records);
  encode_record(ReleaseRecord{.extents = {{3, 4}}}, 103, records);
  encode_record(PrewrittenRecord{.extents = {{5, 6}}}, 104, records);
  encode_record(ForgetFilesRecord{.first = {3}, .last = {4}}, 105, records);
  BatchHeader batch;
  batch.shard = 1;
  batch.record_count = 6;
  batch.device = kTestDevice;
  batch.sequence = 10;
  batch.position = 11 * kSectorBytes;
  batch.first_lsn = 100;
  batch.body_bytes = static_cast<u32>(records.size());
  const size_t size = batch_bytes(batch.body_bytes);
  std::byte* at = sectors(size / kSectorBytes);
  std::memcpy(at + sizeof(BatchHeader), records.data(), records.size());
  seal_batch(batch, {at, size});
  encode_reserved({.device = kTestDevice, .shard = 1, .block = 12, .sequence = 13}, sectors(1));
  const ChunkHeader header{.device = kTestDevice,
                           .shard = 1,
                           .block = 14,
                           .chunk = sample_record().chunk,
                           .base = 15,
                           .owner_epoch = {16},
                           .limit = 17,
                           .copies_max = 3,
                           .copies_min = 2,
                           .reborn = true,
                           .history = {{18, 0, 19}}};
  encode_header(header, sectors(1));
  const IndexImage patterns{.chunk = header.chunk,
                            .length = 5000,
                            .unit_count = 2,
                            .patterns = {{.units = 2, .full = 1, .partial = 952}},
                            .samples = {}};
  encode_index(patterns, sectors(index_sectors_for(patterns)));
  const IndexImage samples{.chunk = header.chunk,
                           .length = 70'000,
                           .unit_count = 20,
                           .patterns = {},
                           .samples = {0, 60'000}};
  encode_index(samples, sectors(index_sectors_for(samples)));
  TestWriter writer{.chunk = header.chunk};
  const TestRun run = writer.next(5000);
  std::memcpy(sectors(2), run.run.data(), run.run.size());
  // What came later.
  records.clear();
  encode_record(ForgetRecord{.from = sample_record().chunk,
                             .until = {.file = {0x1112131415161719}, .sequence = 0x41424344}},
                106, records);
  batch.record_count = 1;
  batch.sequence = 11;
  batch.first_lsn = 106;
  batch.body_bytes = static_cast<u32>(records.size());
  at = sectors(1);
  std::memcpy(at + sizeof(BatchHeader), records.data(), records.size());
  seal_batch(batch, {at, kSectorBytes});
  return out;
}

TEST(Golden, EveryByteStandsWhereItStood) {
  const std::vector<std::byte> now = one_of_each();
  if (updating()) {
    write_golden("chunk_format_v1.bin", pack(now));
  }
  const std::vector<std::byte> then = unpack(read_golden("chunk_format_v1.bin"), now.size());
  for (size_t at = 0; at < now.size(); ++at) {
    ASSERT_EQ(now[at], then[at]) << "sector " << at / kSectorBytes << " byte " << at % kSectorBytes;
  }
}

// A device with a bit of everything, as after a crash.
std::vector<std::byte> make_device() {
  TestStore on(kGoldenBytes);
  CHECK(on.open().ok());
  const Populated populated(on, 12, 700);
  on.reopen();
  CHECK(on.wait(on.store().forget_files(FileId{5000}, FileId{6000})).ok());
  CHECK(on.fence(chunk_id(1001), 4).code == Code::kOk);
  TestWriter last{.chunk = chunk_id(100), .history = {{1, 0, 2}}};
  CHECK(on.append(last, 10'000).code == Code::kOk);
  CHECK(on.append(last, 1).code == Code::kOk);
  on.settle();
  return on.image();
}

TEST(Golden, ADeviceOfThatTimeIsRead) {
  const Quiet quiet;
  if (updating()) {
    write_golden("chunk_device_v1.bin", pack(make_device()));
  }
  const std::vector<std::byte> packed = read_golden("chunk_device_v1.bin");
  ASSERT_FALSE(packed.empty());
  TestStore on(kGoldenBytes, false);
  on.load_image(unpack(packed, kGoldenBytes));
  ASSERT_TRUE(on.open().ok());
  EXPECT_EQ(on.store().identity().version, 1u);
  EXPECT_EQ(on.store().identity().cluster, kTestCluster);
  EXPECT_GT(on.store().recovery().log_records, 0u);
  // The same again, now: what the device of that time must hold.
  TestStore fresh(kGoldenBytes);
  ASSERT_TRUE(fresh.open().ok());
  const Populated populated(fresh, 12, 700);
  EXPECT_EQ(populated.read_all(on), populated.read_all(fresh));
  for (const TestWriter& writer : populated.writers) {
    const auto then = on.store().stat(writer.chunk);
    const auto now = fresh.store().stat(writer.chunk);
    ASSERT_EQ(then.ok(), now.ok());
    EXPECT_EQ(then->exists, now->exists);
    EXPECT_EQ(then->finalized, now->finalized);
    EXPECT_EQ(then->fence, now->fence);
    EXPECT_EQ(then->length, now->length);
    EXPECT_EQ(then->unit_count, now->unit_count);
    EXPECT_EQ(then->base, now->base);
    EXPECT_FALSE(then->damaged);
  }
  EXPECT_EQ(on.store().stat(chunk_id(1000))->fence, Epoch{3});
  EXPECT_EQ(on.store().stat(chunk_id(1001))->fence, Epoch{4});
  EXPECT_EQ(on.store().stat(chunk_id(100))->length, 10'001u);
  const FenceOutcome fence = on.fence(chunk_id(100), 2);
  ASSERT_EQ(fence.history.size(), 1u);
  EXPECT_EQ(fence.history[0].base, 2u);
  TestWriter forgotten{.chunk = chunk_id(5500)};
  EXPECT_EQ(on.append(forgotten, 10).code, Code::kSealed);
  TestWriter next{.chunk = chunk_id(4000)};
  EXPECT_EQ(on.append(next, 100'000).code, Code::kOk) << "and it goes on being used";
  on.reopen();
  EXPECT_EQ(on.store().stat(next.chunk)->length, 100'000u);
}

}  // namespace
}  // namespace pangu::chunk
