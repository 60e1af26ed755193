#include <gtest/gtest.h>

#include "client/master_routes.h"
#include "client/way_cache.h"

// Plain decisions: what the partition map says, whom to ask, which ways are remembered.
namespace pangu::client {
namespace {

env::Address address(u16 port) {
  return *env::parse_address("127.0.0.1:" + std::to_string(port));
}

pb::PartitionMap map_of(u64 version, std::vector<u64> nodes, u64 leader) {
  pb::PartitionMap out;
  out.set_version(version);
  for (u64 node = 1; node <= 3; ++node) {
    pb::MasterNode& master = *out.add_masters();
    master.set_node(node);
    master.set_address(env::to_string(address(static_cast<u16>(node))));
  }
  pb::GroupInfo& info = *out.add_groups();
  info.set_group(4096);
  info.mutable_nodes()->Add(nodes.begin(), nodes.end());
  info.set_leader(leader);
  pb::Subtree& all = *out.add_subtrees();
  all.add_partitions(0);
  all.add_partitions(1);
  pb::Subtree& part = *out.add_subtrees();
  part.set_number(7);
  part.add_partitions(2);
  part.set_parent(1);
  part.set_name("logs");
  part.set_directory(wire::directory_id(7, 1, "logs", 0));
  return out;
}

TEST(PartitionMap, SaysWhereThingsAre) {
  PartitionMap map({address(9)});
  EXPECT_FALSE(map.known());
  EXPECT_EQ(map.members(4096), std::vector<env::Address>{address(9)});
  ASSERT_TRUE(map.learn(map_of(3, {2, 3}, 3)).ok());
  EXPECT_EQ(map.members(4096), (std::vector<env::Address>{address(2), address(3)}));
  EXPECT_EQ(map.members(4097).size(), 4u);  // not known: all masters, and the user's
  EXPECT_EQ(map.leader(4096), address(3));
  EXPECT_EQ(map.leader(4097), std::nullopt);
  const u64 logs = map.guess_child(1, "logs");
  EXPECT_EQ(wire::subtree_of(logs), 7u);
  EXPECT_EQ(map.group_of_directory(logs), 4098u);
  const u64 below = map.guess_child(logs, "x");
  EXPECT_EQ(below, wire::directory_id(7, logs, "x", 0));
  EXPECT_EQ(map.group_of_directory(below), 4098u);
  const u64 other = map.guess_child(1, "other");
  EXPECT_EQ(map.group_of_directory(other), 4096 + wire::directory_slot(other, 2));
  EXPECT_EQ(map.group_of_directory(u64{9} << 52), std::nullopt);
}

TEST(PartitionMap, NeverGoesBackAndRefusesWhatCannotBe) {
  PartitionMap map({address(9)});
  ASSERT_TRUE(map.learn(map_of(3, {2}, 2)).ok());
  ASSERT_TRUE(map.learn(map_of(2, {1}, 1)).ok());
  EXPECT_EQ(map.members(4096), std::vector<env::Address>{address(2)});
  auto without_root = map_of(4, {1}, 1);
  without_root.mutable_subtrees()->DeleteSubrange(0, 1);
  EXPECT_EQ(map.learn(without_root).code(), Code::kBadFrame);
  auto empty = map_of(4, {1}, 1);
  empty.mutable_subtrees(0)->clear_partitions();
  EXPECT_EQ(map.learn(empty).code(), Code::kBadFrame);
  auto too_many = map_of(4, {1}, 1);
  too_many.mutable_subtrees(0)->set_partitions(0, wire::kPartitionsMax);
  EXPECT_EQ(map.learn(too_many).code(), Code::kBadFrame);
  EXPECT_EQ(map.version(), 3u);
  auto nonsense = map_of(4, {1, 77}, 88);
  nonsense.mutable_masters(1)->set_address("nowhere");
  ASSERT_TRUE(map.learn(nonsense).ok());
  EXPECT_EQ(map.members(4096), std::vector<env::Address>{address(1)});
  EXPECT_EQ(map.masters().size(), 3u);
}

class RoutesTest : public ::testing::Test {
 protected:
  RoutesTest() { EXPECT_TRUE(map.learn(map_of(1, {1, 2, 3}, 2)).ok()); }
  env::Address choose() { return routes.choose(4096, now); }
  void pass(i64 ms) { now = now + milliseconds(ms); }

  PartitionMap map{{address(1)}};
  MasterRoutes routes{map};
  Instant now{1'000'000'000};
};

TEST_F(RoutesTest, TheLeaderIsAskedAndHintsAreFollowed) {
  EXPECT_EQ(choose(), address(2));  // the map says so
  EXPECT_TRUE(routes.note_not_leader(4096, address(2), address(3), now));
  EXPECT_EQ(choose(), address(3));
  EXPECT_FALSE(routes.note_not_leader(4096, address(3), std::nullopt, now));
  EXPECT_EQ(choose(), address(1));
  EXPECT_FALSE(routes.note_not_leader(4096, address(1), address(1), now));
  EXPECT_EQ(choose(), address(2));
  routes.note_leader(4096, address(1));
  EXPECT_EQ(choose(), address(1));
}

TEST_F(RoutesTest, ASilentLeaderIsAvoidedByAllGroupsAndNotBelievedForAWhile) {
  const Instant sent = now;
  pass(300);
  routes.note_silence(4096, address(2), sent, now);
  EXPECT_EQ(choose(), address(3));
  // The others have not elected anybody yet.
  EXPECT_FALSE(routes.note_not_leader(4096, address(3), address(2), now));
  EXPECT_EQ(choose(), address(1));
  EXPECT_FALSE(routes.note_not_leader(4096, address(1), address(2), now));
  EXPECT_EQ(choose(), address(3));
  // Another group that it led is not begun with it either.
  routes.note_leader(8192, address(2));
  EXPECT_NE(routes.choose(8192, now), address(2));
  // After the longest election they should know: it is alive, only slow.
  pass(260);
  EXPECT_TRUE(routes.note_not_leader(4096, address(3), address(2), now));
  EXPECT_EQ(choose(), address(2));
}

TEST_F(RoutesTest, ASlowRequestDoesNotSpeakAgainstAMasterThatAnswersOthers) {
  const Instant sent = now;
  pass(100);
  routes.note_answer(address(2), now);
  pass(200);
  routes.note_silence(4096, address(2), sent, now);
  EXPECT_EQ(choose(), address(3));  // who may know of a new leader
  EXPECT_TRUE(routes.note_not_leader(4096, address(3), address(2), now));
  EXPECT_EQ(choose(), address(2));
}

TEST_F(RoutesTest, WhoAnswersIsNotAvoidedAnyMore) {
  routes.note_unreachable(4096, address(2), now);
  EXPECT_EQ(choose(), address(3));
  routes.note_answer(address(2), now);
  routes.note_leader(4096, address(2));
  EXPECT_EQ(choose(), address(2));
  for (u16 port = 1; port <= 3; ++port) {
    routes.note_unreachable(4096, address(port), now);
  }
  EXPECT_EQ(choose(), address(1));  // somebody has to be asked
  routes.step_on(4096, address(1));
  EXPECT_EQ(choose(), address(2));
}

TEST(WayCache, KeepsTheLastUsedAndForgetsSubtrees) {
  WayCache ways(4);
  for (const char* path : {"/a", "/a/b", "/a-c", "/a/b/c"}) {
    ways.put(path, Way{.chain = {1, 2}, .seen = 5});
  }
  EXPECT_NE(ways.find("/a"), nullptr);
  ways.put("/d", Way{.chain = {1, 9}, .seen = 5});
  EXPECT_EQ(ways.size(), 4u);
  EXPECT_EQ(ways.find("/a/b"), nullptr);  // the least recently used
  ways.renew("/d", Way{.chain = {1, 8}}, 6);
  EXPECT_EQ(ways.find("/d")->seen, 5u);  // another way
  ways.renew("/d", Way{.chain = {1, 9}}, 6);
  EXPECT_EQ(ways.find("/d")->seen, 6u);
  ways.renew("/d", Way{.chain = {1, 9}}, 3);
  EXPECT_EQ(ways.find("/d")->seen, 6u);
  ways.forget("/a");
  EXPECT_EQ(ways.find("/a"), nullptr);
  EXPECT_EQ(ways.find("/a/b/c"), nullptr);
  EXPECT_NE(ways.find("/a-c"), nullptr);
  EXPECT_EQ(ways.size(), 2u);
  WayCache none(0);
  none.put("/a", Way{.chain = {1, 2}});
  EXPECT_EQ(none.size(), 0u);
}

}  // namespace
}  // namespace pangu::client
