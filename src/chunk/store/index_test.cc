#include <gtest/gtest.h>

#include "base/prng.h"
#include "chunk/store/block_map.h"
#include "chunk/store/chunk_index.h"
#include "chunk/store/chunk_table.h"

namespace pangu::chunk {
namespace {

// The index against a plain list of unit starts.
void expect_right(const ChunkIndex& index, const std::vector<u32>& starts, u32 first_unit, u32 end) {
  Prng prng(1);
  for (int i = 0; i < 500; ++i) {
    const auto offset = static_cast<u32>(prng.between(starts.front(), end - 1));
    const auto after = std::upper_bound(starts.begin(), starts.end(), offset);
    const auto unit = static_cast<u32>(after - starts.begin()) - 1;
    const auto hit = index.find(offset);
    ASSERT_TRUE(hit);
    if (hit->exact) {
      ASSERT_EQ(hit->unit, first_unit + unit) << offset;
      ASSERT_EQ(hit->start, starts[unit]);
    } else {
      ASSERT_LE(hit->unit, first_unit + unit);
      ASSERT_LT(first_unit + unit - hit->unit, 16u);
      ASSERT_EQ(hit->start, starts[hit->unit - first_unit]);
    }
  }
  EXPECT_FALSE(index.find(end));
  EXPECT_EQ(index.offset_end(), end);
}

TEST(Index, RegularPatternsTakeNoRoom) {
  for (const u32 size : {4048u, 4096u, 16'384u, 65'536u, 100u}) {
    ChunkIndex index;
    std::vector<u32> starts;
    u32 end = 0;
    for (int i = 0; i < 4000; ++i) {
      for (u32 left = size; left > 0;) {
        const u32 here = std::min(left, wire::kUnitDataMax);
        starts.push_back(end);
        index.add(here);
        end += here;
        left -= here;
      }
    }
    expect_right(index, starts, 0, end);
    EXPECT_TRUE(index.exact());
    EXPECT_LE(index.memory_bytes(), 64u) << size;
  }
}

TEST(Index, IrregularUnitsAreSampled) {
  for (u64 seed = 1; seed <= 5; ++seed) {
    Prng prng(seed);
    ChunkIndex index(7, 1000);
    std::vector<u32> starts;
    u32 end = 1000;
    for (int i = 0; i < 3000; ++i) {
      const auto size = static_cast<u32>(prng.chance(0.5) ? 4048 : prng.between(1, 4048));
      starts.push_back(end);
      index.add(size);
      end += size;
      if (i == 100) {
        EXPECT_TRUE(index.exact());
        expect_right(index, starts, 7, end);
      }
    }
    EXPECT_FALSE(index.exact());
    EXPECT_LE(index.memory_bytes(), 4096u);
    EXPECT_FALSE(index.find(999));
    expect_right(index, starts, 7, end);
    while (starts.size() > 1) {
      const size_t keep = prng.between(1, starts.size());
      const u32 new_end = keep < starts.size() ? starts[keep] : end;
      starts.resize(keep);
      end = new_end;
      index.truncate(7 + static_cast<u32>(keep), end);
      expect_right(index, starts, 7, end);
    }
  }
}

TEST(Index, TruncatedPatternsGoOn) {
  Prng prng(9);
  for (int round = 0; round < 200; ++round) {
    ChunkIndex index;
    std::vector<u32> starts;
    u32 end = 0;
    for (int i = 0; i < 60; ++i) {
      if (!starts.empty() && prng.chance(0.1)) {
        const size_t keep = prng.between(1, starts.size());
        end = keep < starts.size() ? starts[keep] : end;
        starts.resize(keep);
        index.truncate(static_cast<u32>(keep), end);
      }
      const u32 size = prng.chance(0.6) ? 4048 : prng.chance(0.7) ? 48 : 77;
      starts.push_back(end);
      index.add(size);
      end += size;
    }
    expect_right(index, starts, 0, end);
  }
}

TEST(Index, SurvivesTheMedium) {
  const ChunkId id{.file = {3}, .sequence = 4};
  Prng prng(2);
  for (const bool irregular : {false, true}) {
    ChunkIndex index;
    std::vector<u32> starts;
    for (int i = 0; i < 2000; ++i) {
      starts.push_back(index.offset_end());
      index.add(irregular ? static_cast<u32>(prng.between(1, 4048)) : i % 3 == 2 ? 50 : 4048);
    }
    const IndexImage image = index.to_image(id);
    const u32 count = index_sectors_for(image);
    std::vector<std::byte> sectors(size_t{count} * kSectorBytes);
    encode_index(image, sectors.data());
    const auto read = decode_index(id, sectors.data(), count);
    ASSERT_TRUE(read);
    const auto back = ChunkIndex::from_image(*read);
    ASSERT_TRUE(back);
    expect_right(*back, starts, 0, index.offset_end());
    EXPECT_FALSE(decode_index({.file = {4}, .sequence = 4}, sectors.data(), count));
    sectors[100] ^= std::byte{1};
    EXPECT_FALSE(decode_index(id, sectors.data(), count));
  }
}

TEST(BlockMap, TakesAdjacentBlocks) {
  BlockMap map(1000);
  const auto first = map.take(10, 20);
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, (Extent{0, 10}));
  EXPECT_EQ(*map.take(10, 0), (Extent{30, 10}));
  EXPECT_EQ(*map.take_at(10, 50), (Extent{10, 20}));
  EXPECT_FALSE(map.take_at(10, 1));
  EXPECT_EQ(map.free(), 960u);
  EXPECT_EQ(*map.take(5000, 0), (Extent{40, 960}));
  EXPECT_FALSE(map.take(1, 0));
  map.used.clear({500, 3});
  map.used.clear({100, 2});
  EXPECT_EQ(*map.take(9, 0), (Extent{500, 3}));
  EXPECT_EQ(*map.take(9, 0), (Extent{100, 2}));
}

TEST(BlockMap, BitmapAgreesWithAPlainOne) {
  Prng prng(5);
  Bitmap bitmap(777);
  std::vector<bool> plain(777);
  for (int i = 0; i < 3000; ++i) {
    const auto start = static_cast<u32>(prng.below(777));
    const auto count = static_cast<u32>(prng.between(1, std::min<u64>(777 - start, 150)));
    const bool value = prng.chance(0.5);
    (value ? bitmap.set({start, count}) : bitmap.clear({start, count}));
    std::fill_n(plain.begin() + start, count, value);
    ASSERT_EQ(bitmap.count(), static_cast<u32>(std::count(plain.begin(), plain.end(), true)));
    const auto from = static_cast<u32>(prng.below(777));
    const auto next = std::find(plain.begin() + from, plain.end(), true);
    ASSERT_EQ(bitmap.next_set(from), static_cast<u32>(next - plain.begin()));
  }
  u32 total = 0;
  for (const Extent& extent : bitmap.extents()) {
    EXPECT_TRUE(bitmap.test_all(extent));
    total += extent.count;
  }
  EXPECT_EQ(total, bitmap.count());
}

ChunkId chunk_id(u64 file, u32 sequence = 1) { return {.file = {file}, .sequence = sequence}; }

ChunkRange files(u64 first, u64 last) {
  return {.from = {.file = {first}}, .until = {.file = {last + 1}}};
}

TEST(ChunkTable, ForgottenRangesJoin) {
  ChunkTable table;
  for (const u64 file : {5u, 10u, 15u, 20u}) {
    table.tombstone({.file = {file}, .sequence = 1}).fence = {1};
  }
  table.forget(files(10, 12));
  table.forget(files(13, 15));
  table.forget(files(1, 2));
  EXPECT_EQ(table.forgotten_ranges().size(), 2u);
  EXPECT_TRUE(table.forgotten(chunk_id(15)));
  EXPECT_FALSE(table.forgotten(chunk_id(16)));
  EXPECT_FALSE(table.forgotten(chunk_id(3)));
  EXPECT_EQ(table.tombstones().size(), 2u);
  table.forget(files(3, 9));
  EXPECT_EQ(table.forgotten_ranges().size(), 1u);
  EXPECT_EQ(table.tombstones().size(), 1u);
}

}  // namespace
}  // namespace pangu::chunk
