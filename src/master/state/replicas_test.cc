#include "master/state/replicas.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "master/state/limits.h"
#include "master/state/stream_harness.h"

namespace pangu::master {
namespace {

using test::StreamHarness;

// One file whose first chunk is settled on servers 1 to 3, whose second one is open.
class ReplicasTest : public testing::Test {
 protected:
  ReplicasTest() { h.settled_file(file); }
  void TearDown() override { EXPECT_EQ(h.check_tables(), ""); }

  std::vector<u32> servers(u32 sequence = 1) {
    std::vector<u32> out;
    const auto found = h.settled(file, sequence);
    for (const record::Replica& each : found->chunk.replicas()) {
      out.push_back(each.server());
    }
    return out;
  }
  u32 version(u32 sequence = 1) { return h.settled(file, sequence)->chunk.version(); }
  bool orphan(u32 sequence, u32 server) {
    return h.query([&](Txn& txn) {
      return is_orphan(txn, StreamHarness::location(server),
                       {.file = {file}, .sequence = sequence});
    });
  }

  StreamHarness h;
  u64 file = StreamHarness::file(1);
};

TEST_F(ReplicasTest, AChunkIsListedFromItsSettlingOn) {
  EXPECT_EQ(h.query([](Txn& txn) { return txn.scan_prefix("P", 10); }).entries.size(), 3u);
  EXPECT_EQ(h.meta().short_chunks(), 0u);
  // Also behind an open one.
  ASSERT_TRUE(h.allocate(file, 1, 1).ok());
  ASSERT_EQ(h.report(file, 1, 3, 150, 10, {2}), Code::kOk);
  EXPECT_EQ(h.check_tables(), "");
  EXPECT_EQ(h.meta().short_chunks(), 1u);
  EXPECT_TRUE(h.settled(file, 3)->in_tail);
  EXPECT_FALSE(h.settled(file, 2).has_value());
  ASSERT_EQ(h.report(file, 1, 2, 100, 50), Code::kOk);
  EXPECT_FALSE(h.settled(file, 3)->in_tail);
}

TEST_F(ReplicasTest, AChunkOfFewerCopiesThanTheFileWantsIsShort) {
  const u64 other = StreamHarness::file(2);
  ASSERT_TRUE(h.open(other, 1, StreamHarness::offer(1, 2, 2)).ok());
  ASSERT_EQ(h.report(other, 1, 1, 0, 10), Code::kOk);
  EXPECT_EQ(h.meta().short_chunks(), 1u);
  EXPECT_TRUE(h.query([&](Txn& txn) { return txn.has(keys::short_chunk(2, {other}, 1)); }));
  ASSERT_TRUE(h.change_replicas(other, 1, 1, {}, {3}).ok());
  EXPECT_EQ(h.meta().short_chunks(), 0u);
}

TEST_F(ReplicasTest, AMoveIsOneCommand) {
  h.carry_out_orders();
  ASSERT_TRUE(h.change_replicas(file, 1, 1, {2}, {4}).ok());
  EXPECT_EQ(servers(), (std::vector<u32>{1, 3, 4}));
  EXPECT_EQ(version(), 2u);
  ASSERT_EQ(h.orders(2).delete_chunks_size(), 1);
  EXPECT_EQ(h.orders(2).delete_chunks(0).version(), 2u);
  EXPECT_TRUE(h.orders(4).finalize_chunks().empty()) << "a copy is made whole";
  const auto stream = h.get(file);
  EXPECT_EQ(stream->stream().chunks(0).version(), 2u);
  EXPECT_EQ(stream->stream().chunks(0).length(), 100u);
}

TEST_F(ReplicasTest, OnlyOneChangeOfAVersionIsDone) {
  ASSERT_TRUE(h.change_replicas(file, 1, 1, {2}, {4}).ok());
  EXPECT_EQ(h.change_replicas(file, 1, 1, {3}, {5}).code(), Code::kConflict);
  EXPECT_EQ(h.change_replicas(file, 1, 3, {3}, {5}).code(), Code::kConflict);
  EXPECT_EQ(servers(), (std::vector<u32>{1, 3, 4}));
}

TEST_F(ReplicasTest, WhatCannotBe) {
  EXPECT_EQ(h.change_replicas(file, 1, 1, {}, {}).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.change_replicas(file, 1, 1, {4}, {5}).code(), Code::kConflict) << "not there";
  EXPECT_EQ(h.change_replicas(file, 1, 1, {}, {2}).code(), Code::kConflict) << "there already";
  EXPECT_EQ(h.change_replicas(file, 1, 1, {}, {4, 4}).code(), Code::kConflict);
  EXPECT_EQ(h.change_replicas(file, 1, 1, {}, {0}).code(), Code::kInvalidArgument);
  EXPECT_EQ(h.change_replicas(file, 1, 1, {1, 2, 3}, {}).code(), Code::kConflict) << "the last";
  EXPECT_EQ(h.change_replicas(file, 2, 1, {1}, {4}).code(), Code::kConflict) << "open";
  EXPECT_EQ(h.change_replicas(file, 9, 1, {1}, {4}).code(), Code::kConflict) << "never listed";
  EXPECT_EQ(h.change_replicas(StreamHarness::file(2), 1, 1, {1}, {4}).code(), Code::kNotFound);
  EXPECT_EQ(version(), 1u);
  EXPECT_EQ(h.orders(1).delete_chunks_size(), 0);
  ASSERT_TRUE(h.mark(file, 1, 1, true).ok());
  EXPECT_EQ(h.change_replicas(file, 1, 1, {2, 3}, {}).code(), Code::kConflict) << "the last good";
  h.remove(file);
  EXPECT_EQ(h.change_replicas(file, 1, 1, {2}, {4}).code(), Code::kNotFound);
}

TEST_F(ReplicasTest, NoCopyWhereTheOldOneIsStillBeingErased) {
  ASSERT_TRUE(h.change_replicas(file, 1, 1, {2}, {}).ok());
  EXPECT_EQ(h.change_replicas(file, 1, 2, {}, {2}).code(), Code::kConflict);
  h.carry_out_orders();
  ASSERT_TRUE(h.change_replicas(file, 1, 2, {}, {2}).ok());
  EXPECT_EQ(version(), 3u) << "above what the order to erase named";
}

TEST_F(ReplicasTest, ReplicasOfLostServersLeaveNoOrders) {
  ASSERT_EQ(h.orders(2).finalize_chunks_size(), 1);
  ASSERT_TRUE(h.change_replicas(file, 1, 1, {2}, {4}, false).ok());
  EXPECT_EQ(h.orders(2).finalize_chunks_size(), 0);
  EXPECT_EQ(h.orders(2).delete_chunks_size(), 0);
}

TEST_F(ReplicasTest, MarksCountGoodCopies) {
  h.carry_out_orders();
  ASSERT_TRUE(h.mark(file, 1, 2, true).ok());
  EXPECT_EQ(h.meta().short_chunks(), 1u);
  EXPECT_TRUE(h.get(file)->stream().chunks(0).replicas(1).suspect());
  EXPECT_EQ(version(), 1u);
  ASSERT_TRUE(h.mark(file, 1, 3, true, 1).ok());
  EXPECT_TRUE(h.query([&](Txn& txn) { return txn.has(keys::short_chunk(1, {file}, 1)); }));
  // Of another version, elsewhere, of an open chunk, of no chunk: passed over.
  ASSERT_TRUE(h.mark(file, 1, 1, true, 2).ok());
  ASSERT_TRUE(h.mark(file, 1, 4, true).ok());
  ASSERT_TRUE(h.mark(file, 2, 1, true).ok());
  ASSERT_TRUE(h.mark(file, 9, 1, true).ok());
  EXPECT_EQ(h.check_tables(), "");
  EXPECT_FALSE(h.get(file)->stream().chunks(1).replicas(0).suspect());
  EXPECT_FALSE(h.settled(file, 1)->chunk.replicas(0).suspect());
  // Good after all: it may have missed the first order.
  ASSERT_TRUE(h.mark(file, 1, 2, false).ok());
  ASSERT_TRUE(h.mark(file, 1, 3, false).ok());
  EXPECT_EQ(h.meta().short_chunks(), 0u);
  EXPECT_EQ(h.orders(2).finalize_chunks_size(), 1);
  EXPECT_EQ(h.orders(1).finalize_chunks_size(), 0);
}

TEST_F(ReplicasTest, Orphans) {
  EXPECT_FALSE(orphan(1, 2)) << "listed";
  EXPECT_TRUE(orphan(1, 4)) << "settled elsewhere";
  EXPECT_FALSE(orphan(2, 1)) << "open";
  EXPECT_FALSE(orphan(2, 4)) << "open: a takeover may be filling it";
  EXPECT_FALSE(orphan(3, 1)) << "not listed yet";
  ASSERT_EQ(h.release(file, 1, 2), Code::kOk);
  EXPECT_TRUE(orphan(2, 1)) << "given back";
  const ChunkId unknown{.file = {StreamHarness::file(2)}, .sequence = 1};
  const ChunkId foreign{.file = {StreamHarness::file(2, 4)}, .sequence = 1};
  for (const ChunkId& chunk : {unknown, foreign}) {
    EXPECT_FALSE(h.query(
        [&](Txn& txn) { return is_orphan(txn, StreamHarness::location(1), chunk); }));
  }
  h.remove(file);
  EXPECT_FALSE(orphan(1, 2)) << "it leaves with its file";
  EXPECT_TRUE(orphan(1, 4));
  EXPECT_TRUE(orphan(77, 1));
  h.reclaim_all();
  EXPECT_TRUE(orphan(1, 2));
}

TEST_F(ReplicasTest, OrphansAreErasedAndTheirCopiesCannotReturnByAccident) {
  h.carry_out_orders();
  ASSERT_TRUE(h.erase_orphan(file, 1, 2).ok());  // listed: nothing happens
  EXPECT_EQ(h.orders(2).delete_chunks_size(), 0);
  EXPECT_EQ(version(), 1u);
  // A copy to server 4 was under way for version 2; it is taken for an orphan.
  ASSERT_TRUE(h.erase_orphan(file, 1, 4).ok());
  ASSERT_EQ(h.orders(4).delete_chunks_size(), 1);
  EXPECT_EQ(h.orders(4).delete_chunks(0).version(), 2u);
  EXPECT_EQ(version(), 2u);
  EXPECT_EQ(h.change_replicas(file, 1, 1, {}, {4}).code(), Code::kConflict);
  ASSERT_TRUE(h.erase_orphan(file, 1, 4).ok());
  EXPECT_EQ(version(), 2u) << "once is enough";
  // Of chunks that are nowhere any more the version does not matter.
  h.remove(file);
  ASSERT_TRUE(h.erase_orphan(file, 9, 4).ok());
  EXPECT_EQ(h.orders(4).delete_chunks_size(), 2);
  EXPECT_EQ(h.orders(4).delete_chunks(1).version(), 0u);
}

TEST_F(ReplicasTest, CommandsAreBounded) {
  record::MarkReplicas marks;
  record::EraseOrphans orphans;
  for (int i = 0; i <= kMarksMax; ++i) {
    marks.add_marks();
    orphans.add_chunks();
  }
  EXPECT_EQ(h.change([&](Txn& txn) { return mark_replicas(txn, marks); }).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(h.change([&](Txn& txn) { return erase_orphans(txn, orphans); }).code(),
            Code::kInvalidArgument);
}

// Whatever is done in whatever order: P and N are what the chunks say, an open chunk is never
// erased, and no order to erase stands for a place that is listed.
TEST(Replicas, TablesFollowTheChunks) {
  for (const u64 seed : {11u, 12u, 13u, 14u}) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    StreamHarness h;
    u64 files = 0;
    for (int step = 0; step < 400; ++step) {
      const u64 file = StreamHarness::file(1 + prng.below(files + 1));
      const u32 sequence = static_cast<u32>(prng.between(1, 6));
      const u32 server = static_cast<u32>(prng.between(1, 6));
      const auto head = h.get(file);
      const u32 epoch = head.ok() ? head->stream().epoch() : 0;
      switch (prng.below(10)) {
        case 0:
          files = std::min<u64>(files + 1, 5);
          break;
        case 1:
        case 2: {
          const u32 copies = prng.chance(0.3) ? 2 : 3;
          (void)h.open(file, static_cast<u32>(prng.between(1, 3)),
                       StreamHarness::offer(4, copies, 2, static_cast<u32>(prng.between(1, 4))));
          break;
        }
        case 3: {
          pb::PublishRequest publish;
          publish.set_file(file);
          publish.set_epoch(epoch);
          publish.set_fresh_chunks(static_cast<u32>(prng.below(3)));
          u64 base = head.ok() ? head->stream().settled_length() : 0;
          const pb::StreamInfo stream = head.ok() ? head->stream() : pb::StreamInfo();
          for (const pb::ChunkInfo& chunk : stream.chunks()) {
            if (chunk.state() != pb::CHUNK_OPEN) {
              base = chunk.base() + chunk.length();
              continue;
            }
            const u32 length = prng.chance(0.3) ? 0 : 10;
            pb::Decision& decision =
                StreamHarness::decide(publish, chunk.chunk().sequence(), base, length);
            base += length;
            if (prng.chance(0.5)) {
              for (u32 each = server; each < server + 3; ++each) {
                pb::Replica& replica = *decision.add_replicas();
                replica.set_server(each);
                replica.set_suspect(prng.chance(0.2));
                wire::set(*replica.mutable_device(), StreamHarness::device(each));
              }
            }
          }
          (void)h.call(master::publish, publish, StreamHarness::offer(3));
          break;
        }
        case 4:
          h.report(file, epoch, sequence, head.ok() ? head->stream().settled_length() : 0,
                   static_cast<u32>(prng.below(2)) * 10, {server});
          break;
        case 5:
          (void)h.mark(file, sequence, server, prng.chance(0.5));
          break;
        case 6: {
          const auto found = h.settled(file, sequence);
          const u32 version = found ? found->chunk.version() : 1;
          std::vector<u32> remove;
          if (found && prng.chance(0.7)) {
            remove.push_back(found->chunk.replicas(0).server());
          }
          std::vector<u32> add;
          if (prng.chance(0.7)) {
            add.push_back(server);
          }
          (void)h.change_replicas(file, sequence, version, remove, add, prng.chance(0.8));
          break;
        }
        case 7:
          (void)h.erase_orphan(file, sequence, server);
          break;
        case 8:
          h.carry_out_orders();
          break;
        default:
          if (prng.chance(0.2)) {
            h.remove(file);
          } else if (h.meta().reclaims() > 0) {
            (void)h.change([&](Txn& txn) {
              reclaim_files(txn, 2);
              return ok_status();
            });
          }
      }
      ASSERT_EQ(h.check_tables(), "") << "step " << step;
      h.query([&](Txn& txn) {
        for (const KvEntry& row : txn.scan_prefix("O", 100'000).entries) {
          const keys::OrderKey key = keys::decode_order(row.key);
          record::Order order;
          EXPECT_TRUE(txn.get(row.key, order));
          EXPECT_FALSE(order.erase() && txn.has(keys::placed(key.location, key.chunk)))
              << "step " << step << ": " << to_string(key.chunk);
        }
        return 0;
      });
    }
    EXPECT_GT(h.query([](Txn& txn) { return txn.scan_prefix("P", 1000); }).entries.size(), 3u);
    for (u64 counter = 1; counter <= files + 1; ++counter) {
      h.remove(StreamHarness::file(counter));
    }
    h.reclaim_all(3);
    EXPECT_EQ(h.meta().chunks(), 0u);
    EXPECT_EQ(h.meta().short_chunks(), 0u);
    EXPECT_EQ(h.check_tables(), "");
  }
}

}  // namespace
}  // namespace pangu::master
