#include "chunk/store/changes.h"

#include <gtest/gtest.h>

#include <set>

#include "chunk/store/ordered_ids.h"
#include "chunk/store/test_store.h"

// What a store says of all its chunks at once: lists in order, and what has changed since.
namespace pangu::chunk {
namespace {

const ChunkId kEnd{.file = {~u64{0}}};

TEST(OrderedIds, AgainstASet) {
  Prng prng(7);
  OrderedIds ids;
  std::set<ChunkId> model;
  for (int i = 0; i < 60'000; ++i) {
    const bool shrinking = i / 10'000 % 2 == 1;
    const ChunkId id = i % 3 == 0 ? chunk_id(static_cast<u64>(i)) : chunk_id(prng.below(9'000), 2);
    if (prng.chance(shrinking ? 0.7 : 0.3)) {
      ids.erase(id);
      model.erase(id);
    } else if (model.insert(id).second) {
      ids.insert(id);
    }
    if (shrinking && !model.empty()) {
      const auto some = model.lower_bound(chunk_id(prng.below(9'000)));
      if (some != model.end()) {
        const ChunkId gone = *some;
        ids.erase(gone);
        model.erase(gone);
      }
    }
    if (i % 500 == 0) {
      const ChunkId from = chunk_id(prng.below(20'000));
      const ChunkId until = chunk_id(from.file.number + prng.below(10'000));
      const size_t max = prng.below(3'000);
      std::vector<ChunkId> right(model.lower_bound(from), model.lower_bound(until));
      right.resize(std::min(right.size(), max));
      ASSERT_EQ(ids.between(from, until, max), right) << i;
      ASSERT_EQ(ids.between({}, kEnd, ~size_t{0}).size(), model.size());
      ASSERT_LE(ids.leaves(), model.size() / (OrderedIds::kLeafMax / 8) + 2) << "leaves are joined";
    }
  }
}

TEST(OrderedIds, AscendingIdsFillTheirLeaves) {
  OrderedIds ids;
  for (u64 file = 1; file <= 10 * OrderedIds::kLeafMax; ++file) {
    ids.insert(chunk_id(file));
  }
  EXPECT_LE(ids.leaves(), 11u);
}

TEST(OrderedIds, TheNextId) {
  EXPECT_EQ(next_id({.file = {5}, .sequence = 1, .shard = 0xffff}),
            (ChunkId{.file = {5}, .sequence = 2}));
  EXPECT_EQ(next_id({.file = {5}, .sequence = ~u32{0}, .shard = 0xffff}), (ChunkId{.file = {6}}));
}

TEST(Changes, NumbersAndTheRing) {
  Changes changes(1000);
  EXPECT_EQ(changes.since(1000, {}, kEnd)->size(), 0u);
  EXPECT_FALSE(changes.since(999, {}, kEnd)) << "of another life";
  EXPECT_FALSE(changes.since(1001, {}, kEnd)) << "likewise";
  changes.note(chunk_id(7));
  changes.note(chunk_id(3));
  changes.note(chunk_id(7));
  EXPECT_EQ(changes.last(), 1003u);
  EXPECT_EQ(*changes.since(1000, {}, kEnd), (std::vector{chunk_id(3), chunk_id(7)}));
  EXPECT_EQ(*changes.since(1002, {}, kEnd), (std::vector{chunk_id(7)}));
  EXPECT_EQ(*changes.since(1000, chunk_id(3), chunk_id(7)), (std::vector{chunk_id(3)}));
  for (u64 i = 0; i < Changes::kKeptMax; ++i) {
    changes.note(chunk_id(10'000 + i));
  }
  EXPECT_FALSE(changes.since(1002, {}, kEnd)) << "too long ago";
  EXPECT_EQ(changes.since(1003, {}, kEnd)->size(), Changes::kKeptMax);
  EXPECT_EQ(changes.since(1004, {}, kEnd)->size(), Changes::kKeptMax - 1);
  EXPECT_EQ(changes.since(1004, {}, kEnd)->front(), chunk_id(10'001));
}

std::vector<ChunkId> changed(TestStore& on, u64 since) {
  auto out = on.store().changed_since(since, {}, kEnd);
  EXPECT_TRUE(out);
  return out.value_or(std::vector<ChunkId>());
}

TEST(Changes, WhatAStoreNotes) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const u64 start = on.store().last_change();
  TestWriter one{.chunk = chunk_id(1)};
  TestWriter two{.chunk = chunk_id(2)};
  ASSERT_EQ(on.append(one, 5000).code, Code::kOk);
  ASSERT_EQ(on.append(one, 5000).code, Code::kOk);
  ASSERT_EQ(on.append(two, 5000).code, Code::kOk);
  EXPECT_EQ(changed(on, start), (std::vector{chunk_id(1), chunk_id(2)}));
  u64 last = on.store().last_change();
  ASSERT_EQ(on.finalize(one.chunk, 10'000).code, Code::kOk);
  ASSERT_EQ(on.fence(chunk_id(3), 4).code, Code::kOk);
  EXPECT_TRUE(changed(on, last).empty()) << "neither seals nor tombstones";
  ASSERT_EQ(on.remove(two.chunk).code, Code::kOk);
  EXPECT_EQ(changed(on, last), (std::vector{chunk_id(2)}));
  const auto held = on.store().chunks_between({}, kEnd, 10);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held[0].chunk, one.chunk);
  on.reopen();
  EXPECT_FALSE(on.store().changed_since(last, {}, kEnd)) << "a number of an earlier life";
  EXPECT_FALSE(on.store().changed_since(start, {}, kEnd));
}

TEST(Changes, FoundDamage) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  TestWriter writer{.chunk = chunk_id(1)};
  ASSERT_EQ(on.append(writer, 9000).code, Code::kOk);
  ASSERT_EQ(on.finalize(writer.chunk, 9000).code, Code::kOk);
  on.stop();
  // The second unit, wherever it stands.
  std::vector<std::byte> image = on.image();
  for (size_t at = 0; at < image.size(); at += wire::kUnitBytes) {
    if (wire::check_unit(writer.chunk, 1, image.data() + at) == wire::UnitFault::ok) {
      image[at + 100] ^= std::byte{1};
    }
  }
  on.load_image(image);
  ASSERT_TRUE(on.open().ok());
  const u64 start = on.store().last_change();
  EXPECT_FALSE(on.store().stat(writer.chunk)->damaged) << "nobody has looked yet";
  EXPECT_EQ(on.read(writer.chunk, 5000, 100, 9000).code, Code::kCorrupt);
  EXPECT_TRUE(on.store().stat(writer.chunk)->damaged);
  EXPECT_EQ(changed(on, start), (std::vector{chunk_id(1)}));
  const u64 last = on.store().last_change();
  EXPECT_EQ(on.read(writer.chunk, 5000, 100, 9000).code, Code::kCorrupt);
  EXPECT_TRUE(changed(on, last).empty()) << "once is enough";
}

TEST(Kept, IsCountedForEachStreamGroup) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const auto id = [](u64 index, u64 counter) { return chunk_id(index << 52 | counter); };
  for (u64 counter = 1; counter <= 5; ++counter) {
    ASSERT_EQ(on.fence(id(3, counter), 2).code, Code::kOk);
    ASSERT_EQ(on.fence(id(4, counter), 2).code, Code::kOk);
  }
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(on.store().remembered_of(3).tombstones, 5u);
    EXPECT_EQ(on.store().remembered_of(4).tombstones, 5u);
    EXPECT_EQ(on.store().remembered_of(5).tombstones, 0u);
    on.reopen();
  }
  ASSERT_TRUE(on.wait(on.store().forget({{id(3, 1), id(3, 3)}, {id(3, 4), id(3, 6)}})).ok());
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(on.store().remembered_of(3).tombstones, 1u);
    EXPECT_EQ(on.store().remembered_of(3).ranges, 2u);
    EXPECT_EQ(on.store().remembered_of(4).ranges, 0u);
    on.reopen();
  }
  ASSERT_TRUE(on.wait(on.store().forget({{id(3, 1), id(3, 6)}})).ok());
  EXPECT_EQ(on.store().remembered_of(3).tombstones, 0u);
  EXPECT_EQ(on.store().remembered_of(3).ranges, 1u);
  EXPECT_EQ(on.store().remembered().ranges, 1u);
}

}  // namespace
}  // namespace pangu::chunk
