#include "master/streams/inventory.h"

#include <gtest/gtest.h>

#include "master/streams/rig.h"

namespace pangu::master {
namespace {

using test::Rig;
using test::StreamHarness;

StreamLoopsOptions without_repair() {
  StreamLoopsOptions options;
  options.repair.copies_max = 0;
  return options;
}

bool suspect(Rig& rig, const ChunkId& chunk, u32 server) {
  return !rig.listed(chunk).contains(server);
}

TEST(Inventory, IdsHaveNeighbours) {
  const ChunkId first{.file = {5}, .sequence = 1, .shard = 0};
  const ChunkId last{.file = {5}, .sequence = ~u32{0}, .shard = 0xffff};
  EXPECT_EQ(next_id(first), (ChunkId{.file = {5}, .sequence = 1, .shard = 1}));
  EXPECT_EQ(next_id(last), (ChunkId{.file = {6}}));
  EXPECT_EQ(previous_id(first), (ChunkId{.file = {5}, .sequence = 0, .shard = 0xffff}));
  EXPECT_EQ(previous_id({.file = {6}}), last);
  EXPECT_EQ(previous_id(next_id(last)), last);
}

TEST(Inventory, AFullReportFindsWhatIsMissing) {
  for (const u32 page : {1u, 2u, 3u, 1000u}) {
    SCOPED_TRACE(page);
    StreamLoopsOptions options = without_repair();
    options.inventory.page = page;
    Rig rig(1, 4, 1, options);
    std::vector<ChunkId> chunks;
    for (u64 file = 1; file <= 7; ++file) {
      chunks.push_back(rig.settled_chunk(file));
    }
    rig.calls.remove(1, chunks[0]);
    rig.calls.remove(1, chunks[3]);
    rig.calls.remove(1, chunks[6]);
    rig.calls.find(2, chunks[1])->damaged = true;
    rig.calls.find(2, chunks[2])->length = 999;
    rig.calls.find(3, chunks[4])->copying = true;
    rig.calls.find(3, chunks[5])->finalized = true;
    rig.calls.find(3, chunks[5])->length = 2000;
    EXPECT_TRUE(rig.run_until([&] { return rig.h.meta().short_chunks() == 7; }, seconds(5)));
    EXPECT_TRUE(suspect(rig, chunks[0], 1));
    EXPECT_TRUE(suspect(rig, chunks[3], 1));
    EXPECT_TRUE(suspect(rig, chunks[6], 1));
    EXPECT_TRUE(suspect(rig, chunks[1], 2));
    EXPECT_TRUE(suspect(rig, chunks[2], 2));
    EXPECT_TRUE(suspect(rig, chunks[4], 3));
    EXPECT_TRUE(suspect(rig, chunks[5], 3));
    EXPECT_EQ(rig.h.check_tables(), "");
    // Once is enough, and nobody else is accused.
    rig.run(seconds(1300));
    EXPECT_EQ(rig.status().inventory.missing, 7u);
  }
}

TEST(Inventory, OpenChunksAndThoseSettledMeanwhileAreNotMissing) {
  StreamLoopsOptions options = without_repair();
  options.inventory.interval = seconds(1);
  options.inventory.page = 5;
  Rig rig(2, 4, 1, options);
  // Chunks are settled all the time; their replicas come right before.
  for (u64 file = 1; file <= 200; ++file) {
    rig.settled_chunk(1000 - file, 1 + static_cast<u32>(file % 2));
    rig.run(milliseconds(37));
  }
  EXPECT_GT(rig.status().inventory.full_reports, 10u);
  EXPECT_EQ(rig.status().inventory.missing, 0u);
  EXPECT_EQ(rig.h.meta().short_chunks(), 0u);
}

TEST(Inventory, ChangesAreSeenSoon) {
  Rig rig(3, 4, 1, without_repair());
  const ChunkId lost = rig.settled_chunk(1);
  const ChunkId erased = rig.settled_chunk(2);
  const ChunkId damaged = rig.settled_chunk(3);
  EXPECT_TRUE(rig.run_until([&] { return rig.status().inventory.full_reports == 4; }));
  rig.run(seconds(1));
  rig.calls.remove(1, lost);
  rig.h.remove(erased.file.number);  // legitimately gone
  rig.h.reclaim_all();
  rig.wake_all();
  EXPECT_TRUE(rig.run_until([&] { return suspect(rig, lost, 1); }, seconds(10)));
  // Its number of chunks is the same: that takes a little longer.
  rig.calls.find(2, damaged)->damaged = true;
  rig.calls.touch(2, StreamHarness::device(2), damaged);
  EXPECT_TRUE(rig.run_until([&] { return suspect(rig, damaged, 2); }, seconds(40)));
  EXPECT_EQ(rig.status().inventory.full_reports, 4u);
  EXPECT_EQ(rig.status().inventory.missing, 2u);
}

TEST(Inventory, OrphansAreErasedAfterTheirGrace) {
  Rig rig(4, 4, 1, without_repair());
  const ChunkId chunk = rig.settled_chunk(1);
  rig.calls.put(4, chunk, {.length = 1000, .version = 1});  // settled elsewhere
  const u64 open = StreamHarness::file(2);
  ASSERT_TRUE(rig.h.open(open, 2).ok());
  const ChunkId open_chunk{.file = {open}, .sequence = 1};
  rig.calls.put(1, open_chunk, {.length = 10, .finalized = false});
  rig.calls.put(4, open_chunk, {.length = 10, .finalized = false});  // a takeover's
  const ChunkId unknown{.file = {StreamHarness::file(3)}, .sequence = 1};
  rig.calls.put(2, unknown, {.length = 10});
  rig.h.remove(StreamHarness::file(9));
  const ChunkId removed{.file = {StreamHarness::file(9)}, .sequence = 5};
  rig.calls.put(3, removed, {.length = 10});
  rig.run(seconds(1790));
  EXPECT_NE(rig.calls.find(4, chunk), nullptr);
  EXPECT_NE(rig.calls.find(3, removed), nullptr);
  EXPECT_EQ(rig.status().inventory.orphans_seen, 2u);
  rig.run(seconds(700));
  EXPECT_EQ(rig.calls.find(4, chunk), nullptr);
  EXPECT_EQ(rig.calls.find(3, removed), nullptr);
  EXPECT_NE(rig.calls.find(1, open_chunk), nullptr);
  EXPECT_NE(rig.calls.find(4, open_chunk), nullptr);
  EXPECT_NE(rig.calls.find(2, unknown), nullptr) << "of a file that this group knows nothing of";
  EXPECT_TRUE(rig.whole(chunk));
  EXPECT_EQ(rig.status().inventory.orphans_erased, 2u);
}

TEST(Inventory, AnOrphanThatIsListedMeanwhileStays) {
  Rig rig(5, 4, 1, without_repair());
  const ChunkId chunk = rig.settled_chunk(1);
  rig.calls.put(4, chunk, {.length = 1000, .version = 2});
  rig.run(seconds(1500));
  ASSERT_TRUE(rig.h.change_replicas(chunk.file.number, 1, 1, {3}, {4}).ok());
  rig.run(seconds(3000));
  EXPECT_TRUE(rig.whole(chunk));
  EXPECT_EQ(rig.held(chunk), (std::set<u32>{1, 2, 4}));
}

TEST(Inventory, ANewLeaderWaitsAnew) {
  Rig rig(6, 4, 2, without_repair());
  const ChunkId chunk = rig.settled_chunk(1);
  rig.calls.put(4, chunk, {.length = 1000, .version = 1});
  rig.run(seconds(1500));
  rig.lead(1);
  rig.run(seconds(1500));
  EXPECT_NE(rig.calls.find(4, chunk), nullptr);
  rig.run(seconds(1000));
  EXPECT_EQ(rig.calls.find(4, chunk), nullptr);
}

TEST(Inventory, AServerThatReturnsIsReportedAtOnce) {
  Rig rig(7, 4, 1, without_repair());
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(10));
  rig.calls.servers[1].heard = false;
  rig.run(seconds(5));
  rig.calls.servers[1].devices[StreamHarness::device(1)].clear();
  rig.calls.servers[1].heard = true;
  EXPECT_TRUE(rig.run_until([&] { return suspect(rig, chunk, 1); }, seconds(5)));
}

TEST(Inventory, LossesOnlyDelay) {
  StreamLoopsOptions options = without_repair();
  options.inventory.page = 2;
  options.inventory.interval = seconds(30);
  Rig rig(8, 4, 1, options);
  rig.calls.loss = 0.2;
  rig.unknown_outcomes = 0.2;
  std::vector<ChunkId> chunks;
  for (u64 file = 1; file <= 9; ++file) {
    chunks.push_back(rig.settled_chunk(file));
  }
  rig.calls.remove(2, chunks[4]);
  EXPECT_TRUE(rig.run_until([&] { return suspect(rig, chunks[4], 2); }, seconds(3000)));
  EXPECT_EQ(rig.h.meta().short_chunks(), 1u);
}

}  // namespace
}  // namespace pangu::master
