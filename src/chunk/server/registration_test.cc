#include <gtest/gtest.h>

#include "chunk/server/server_rig.h"

// The line to the root group, on simulated hosts: whoever leads it hears of every server soon.
namespace pangu::chunk::test {
namespace {

TEST(Registration, GoesToTheLeaderAlsoWhereItIsNotConfigured) {
  Rig rig(11, 0, 3);
  rig.lead(2);
  const Instant start = rig.world.now();
  rig.add_server({rig.masters[0]->address()});
  EXPECT_LT((rig.world.now() - start).ms(), 200);
  EXPECT_TRUE(rig.world.run_until([&] { return rig.root.heartbeats > 0; },
                                  start + milliseconds(300)));
  EXPECT_EQ(rig.root.addresses[1], env::to_string(rig.servers[0]->node.address(7200)));
  const u64 asked = rig.masters[0]->calls;
  rig.world.run_for(seconds(10));
  EXPECT_EQ(rig.masters[0]->calls, asked) << "it stays with the leader";
  EXPECT_EQ(rig.masters[1]->calls, 0u);
  EXPECT_NEAR(static_cast<double>(rig.root.heartbeats), 11, 1.1);
  const pb::HeartbeatRequest& heard = rig.root.heard[1];
  ASSERT_EQ(heard.devices_size(), 1);
  EXPECT_EQ(wire::get(heard.devices(0).device()), rig.servers[0]->device());
}

TEST(Registration, AFrozenLeaderIsLeftSoon) {
  Rig rig(12, 0, 3);
  rig.add_server({rig.masters[0]->address(), rig.masters[1]->address()});
  rig.world.run_for(seconds(3));
  for (size_t leader = 1; leader < 6; ++leader) {
    // The others notice a second later.
    rig.masters[(leader - 1) % 3]->node.pause();
    rig.world.run_for(seconds(1));
    const u64 before = rig.root.heartbeats;
    rig.lead(leader % 3);
    const Instant elected = rig.world.now();
    EXPECT_TRUE(rig.world.run_until([&] { return rig.root.heartbeats > before; },
                                    elected + seconds(5)));
    EXPECT_LT((rig.world.now() - elected).ms(), 1200) << leader;
    rig.masters[(leader - 1) % 3]->node.resume();
    rig.world.run_for(seconds(2));
  }
}

// Every answer takes longer than the first attempts wait.
TEST(Registration, SlowMastersAreWaitedFor) {
  Rig rig(17, 0, 3);
  for (auto& master : rig.masters) {
    master->delay = milliseconds(1500);
  }
  rig.add_server({rig.masters[0]->address(), rig.masters[1]->address()});
  rig.world.run_for(seconds(30));
  EXPECT_GT(rig.root.heartbeats, 3u);
}

// No master is the leader for a while: the server asks, but not all the time.
TEST(Registration, NobodyLeads) {
  Rig rig(13, 0, 3);
  rig.add_server({rig.masters[0]->address(), rig.masters[1]->address(), rig.masters[2]->address()});
  rig.world.run_for(seconds(2));
  u64 before = 0;
  for (auto& master : rig.masters) {
    master->leads = false;
    master->leader = env::to_string(rig.masters[0]->address());  // so they believe
    before += master->calls;
  }
  rig.world.run_for(seconds(10));
  u64 calls = 0;
  for (auto& master : rig.masters) {
    calls += master->calls;
  }
  EXPECT_LT(calls - before, 120u);
  const u64 heartbeats = rig.root.heartbeats;
  rig.lead(1);
  rig.world.run_for(seconds(1));
  EXPECT_GT(rig.root.heartbeats, heartbeats);
}

// Every member of the root group is on another process now.
TEST(Registration, TheRootGroupHasMoved) {
  Rig rig(14, 0, 4);
  rig.add_server({rig.masters[0]->address(), rig.masters[1]->address()});
  rig.world.run_for(seconds(2));
  pb::PartitionMap map;
  for (size_t i = 0; i < 4; ++i) {
    pb::MasterNode& node = *map.add_masters();
    node.set_node(i + 1);
    node.set_address(env::to_string(rig.masters[i]->address()));
  }
  pb::GroupInfo& root = *map.add_groups();
  root.set_group(wire::kRootGroup);
  root.add_nodes(3);
  root.add_nodes(4);
  rig.lead(3);
  for (size_t i = 0; i < 2; ++i) {
    rig.masters[i]->is_member = false;
    rig.masters[i]->map = map;
  }
  const u64 before = rig.root.heartbeats;
  const Instant moved = rig.world.now();
  EXPECT_TRUE(rig.world.run_until([&] { return rig.root.heartbeats > before; },
                                  moved + seconds(5)));
  EXPECT_LT((rig.world.now() - moved).ms(), 2500);
  EXPECT_EQ(rig.root.registrations, 2u) << "joining and registering, but not again";
}

TEST(Registration, AForgetfulRootIsToldAgain) {
  Rig rig(15);
  rig.world.run_for(seconds(2));
  rig.root.addresses.clear();
  rig.world.run_for(seconds(2));
  EXPECT_EQ(rig.root.addresses.size(), 1u);
}

// A disk was replaced by a blank one: the same server, with another device.
TEST(Registration, AReplacedDeviceIsAnotherOne) {
  Rig rig(16, 2);
  const ChunkId id = in_group(5);
  rig.make(0, id, 100'000);
  ChunkHost& host = *rig.servers[0];
  const Uuid old_device = host.device();
  const std::string identity = *host.node.env().files().read_file("/data/identity.toml");
  host.crash(Crash::power);
  host.node.disk().replace();
  host.node.restart();
  ASSERT_TRUE(host.node.env().files().make_directories("/data").ok());
  ASSERT_TRUE(host.node.env().files().replace_file("/data/identity.toml", identity).ok());
  host.start();
  rig.wait_serving(0);
  rig.world.run_for(seconds(2));
  EXPECT_EQ(host.server->server(), ServerId{1});
  EXPECT_NE(host.device(), old_device);
  ASSERT_EQ(rig.root.heard[1].devices_size(), 1);
  EXPECT_EQ(wire::get(rig.root.heard[1].devices(0).device()), host.device());
  // What leaders ask about the old place: it is gone, and orders for it are done.
  pb::ListChunksRequest listing;
  listing.set_group(kGroup);
  listing.set_term(1);
  wire::set(*listing.mutable_device(), old_device);
  EXPECT_EQ(rig.list(0, listing).code(), Code::kNotHere);
  pb::ChunkOrdersRequest orders;
  orders.set_group(kGroup);
  orders.set_term(1);
  pb::ChunkOnDevice& erase = *orders.add_delete_chunks();
  wire::set(*erase.mutable_chunk(), id);
  wire::set(*erase.mutable_device(), old_device);
  pb::FinalizeOrder& finalize = *orders.add_finalize_chunks();
  wire::set(*finalize.mutable_chunk(), id);
  wire::set(*finalize.mutable_device(), old_device);
  const auto done = rig.order(0, orders);
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->deleted_size(), 1);
  EXPECT_EQ(done->finalized_size(), 1);
  // It is neither source nor target any more.
  rig.make(1, in_group(6), 100'000);
  pb::CopyChunkRequest to_old = rig.copy_request(1, 0, in_group(6), 100'000);
  wire::set(*to_old.mutable_device(), old_device);
  EXPECT_EQ(rig.copy(0, to_old).code(), Code::kDeviceFailed);
  pb::CopyChunkRequest from_old = rig.copy_request(0, 1, id, 100'000);
  wire::set(*from_old.mutable_source_device(), old_device);
  EXPECT_EQ(rig.copy(1, from_old).code(), Code::kNotHere);
  EXPECT_TRUE(rig.copy(0, rig.copy_request(1, 0, in_group(6), 100'000)).ok());
  rig.expect_replica(0, in_group(6), 100'000);
}

}  // namespace
}  // namespace pangu::chunk::test
