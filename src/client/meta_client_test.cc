#include <functional>
#include <gtest/gtest.h>

#include "client/client_core.h"
#include "client/testing/client_fixture.h"

// Three master processes that die, fall silent and change places.
namespace pangu::client::testing {
namespace {

Task<void> later(Duration delay, std::function<void()> what) {
  co_await sleep_for(delay);
  what();
}

class MetaClientTest : public ClientFixture {
 protected:
  MetaClientTest() : ClientFixture(3, {.processes = 3}) {
    cluster.network().delay_min = cluster.network().delay_max = microseconds(100);
    EXPECT_TRUE(cluster.run(client->make_directory("/d")).ok());
    EXPECT_TRUE(cluster.run(client->create("/d/f")).ok());
  }
  // The group that has the entries of /d.
  u64 group() {
    return cluster.master().tree().group_of(cluster.run(client->stat("/d"))->entry.id);
  }
  u64 leader() { return cluster.master().leader(group()); }
  void at(Duration delay, std::function<void()> what) {
    cluster.reactor().spawn("at", TaskClass::foreground, later(delay, std::move(what)));
  }
  Duration time_of_lookup() {
    const Instant start = cluster.reactor().now();
    const auto info = cluster.run(core_of(*client).names.lookup("/d/f", start + seconds(10)));
    EXPECT_TRUE(info.ok()) << info.error().message();
    return cluster.reactor().now() - start;
  }
  Duration time_of_create(const std::string& path) {
    const Instant start = cluster.reactor().now();
    const auto made = cluster.run(client->create(path));
    EXPECT_TRUE(made.ok()) << made.error().message();
    return cluster.reactor().now() - start;
  }
};

TEST_F(MetaClientTest, ANewLeaderIsFollowedAtOnce) {
  const u64 place = group();
  cluster.master().elect(place, leader() % 3 + 1);
  cluster.master().believe(place, leader());
  const u64 redirects = counters().master_redirects;
  EXPECT_LT(time_of_lookup(), milliseconds(1));
  EXPECT_EQ(counters().master_redirects, redirects + 1);
  const u64 calls = counters().master_calls;
  EXPECT_LT(time_of_lookup(), milliseconds(1));
  EXPECT_EQ(counters().master_calls, calls + 1);
}

TEST_F(MetaClientTest, AKilledLeaderCostsAnElection) {
  const u64 node = leader();
  cluster.master_faults(node).down = true;
  at(milliseconds(30), [&] { cluster.master().depose(node); });
  EXPECT_LT(time_of_create("/d/1"), milliseconds(100));
  EXPECT_LT(time_of_lookup(), milliseconds(1));
}

TEST_F(MetaClientTest, AKilledLeaderAndAnElectionByTimeout) {
  const u64 node = leader();
  cluster.master_faults(node).down = true;
  at(milliseconds(300), [&] { cluster.master().depose(node); });
  EXPECT_LT(time_of_create("/d/1"), milliseconds(400));
}

TEST_F(MetaClientTest, ALeaderThatFallsSilentCostsLessThanASecond) {
  for (const i64 election_ms : {250, 400, 500}) {
    const u64 node = leader();
    cluster.master_faults(node).frozen = true;
    at(milliseconds(election_ms), [&] { cluster.master().depose(node); });
    const Duration took = time_of_create("/d/" + std::to_string(election_ms));
    EXPECT_LT(took, milliseconds(election_ms + 200)) << election_ms;
    EXPECT_LT(took, seconds(1));
    // Everything else that it led is found without waiting for it again.
    EXPECT_LT(time_of_create("/" + std::to_string(election_ms)), milliseconds(20));
    cluster.thaw_master(node);
    cluster.run_for(seconds(3));
  }
}

TEST_F(MetaClientTest, ASlowLeaderIsAskedAgainWithMorePatience) {
  cluster.master_faults(leader()).slow = milliseconds(700);
  EXPECT_LT(time_of_create("/d/slow"), milliseconds(2500));  // 300, 600 and then 1200 ms
  const FakeTree::Tree& truth = cluster.master().tree().truth();
  EXPECT_TRUE(FakeTree::find(truth, "/d/slow").ok());
  cluster.master_faults(leader()).slow = {};
}

TEST_F(MetaClientTest, WithoutAnyMasterNothingHappenedOrNobodyKnows) {
  for (u64 node = 1; node <= 3; ++node) {
    cluster.master_faults(node).down = true;
  }
  const Instant start = cluster.reactor().now();
  EXPECT_EQ(cluster.run(client->create("/d/x")).code(), Code::kUnavailable);
  EXPECT_GE(cluster.reactor().now() - start, milliseconds(9500));
  EXPECT_LT(cluster.reactor().now() - start, milliseconds(10'001));
  for (u64 node = 1; node <= 3; ++node) {
    cluster.master_faults(node).down = false;
    cluster.master_faults(node).silent = true;
  }
  EXPECT_EQ(cluster.run(client->create("/d/y")).code(), Code::kUnknownOutcome);
  for (u64 node = 1; node <= 3; ++node) {
    cluster.master_faults(node).silent = false;
  }
  EXPECT_EQ(cluster.run(client->stat("/d/x")).code(), Code::kNotFound);
  EXPECT_EQ(cluster.run(client->create("/d/y")).code(), Code::kAlreadyExists);
}

TEST_F(MetaClientTest, AGroupThatMovedAwayIsFoundByTheNewMap) {
  const u64 place = group();
  const u64 old = leader();
  const u64 maps = counters().maps_fetched;
  cluster.run_for(seconds(1));
  cluster.master().move_group(place, {old % 3 + 1});
  EXPECT_LT(time_of_lookup(), milliseconds(100));
  EXPECT_EQ(counters().maps_fetched, maps + 1);
  EXPECT_LT(time_of_lookup(), milliseconds(1));
  // A change, whose answer Stale could as well mean that the way is old.
  cluster.run_for(seconds(1));
  cluster.master().move_group(place, {old});
  EXPECT_LT(time_of_create("/d/moved"), milliseconds(100));
  EXPECT_EQ(counters().maps_fetched, maps + 2);
  EXPECT_EQ(cluster.run(client->list("/d"))->entries.size(), 2u);
}

TEST_F(MetaClientTest, AChangeThatMayHaveHappenedNeverGoesToAnotherGroup) {
  MetaClient& meta = core_of(*client).meta;
  const u64 place = group();
  pb::CreateFileRequest request;
  request.mutable_place()->set_directory(1);
  request.mutable_place()->set_name("never");
  Change change(meta);
  for (u64 node = 1; node <= 3; ++node) {
    cluster.master_faults(node).silent = true;
  }
  const Instant soon = cluster.reactor().now() + milliseconds(500);
  const auto lost = cluster.run(meta.change<pb::CreateFileReply>(
      change, {.group = place}, wire::Method::create_file, request, soon));
  EXPECT_EQ(lost.code(), Code::kUnknownOutcome);
  EXPECT_TRUE(change.unknown());
  for (u64 node = 1; node <= 3; ++node) {
    cluster.master_faults(node).silent = false;
  }
  const u64 calls = cluster.master().calls;
  const u64 other = place == 4096 ? 4097 : 4096;
  const auto refused = cluster.run(meta.change<pb::CreateFileReply>(
      change, {.group = other}, wire::Method::create_file, request,
      cluster.reactor().now() + seconds(1)));
  EXPECT_EQ(refused.code(), Code::kUnknownOutcome);
  EXPECT_EQ(cluster.master().calls, calls);
  // The same group may be asked again, under the same id: it answers what became of it.
  const auto answered = cluster.run(meta.change<pb::CreateFileReply>(
      change, {.group = place}, wire::Method::create_file, request,
      cluster.reactor().now() + seconds(1)));
  EXPECT_NE(answered.code(), Code::kUnknownOutcome);
  EXPECT_FALSE(change.unknown());
}

TEST_F(MetaClientTest, ARefusalThatDoesNotLastSaysNothingOfAnEarlierAttempt) {
  cluster.master().streams().no_placement = true;
  EXPECT_EQ(cluster.run(client->open_for_append("/d/f")).code(), Code::kNoPlacement);
  for (u64 node = 1; node <= 3; ++node) {
    cluster.master_faults(node).silent = true;
  }
  at(milliseconds(500), [&] {
    for (u64 node = 1; node <= 3; ++node) {
      cluster.master_faults(node).silent = false;
    }
  });
  // The lookup is repeated as well; what counts is an attempt to open without an answer.
  const u64 file = cluster.master().file_id("/d/f");
  pb::OpenForAppendRequest request;
  request.set_fresh_chunks(1);
  const auto opened = cluster.run(core_of(*client).change_stream<pb::OpenForAppendReply>(
      FileId{file}, wire::Method::open_for_append, request,
      cluster.reactor().now() + seconds(5)));
  EXPECT_EQ(opened.code(), Code::kUnknownOutcome);
}

TEST_F(MetaClientTest, EveryChangeHappensOnceHoweverOftenItIsSent) {
  cluster.network().loss = 0.3;
  u64 unknown = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string path = fmt::format("/d/once-{}", i);
    const auto made = cluster.run(client->create(path));
    unknown += made.code() == Code::kUnknownOutcome ? 1 : 0;
    if (made.code() != Code::kUnknownOutcome) {
      ASSERT_TRUE(made.ok()) << made.error().message();
    }
    if (i % 7 == 0) {
      cluster.master().elect(group(), 1 + cluster.prng().below(3));
      cluster.master().believe(group(), leader());
    }
    const auto moved = cluster.run(client->rename(path, path + "-moved"));
    if (made.ok() && moved.code() != Code::kUnknownOutcome) {
      ASSERT_TRUE(moved.ok()) << moved.error().message();
    }
  }
  EXPECT_LT(unknown, 5u);
  EXPECT_GT(counters().master_retries, 100u);
}

TEST_F(MetaClientTest, OneProcessIsAskedWhatItIsAskedFor) {
  ClientCore& core = core_of(*client);
  const auto to = *env::parse_address("127.0.0.1:7002");
  const Instant deadline = cluster.reactor().now() + seconds(1);
  const auto map = cluster.run(core.call_process<pb::GetPartitionMapReply>(
      to, wire::Method::get_partition_map, pb::GetPartitionMapRequest(), deadline));
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->map().masters_size(), 3);
  const auto status = cluster.run(core.ask_group<pb::ServerTableReply>(
      wire::kRootGroup, wire::Method::server_table, pb::ServerTableRequest(), deadline));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->servers_size(), 3);
}

TEST_F(MetaClientTest, TheClusterTellsOfItsGroups) {
  const auto info = cluster.run(client->cluster_info());
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->masters.size(), 3u);
  EXPECT_EQ(info->masters[1].address, "127.0.0.1:7002");
  ASSERT_EQ(info->groups.size(), 6u);
  EXPECT_EQ(info->groups[0].group, 1u);
  EXPECT_EQ(info->groups[1].nodes.size(), 3u);
  EXPECT_EQ(info->groups[1].leader, 2u);
  EXPECT_EQ(info->groups[1].term, 7u);
}

}  // namespace
}  // namespace pangu::client::testing
