#include <gtest/gtest.h>

#include "base/prng.h"
#include "chunk/format/block_sectors.h"
#include "chunk/format/checkpoint_slot.h"
#include "chunk/format/log_batch.h"
#include "chunk/format/record.h"
#include "chunk/format/superblock.h"

namespace pangu::chunk {
namespace {

constexpr Uuid kDevice{1, 2};

Superblock sample() {
  Superblock out{.cluster = {3, 4},
                 .device = kDevice,
                 .server = {9},
                 .shards = 2,
                 .capacity = 64 * kMiB,
                 .block_bytes = 64 * kKiB};
  CHECK(divide(out).ok());
  return out;
}

TEST(Format, SuperblockIsReadBack) {
  const Superblock written = sample();
  std::vector<std::byte> sector(kSectorBytes);
  encode_superblock(written, sector.data());
  const ReadSuperblock read = decode_superblock(sector.data());
  ASSERT_EQ(read.state, SuperblockState::ok);
  EXPECT_EQ(read.superblock.cluster, written.cluster);
  EXPECT_EQ(read.superblock.device, kDevice);
  EXPECT_EQ(read.superblock.server, ServerId{9});
  EXPECT_EQ(read.superblock.shards, 2u);
  EXPECT_EQ(read.superblock.slot_bytes, written.slot_bytes);
  sector[20] ^= std::byte{1};
  EXPECT_EQ(decode_superblock(sector.data()).state, SuperblockState::damaged);
  encode_superblock(written, sector.data());
  store_le<u32>(sector.data() + 8, kFormatVersion + 1);
  seal_sector(sector.data());
  EXPECT_EQ(decode_superblock(sector.data()).state, SuperblockState::other_version);
  sector[0] ^= std::byte{1};
  EXPECT_EQ(decode_superblock(sector.data()).state, SuperblockState::foreign);
  std::fill(sector.begin(), sector.end(), std::byte{0});
  EXPECT_EQ(decode_superblock(sector.data()).state, SuperblockState::blank);
}

TEST(Format, ShardsDoNotOverlap) {
  for (const u64 capacity : {4 * kMiB, 64 * kMiB, 10 * kGiB, 8 * kTiB}) {
    for (const u32 shards : {1u, 2u, 7u}) {
      Superblock superblock = sample();
      superblock.capacity = capacity;
      superblock.shards = shards;
      superblock.block_bytes = static_cast<u32>(capacity < kTiB ? 64 * kKiB : kMiB);
      if (!divide(superblock).ok()) {
        EXPECT_LT(capacity, 64 * kMiB);
        continue;
      }
      u64 at = kHeadBytes;
      for (u32 shard = 0; shard < shards; ++shard) {
        const ShardLayout layout = layout_of(superblock, shard);
        EXPECT_GE(layout.slot_offset[0], at);
        EXPECT_GE(layout.slot_offset[1], layout.slot_offset[0] + layout.slot_bytes);
        EXPECT_GE(layout.log_offset, layout.slot_offset[1] + layout.slot_bytes);
        EXPECT_GE(layout.blocks_offset, layout.log_offset + layout.log_bytes);
        EXPECT_GE(layout.blocks, 16u);
        at = layout.offset_of(layout.blocks);
      }
      EXPECT_LE(at, capacity);
    }
  }
}

TEST(Format, BlockSectorsAreReadBack) {
  std::vector<std::byte> sectors(2 * kSectorBytes);
  encode_reserved({.device = kDevice, .shard = 1, .block = 77, .sequence = 5}, sectors.data());
  const auto reserved = decode_reserved(sectors.data());
  ASSERT_TRUE(reserved);
  EXPECT_EQ(reserved->block, 77u);
  EXPECT_EQ(reserved->sequence, 5u);
  EXPECT_FALSE(decode_header(sectors.data(), 2));
  for (const size_t history : {0u, 1u, 251u, 252u, 256u}) {
    ChunkHeader header{.device = kDevice,
                       .shard = 1,
                       .block = 78,
                       .chunk = {.file = {5}, .sequence = 6, .shard = 7},
                       .base = 1234567890123,
                       .owner_epoch = {3},
                       .limit = 64 << 20,
                       .copies_max = 3,
                       .copies_min = 2,
                       .reborn = true,
                       .history = {}};
    for (size_t i = 0; i < history; ++i) {
      header.history.push_back({.sequence = static_cast<u32>(i), .zero = 0, .base = i * 1000});
    }
    const u32 count = header_sectors_for(history);
    EXPECT_EQ(count, history > 251 ? 2u : 1u);
    encode_header(header, sectors.data());
    const auto read = decode_header(sectors.data(), count);
    ASSERT_TRUE(read) << history;
    EXPECT_EQ(read->chunk, header.chunk);
    EXPECT_EQ(read->base, header.base);
    EXPECT_TRUE(read->reborn);
    ASSERT_EQ(read->history.size(), history);
    if (history > 0) {
      EXPECT_EQ(read->history.back().base, (history - 1) * 1000);
    }
    EXPECT_FALSE(decode_header(sectors.data(), count - 1));
    sectors[size_t{count} * kSectorBytes - 50] ^= std::byte{1};
    EXPECT_FALSE(decode_header(sectors.data(), count));
  }
}

TEST(Format, RecordsAreReadBack) {
  ChunkRecord chunk{.chunk = {.file = {1}, .sequence = 2, .shard = 3},
                    .base = 4,
                    .owner_epoch = {5},
                    .fence = {6},
                    .limit = 7,
                    .length = 8,
                    .unit_count = 9,
                    .version = 10,
                    .finalized = true,
                    .damaged = true,
                    .known_committed = 11,
                    .valid = 12,
                    .copies_max = 13,
                    .copies_min = 14,
                    .header_sectors = 2,
                    .index_sectors = 15,
                    .blocks_before = 16,
                    .history = {{1, 0, 2}},
                    .extents = {{3, 4}, {5, 6}},
                    .released = {{7, 8}}};
  std::vector<std::byte> bytes;
  encode_record(chunk, 100, bytes);
  encode_record(TombstoneRecord{.chunk = chunk.chunk, .fence = {9}, .deleted = true}, 101, bytes);
  encode_record(ReserveRecord{.sequence = 3, .extents = {{1, 2}}}, 102, bytes);
  encode_record(ReleaseRecord{.extents = {{2, 2}}}, 103, bytes);
  encode_record(PrewrittenRecord{.extents = {{3, 2}}}, 104, bytes);
  encode_record(ForgetFilesRecord{.first = {3}, .last = {4}}, 105, bytes);
  const ChunkId until{.file = {2}, .sequence = 7};
  encode_record(ForgetRecord{.from = chunk.chunk, .until = until}, 106, bytes);
  Bytes rest(bytes);
  auto first = decode_record(rest);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->lsn, 100u);
  const auto& read = std::get<ChunkRecord>(first->record);
  EXPECT_EQ(read.chunk, chunk.chunk);
  EXPECT_EQ(read.index_sectors, 15);
  EXPECT_EQ(read.valid, 12u);
  EXPECT_TRUE(read.finalized);
  EXPECT_TRUE(read.damaged);
  EXPECT_FALSE(read.closed);
  EXPECT_EQ(read.history.size(), 1u);
  EXPECT_EQ(read.extents, chunk.extents);
  EXPECT_EQ(read.released, chunk.released);
  EXPECT_TRUE(std::get<TombstoneRecord>(decode_record(rest)->record).deleted);
  EXPECT_EQ(std::get<ReserveRecord>(decode_record(rest)->record).sequence, 3u);
  EXPECT_EQ(std::get<ReleaseRecord>(decode_record(rest)->record).extents.size(), 1u);
  EXPECT_EQ(std::get<PrewrittenRecord>(decode_record(rest)->record).extents[0].start, 3u);
  EXPECT_EQ(std::get<ForgetFilesRecord>(decode_record(rest)->record).last, FileId{4});
  const auto forget = std::get<ForgetRecord>(decode_record(rest)->record);
  EXPECT_EQ(forget.from, chunk.chunk);
  EXPECT_EQ(forget.until, until);
  EXPECT_TRUE(rest.empty());
  EXPECT_FALSE(decode_record(rest).ok());
  // No prefix and no wrong byte makes it read beyond its end.
  Prng prng(8);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bad = bytes;
    bad[prng.below(bad.size())] = static_cast<std::byte>(prng.next());
    bad.resize(prng.below(bad.size() + 1));
    Bytes left(bad);
    while (decode_record(left).ok()) {
    }
  }
}

TEST(Format, BatchesAreReadBack) {
  BatchHeader header;
  header.shard = 2;
  header.record_count = 1;
  header.device = kDevice;
  header.sequence = 8;
  header.position = 8192;
  header.body_bytes = 5000;
  std::vector<std::byte> batch(batch_bytes(5000), std::byte{3});
  seal_batch(header, batch);
  auto read = decode_batch_header(batch.data(), kDevice, 2);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->sequence, 8u);
  EXPECT_TRUE(batch_body_ok(*read, batch));
  EXPECT_FALSE(decode_batch_header(batch.data(), kDevice, 1));
  EXPECT_FALSE(decode_batch_header(batch.data(), {1, 3}, 2));
  batch.back() ^= std::byte{1};
  EXPECT_FALSE(batch_body_ok(*read, batch));
  batch[8] ^= std::byte{1};
  EXPECT_FALSE(decode_batch_header(batch.data(), kDevice, 2));
}

}  // namespace
}  // namespace pangu::chunk
