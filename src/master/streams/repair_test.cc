#include "master/streams/repair.h"

#include <gtest/gtest.h>

#include "master/streams/rig.h"

namespace pangu::master {
namespace {

using test::Rig;
using test::StreamHarness;

void die(Rig& rig, u32 server) {
  rig.calls.servers[server].up = false;
  rig.calls.servers[server].heard = false;
}
void return_to_life(Rig& rig, u32 server) {
  rig.calls.servers[server].up = true;
  rig.calls.servers[server].heard = true;
}

TEST(Repair, ADeadServersChunksAreCopied) {
  Rig rig(1, 5);
  std::vector<ChunkId> chunks;
  for (u64 file = 1; file <= 20; ++file) {
    chunks.push_back(rig.settled_chunk(file));
  }
  rig.run(seconds(5));
  die(rig, 2);
  EXPECT_TRUE(rig.run_until(
      [&] {
        return std::all_of(chunks.begin(), chunks.end(),
                           [&](const ChunkId& chunk) { return rig.whole(chunk); });
      },
      seconds(60)));
  EXPECT_EQ(rig.status().repair.copies, 20u);
  EXPECT_LE(rig.calls.most_copies, 4u);
  EXPECT_LE(rig.calls.most_copies_on_one, 2u);
  EXPECT_EQ(rig.h.check_tables(), "");
  // When it comes back it erases what it has, and is given nothing else to do.
  return_to_life(rig, 2);
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(90)));
  for (const ChunkId& chunk : chunks) {
    EXPECT_FALSE(rig.held(chunk).contains(2));
    EXPECT_EQ(rig.held(chunk).size(), 3u);
  }
  const u64 copies = rig.status().repair.copies;
  rig.run(seconds(600));
  EXPECT_EQ(rig.status().repair.copies, copies);
}

TEST(Repair, NothingIsCopiedForAServerThatIsOnlySilent) {
  Rig rig(2, 5);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(5));
  rig.calls.servers[2].up = false;  // still heard by the root
  rig.run(seconds(60));
  EXPECT_EQ(rig.status().repair.copies, 0u);
  EXPECT_EQ(rig.listed(chunk), (std::set<u32>{1, 2, 3}));
}

TEST(Repair, TheFewestCopiesFirst) {
  StreamLoopsOptions options;
  options.repair.copies_max = 1;
  Rig rig(3, 6, 1, options);
  std::vector<ChunkId> two_left;
  for (u64 file = 1; file <= 30; ++file) {
    two_left.push_back(rig.settled_chunk(file, 1));  // 1, 2, 3
  }
  std::vector<ChunkId> one_left;
  for (u64 file = 31; file <= 33; ++file) {
    one_left.push_back(rig.settled_chunk(file, 2));  // 2, 3, 4
  }
  rig.run(seconds(5));
  die(rig, 2);
  for (const ChunkId& chunk : one_left) {
    rig.calls.find(4, chunk)->damaged = true;
    ASSERT_TRUE(rig.h.mark(chunk.file.number, 1, 4, true).ok());
  }
  const auto good = [&](const std::vector<ChunkId>& chunks, size_t copies) {
    return static_cast<size_t>(std::count_if(
        chunks.begin(), chunks.end(), [&](const ChunkId& chunk) {
          std::set<u32> listed = rig.listed(chunk);
          listed.erase(2);
          return listed.size() >= copies;
        }));
  };
  ASSERT_TRUE(rig.run_until([&] { return good(one_left, 2) == 3; }, seconds(60)));
  EXPECT_LE(good(two_left, 3), 3u);
  EXPECT_TRUE(rig.run_until([&] { return good(two_left, 3) == 30 && good(one_left, 3) == 3; },
                            seconds(120)));
}

TEST(Repair, ACorruptSourceIsMarkedAndAnotherIsTaken) {
  StreamLoopsOptions options;
  options.inventory.at_once = 0;
  int found = 0;
  for (u64 seed = 4; seed < 12; ++seed) {
    Rig rig(seed, 5, 1, options);
    const ChunkId chunk = rig.settled_chunk(1);
    rig.run(seconds(2));
    rig.calls.find(1, chunk)->damaged = true;
    rig.calls.find(3, chunk)->length = 10;
    die(rig, 4);
    ASSERT_TRUE(rig.h.mark(chunk.file.number, 1, 3, true).ok());
    rig.wake_all();
    EXPECT_TRUE(rig.run_until([&] { return rig.h.meta().short_chunks() == 0; }, seconds(120)));
    rig.run(seconds(60));
    EXPECT_EQ(rig.h.meta().short_chunks(), 0u);
    EXPECT_TRUE(rig.listed(chunk).contains(2));
    EXPECT_TRUE(rig.listed(chunk).contains(5));
    if (rig.status().repair.bad_sources > 0) {
      ++found;
      EXPECT_TRUE(rig.whole(chunk));
    }
  }
  EXPECT_GT(found, 0);
}

TEST(Repair, TheLastGoodCopyIsNeverRemoved) {
  Rig rig(7, 3);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(2));
  for (const u32 server : {1u, 2u, 3u}) {
    rig.calls.find(server, chunk)->damaged = true;
  }
  rig.run(seconds(1500));
  EXPECT_EQ(rig.held(chunk), (std::set<u32>{1, 2, 3}));
  EXPECT_EQ(rig.h.settled(chunk.file.number, 1)->chunk.replicas_size(), 3);
  // One of them was not so bad.
  rig.calls.find(2, chunk)->damaged = false;
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(300)));
}

TEST(Repair, ATargetThatDiesMeanwhile) {
  Rig rig(8, 5);
  rig.calls.copy_time = seconds(2);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(5));
  die(rig, 2);
  ASSERT_TRUE(rig.run_until([&] { return rig.calls.copies_running > 0; }, seconds(10)));
  const u32 target = rig.calls.copies_on[4] > 0 ? 4 : 5;
  die(rig, target);
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(120)));
  EXPECT_FALSE(rig.listed(chunk).contains(target));
}

TEST(Repair, ASuspectReplicaMayBeGoodAfterAll) {
  Rig rig(9, 4);
  const u64 file = StreamHarness::file(1);
  ASSERT_TRUE(rig.h.open(file, 1, StreamHarness::offer(1)).ok());
  for (const u32 server : {1u, 2u, 3u}) {
    rig.calls.put(server, {.file = {file}, .sequence = 1}, {.length = 77, .finalized = false});
  }
  ASSERT_EQ(rig.h.report(file, 1, 1, 0, 77, {3}), Code::kOk);
  rig.wake_all();
  const ChunkId chunk{.file = {file}, .sequence = 1};
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(10)));
  EXPECT_EQ(rig.calls.copies_begun, 0u);
  EXPECT_EQ(rig.status().repair.good_after_all, 1u);
}

TEST(Repair, AShortReplicaOnTheOnlyPossibleServer) {
  Rig rig(10, 3);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(2));
  rig.calls.find(3, chunk)->length = 10;
  ASSERT_TRUE(rig.h.mark(chunk.file.number, 1, 3, true).ok());
  rig.wake_all();
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(60)));
  EXPECT_EQ(rig.calls.find(3, chunk)->length, 1000u);
  EXPECT_EQ(rig.calls.find(3, chunk)->version, 3u);
  EXPECT_EQ(rig.status().repair.dropped, 1u);
  EXPECT_EQ(rig.orders(), 0u);
}

TEST(Repair, FewServersThenMore) {
  Rig rig(11, 2);
  const ChunkId chunk = rig.settled_chunk(1, 1, 1000, 2);
  rig.run(seconds(100));
  EXPECT_EQ(rig.h.meta().short_chunks(), 1u);
  const u64 scanned = rig.status().repair.scanned;
  rig.run(seconds(600));
  EXPECT_LT(rig.status().repair.scanned - scanned, 50u) << "what cannot be done is seldom tried";
  rig.add_server(3);
  rig.wake_all();
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(10)));
  EXPECT_EQ(rig.h.meta().short_chunks(), 0u);
}

TEST(Repair, OtherRacksArePreferred) {
  Rig rig(12, 0);
  for (const auto& [server, rack] : std::map<u32, std::string>{
           {1, "a"}, {2, "b"}, {3, "c"}, {4, "a"}, {5, "b"}, {6, "d"}, {7, "a"}}) {
    rig.add_server(server, rack);
  }
  std::vector<ChunkId> chunks;
  for (u64 file = 1; file <= 10; ++file) {
    chunks.push_back(rig.settled_chunk(file));
  }
  rig.run(seconds(2));
  die(rig, 3);
  EXPECT_TRUE(rig.run_until(
      [&] { return std::all_of(chunks.begin(), chunks.end(), [&](auto& c) { return rig.whole(c); }); },
      seconds(60)));
  for (const ChunkId& chunk : chunks) {
    EXPECT_EQ(rig.listed(chunk), (std::set<u32>{1, 2, 6}));
  }
}

TEST(Repair, AWholeRackIsWaitedForUnlessTooFewAreLeft) {
  Rig rig(13, 0);
  for (const auto& [server, rack] : std::map<u32, std::string>{
           {1, "a"}, {2, "b"}, {3, "b"}, {4, "c"}, {5, "d"}, {6, "e"}}) {
    rig.add_server(server, rack);
  }
  const ChunkId one_there = rig.settled_chunk(1, 3);   // 3, 4, 5: two are left
  const ChunkId two_there = rig.settled_chunk(2, 1);   // 1, 2, 3: one is left
  rig.run(seconds(5));
  die(rig, 2);
  die(rig, 3);
  // The latter goes on until two copies are there, and waits then.
  EXPECT_TRUE(rig.run_until([&] { return rig.status().repair.copies == 1; }, seconds(20)));
  rig.run(seconds(250));
  EXPECT_EQ(rig.status().repair.copies, 1u);
  EXPECT_EQ(rig.listed(one_there), (std::set<u32>{3, 4, 5}));
  EXPECT_TRUE(rig.listed(two_there).contains(1));
  // Its time is over.
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(one_there) && rig.whole(two_there); },
                            seconds(120)));
}

TEST(Repair, ARackThatReturnsInTimeCostsNothing) {
  Rig rig(14, 0);
  for (const auto& [server, rack] :
       std::map<u32, std::string>{{1, "a"}, {2, "b"}, {3, "c"}, {4, "c"}, {5, "d"}}) {
    rig.add_server(server, rack);
  }
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(5));
  die(rig, 3);
  die(rig, 4);
  rig.run(seconds(200));
  return_to_life(rig, 3);
  return_to_life(rig, 4);
  rig.run(seconds(200));
  EXPECT_EQ(rig.calls.copies_begun, 0u);
  EXPECT_TRUE(rig.whole(chunk));
}

TEST(Repair, ADrainedServerIsEmptyInTheEnd) {
  Rig rig(15, 5);
  std::vector<ChunkId> chunks;
  for (u64 file = 1; file <= 12; ++file) {
    chunks.push_back(rig.settled_chunk(file));
  }
  rig.run(seconds(5));
  rig.calls.servers[1].admin = pb::SERVER_DRAINING;
  ASSERT_TRUE(rig.run_until([&] { return rig.status().left.contains(1); }, seconds(10)));
  EXPECT_TRUE(rig.run_until(
      [&] {
        const auto left = rig.status().left;
        const auto found = left.find(1);
        return found != left.end() && found->second == 0;
      },
      seconds(300)));
  for (const ChunkId& chunk : chunks) {
    EXPECT_TRUE(rig.whole(chunk));
  }
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(10)));
  EXPECT_TRUE(rig.calls.servers[1].devices[StreamHarness::device(1)].empty());
  // Back in service it is like any other.
  rig.calls.servers[1].admin = pb::SERVER_IN_SERVICE;
  rig.run(seconds(5));
  EXPECT_TRUE(rig.status().left.empty());
}

TEST(Repair, DrainingWaitsWhereThereIsNoOtherPlace) {
  Rig rig(16, 3);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.calls.servers[1].admin = pb::SERVER_DRAINING;
  rig.run(seconds(300));
  EXPECT_EQ(rig.held(chunk), (std::set<u32>{1, 2, 3}));
  EXPECT_EQ(rig.status().left.at(1), 1u);
  rig.add_server(4);
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(90)));
}

TEST(Repair, ARemovedServerIsForgotten) {
  Rig rig(17, 5);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(5));
  rig.calls.servers[2].up = false;
  rig.calls.servers[2].admin = pb::SERVER_REMOVED;
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(30)));
  EXPECT_EQ(rig.orders(), 0u);
}

TEST(Repair, FailedAndVanishedDevices) {
  for (const bool vanishes : {false, true}) {
    SCOPED_TRACE(vanishes);
    Rig rig(18, 4);
    const Uuid second{.high = 0xd1, .low = 77};
    rig.calls.servers[1].devices[second];
    const ChunkId chunk = rig.settled_chunk(1);
    rig.run(seconds(40));
    if (vanishes) {
      rig.calls.servers[1].devices.erase(StreamHarness::device(1));
    } else {
      rig.calls.servers[1].failed_devices.insert(StreamHarness::device(1).low);
    }
    rig.run(seconds(10));
    EXPECT_EQ(rig.listed(chunk).contains(1) && rig.whole(chunk), false);
    EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(120)));
    EXPECT_EQ(rig.orders(), 0u) << "nobody can erase anything there";
  }
}

TEST(Repair, AnotherDeviceOfTheSameServer) {
  Rig rig(19, 3);
  const Uuid second{.high = 0xd1, .low = 77};
  rig.calls.servers[1].devices[second];
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(40));
  rig.calls.servers[1].failed_devices.insert(StreamHarness::device(1).low);
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(120)));
  EXPECT_TRUE(rig.calls.servers[1].devices[second].contains(chunk));
}

TEST(Repair, FullServersTakeNothing) {
  Rig rig(20, 5);
  rig.calls.servers[4].free_bytes = 0;
  std::vector<ChunkId> chunks;
  for (u64 file = 1; file <= 10; ++file) {
    chunks.push_back(rig.settled_chunk(file));
  }
  rig.run(seconds(5));
  die(rig, 2);
  EXPECT_TRUE(rig.run_until(
      [&] { return std::all_of(chunks.begin(), chunks.end(), [&](auto& c) { return rig.whole(c); }); },
      seconds(60)));
  EXPECT_TRUE(rig.calls.servers[4].devices[StreamHarness::device(4)].empty());
}

TEST(Repair, WhatStandsInTheWayIsErased) {
  Rig rig(21, 4);
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(5));
  rig.calls.put(4, chunk, {.length = 5, .finalized = false});
  die(rig, 2);
  EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(120)));
  EXPECT_EQ(rig.listed(chunk), (std::set<u32>{1, 3, 4}));
}

TEST(Repair, OpenChunksAreLeftAlone) {
  Rig rig(22, 5);
  const u64 file = StreamHarness::file(1);
  ASSERT_TRUE(rig.h.open(file, 2).ok());
  rig.run(seconds(5));
  die(rig, 2);
  rig.run(seconds(600));
  EXPECT_EQ(rig.calls.copies_begun, 0u);
}

TEST(Repair, ItsRateIsBounded) {
  StreamLoopsOptions options;
  options.repair.bytes_per_second = kMiB;
  Rig rig(23, 6, 1, options);
  for (u64 file = 1; file <= 30; ++file) {
    rig.settled_chunk(file, 1, kMiB);
  }
  rig.run(seconds(5));
  die(rig, 2);
  rig.run(seconds(10));
  EXPECT_LE(rig.status().repair.copies, 11u);
  EXPECT_GE(rig.status().repair.copies, 5u);
}

// A new leader is there in the middle of a copy, and the old one does not know.
TEST(Repair, OnlyOneOfTwoLeadersSucceeds) {
  for (u64 seed = 30; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Rig rig(seed, 6, 2);
    rig.calls.copy_time = seconds(1);
    const ChunkId chunk = rig.settled_chunk(1);
    rig.run(seconds(5));
    die(rig, 2);
    ASSERT_TRUE(rig.run_until([&] { return rig.calls.copies_running > 0; }, seconds(10)));
    rig.run(milliseconds(static_cast<i64>(rig.random.below(800))));
    rig.lead_unheard(1);
    EXPECT_TRUE(rig.run_until([&] { return rig.whole(chunk); }, seconds(60)));
    rig.run(seconds(10));
    EXPECT_TRUE(rig.whole(chunk));
    EXPECT_EQ(rig.listed(chunk).size(), 3u);
    rig.copies[0]->term = 0;
    rig.wake_all();
    // What the old one copied is nobody's, and goes.
    rig.run(seconds(3700));
    EXPECT_TRUE(rig.whole(chunk));
    std::set<u32> held = rig.held(chunk);
    held.erase(2);
    EXPECT_EQ(held, rig.listed(chunk));
  }
}

// Servers die and return, messages are lost, leaders change, replicas go bad: as long as each chunk
// has a good copy somewhere, all of them are whole in the end, and nothing is left behind.
TEST(Repair, Storm) {
  for (u64 seed = 100; seed < 104; ++seed) {
    SCOPED_TRACE(seed);
    StreamLoopsOptions options;
    options.watch.rack_grace = seconds(60);
    options.inventory.interval = seconds(60);
    options.inventory.orphan_grace = seconds(120);
    Rig rig(seed, 7, 2, options);
    rig.calls.loss = 0.05;
    rig.unknown_outcomes = 0.05;
    std::vector<ChunkId> chunks;
    for (u64 file = 1; file <= 25; ++file) {
      chunks.push_back(rig.settled_chunk(file, 1 + static_cast<u32>(file % 5)));
    }
    size_t leader = 0;
    for (int step = 0; step < 30; ++step) {
      const u32 server = static_cast<u32>(rig.random.between(1, 7));
      const ChunkId& chunk = chunks[rig.random.below(chunks.size())];
      const bool whole = std::all_of(chunks.begin(), chunks.end(),
                                     [&](const ChunkId& each) { return rig.whole(each); });
      switch (rig.random.below(6)) {
        case 0:
          if (whole) {
            die(rig, server);
          }
          break;
        case 1:
          for (u32 each = 1; each <= 7; ++each) {
            return_to_life(rig, each);
          }
          break;
        case 2:
          leader = 1 - leader;
          rig.lead_unheard(leader);
          rig.run(seconds(static_cast<i64>(rig.random.below(20))));
          rig.copies[1 - leader]->term = 0;
          rig.wake_all();
          break;
        case 3:
          if (auto* replica = rig.calls.find(server, chunk); whole && replica != nullptr) {
            replica->damaged = true;
            rig.calls.touch(server, StreamHarness::device(server), chunk);
          }
          break;
        case 4:
          if (whole) {
            rig.calls.remove(server, chunk);
          }
          break;
        default:
          rig.calls.servers[server].admin =
              rig.random.chance(0.3) ? pb::SERVER_DRAINING : pb::SERVER_IN_SERVICE;
      }
      rig.run(seconds(static_cast<i64>(rig.random.below(90))));
      ASSERT_EQ(rig.h.check_tables(), "") << step;
    }
    rig.calls.loss = 0;
    rig.unknown_outcomes = 0;
    for (u32 each = 1; each <= 7; ++each) {
      return_to_life(rig, each);
      rig.calls.servers[each].admin = pb::SERVER_IN_SERVICE;
    }
    const auto settled = [&] {
      return rig.orders() == 0 && rig.h.meta().short_chunks() == 0 &&
             std::all_of(chunks.begin(), chunks.end(), [&](const ChunkId& chunk) {
               return rig.whole(chunk) && rig.held(chunk) == rig.listed(chunk);
             });
    };
    EXPECT_TRUE(rig.run_until(settled, seconds(3000)));
    for (const ChunkId& chunk : chunks) {
      EXPECT_TRUE(rig.whole(chunk)) << to_string(chunk);
      EXPECT_EQ(rig.held(chunk), rig.listed(chunk)) << to_string(chunk);
    }
  }
}

}  // namespace
}  // namespace pangu::master
