#include "master/streams/order_sender.h"

#include <gtest/gtest.h>

#include "master/streams/rig.h"

namespace pangu::master {
namespace {

using test::Rig;
using test::StreamHarness;

// Inventory and repair have nothing to do here.
StreamLoopsOptions only_orders() {
  StreamLoopsOptions options;
  options.repair.copies_max = 0;
  options.inventory.at_once = 0;
  return options;
}

TEST(OrderSender, OrdersAreCarriedOutAndForgotten) {
  Rig rig(1, 4, 1, only_orders());
  rig.run(seconds(5));
  const ChunkId chunk = rig.settled_chunk(1);
  EXPECT_EQ(rig.orders(), 3u);
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, milliseconds(200))) << "at once";
  EXPECT_TRUE(rig.calls.find(1, chunk)->finalized);
  rig.h.remove(chunk.file.number);
  rig.h.reclaim_all();
  rig.wake_all();
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(1)));
  EXPECT_TRUE(rig.held(chunk).empty());
  EXPECT_EQ(rig.status().orders.confirmed, 6u);
}

TEST(OrderSender, NothingIsSentWhenThereIsNothingToDo) {
  Rig rig(2, 4, 1, only_orders());
  rig.settled_chunk(1);
  rig.run(seconds(10));
  const u64 calls = rig.status().orders.calls;
  EXPECT_EQ(calls, 3u);
  rig.run(seconds(3600));
  EXPECT_EQ(rig.status().orders.calls, calls);
}

TEST(OrderSender, ManyOrdersGoInBatches) {
  StreamLoopsOptions options = only_orders();
  options.orders.batch = 7;
  Rig rig(3, 4, 1, options);
  for (u64 file = 1; file <= 50; ++file) {
    rig.settled_chunk(file);
  }
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(5)));
  EXPECT_GE(rig.status().orders.calls, 3u * 8u);
}

TEST(OrderSender, ASilentServerIsLeftAloneForLongerEachTime) {
  Rig rig(4, 4, 1, only_orders());
  rig.calls.servers[2].up = false;
  const ChunkId chunk = rig.settled_chunk(1);
  rig.run(seconds(600));
  EXPECT_EQ(rig.orders(), 1u);
  EXPECT_LT(rig.status().orders.failures, 25u);
  EXPECT_GT(rig.status().orders.failures, 5u);
  rig.calls.servers[2].up = true;
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(90)));
  EXPECT_TRUE(rig.calls.find(2, chunk)->finalized);
  // Dead, by what the root says: nobody calls it.
  rig.calls.servers[3].up = false;
  rig.calls.servers[3].heard = false;
  rig.run(seconds(2));
  rig.settled_chunk(2);
  const u64 failures = rig.status().orders.failures;
  rig.run(seconds(600));
  EXPECT_EQ(rig.status().orders.failures, failures);
  rig.calls.servers[3].up = true;
  rig.calls.servers[3].heard = true;
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(5)));
}

TEST(OrderSender, OrdersThatAreNotCarriedOutHoldUpNoOthers) {
  StreamLoopsOptions options = only_orders();
  options.orders.batch = 3;
  Rig rig(5, 4, 1, options);
  rig.calls.servers[1].refuses_orders = true;
  for (u64 file = 1; file <= 10; ++file) {
    rig.settled_chunk(file);
  }
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 10; }, seconds(5)));
  rig.run(seconds(600));
  EXPECT_EQ(rig.orders(), 10u);
  EXPECT_LT(rig.status().orders.calls, 200u);
  rig.calls.servers[1].refuses_orders = false;
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(90)));
}

TEST(OrderSender, LostMessagesAreSentAgain) {
  Rig rig(6, 4, 1, only_orders());
  rig.calls.loss = 0.3;
  rig.unknown_outcomes = 0.2;
  for (u64 file = 1; file <= 20; ++file) {
    rig.settled_chunk(file);
  }
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }));
}

TEST(OrderSender, OrdersToRemovedServersAreDropped) {
  Rig rig(7, 4, 1, only_orders());
  rig.calls.servers[2].up = false;
  rig.settled_chunk(1);
  rig.run(seconds(5));
  EXPECT_EQ(rig.orders(), 1u);
  rig.calls.servers[2].admin = pb::SERVER_REMOVED;
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(90)));
  EXPECT_EQ(rig.status().orders.dropped, 1u);
}

TEST(OrderSender, QuestionsAreAnsweredUntilThereAreNoMore) {
  Rig rig(8, 4, 1, only_orders());
  rig.run(seconds(5));
  const ChunkId chunk = rig.settled_chunk(1);
  rig.h.remove(StreamHarness::file(7));
  test::FakeServer& server = rig.calls.servers[1];
  for (u64 i = 0; i < 5; ++i) {
    server.questions.push_back({.file = chunk.file});
  }
  EXPECT_TRUE(rig.run_until([&] { return server.answers.size() == 5; }, seconds(20)));
  const pb::DeadChunks& answer = server.answers.front();
  EXPECT_EQ(wire::get(answer.device()), StreamHarness::device(1));
  EXPECT_EQ(wire::get(answer.from()).file, chunk.file);
  EXPECT_EQ(wire::get(answer.until()).file.number, StreamHarness::file(8));
  rig.run(seconds(10));
  const u64 calls = rig.status().orders.calls;
  rig.run(seconds(600));
  EXPECT_EQ(rig.status().orders.calls, calls);
}

TEST(OrderSender, ADeposedLeaderStops) {
  Rig rig(9, 4, 2, only_orders());
  rig.run(seconds(1));
  rig.lead_unheard(1);
  // Server 1 has heard the new leader.
  rig.settled_chunk(1);
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(60)));
  rig.run(seconds(60));
  const u64 calls = rig.calls.servers[1].calls;
  rig.settled_chunk(2);
  EXPECT_TRUE(rig.run_until([&] { return rig.orders() == 0; }, seconds(60)));
  EXPECT_LE(rig.calls.servers[1].calls - calls, 3u);
}

}  // namespace
}  // namespace pangu::master
