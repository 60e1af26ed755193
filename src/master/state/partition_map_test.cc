#include "master/state/partition_map.h"

#include <gtest/gtest.h>

#include "master/state/tree_rig.h"

namespace pangu::master {
namespace {

using test::TreeRig;

Result<pb::ChangeMapReply> change(TreeRig& rig, pb::ChangeMapRequest request) {
  return rig.group(wire::kRootGroup)
      .call<pb::ChangeMapReply>(wire::Method::change_map, std::move(request));
}

pb::ChangeMapRequest master(u64 node) {
  pb::ChangeMapRequest request;
  request.mutable_add_master()->set_node(node);
  request.mutable_add_master()->set_address(fmt::format("host{}:7100", node));
  return request;
}

pb::ChangeMapRequest members(u64 group, std::vector<u64> nodes) {
  pb::ChangeMapRequest request;
  request.mutable_set_members()->set_group(group);
  request.mutable_set_members()->mutable_nodes()->Assign(nodes.begin(), nodes.end());
  return request;
}

TEST(PartitionMap, MastersAndMembersChange) {
  TreeRig rig;
  EXPECT_EQ(change(rig, members(4096, {1})).code(), Code::kNotFound);
  ASSERT_TRUE(change(rig, master(2)).ok());
  const auto reply = change(rig, master(1));
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->map().version(), 3u);
  ASSERT_EQ(reply->map().masters_size(), 2);
  EXPECT_EQ(reply->map().masters(0).node(), 1u);
  ASSERT_TRUE(change(rig, members(4096, {2, 1, 2})).ok());
  EXPECT_EQ(change(rig, members(4096, {})).code(), Code::kInvalidArgument);
  EXPECT_EQ(change(rig, members(4000, {1})).code(), Code::kNotFound);
  EXPECT_EQ(change(rig, master(0)).code(), Code::kInvalidArgument);
  pb::ChangeMapRequest removal;
  removal.set_remove_master(2);
  EXPECT_EQ(change(rig, removal).code(), Code::kConflict);
  ASSERT_TRUE(change(rig, members(4096, {1})).ok());
  EXPECT_TRUE(change(rig, removal).ok());
  EXPECT_EQ(change(rig, removal).code(), Code::kNotFound);
  const auto map = rig.query(wire::kRootGroup, [](Txn& txn) { return partition_map(txn); });
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->version(), 6u);
  EXPECT_EQ(map->version(), rig.group(wire::kRootGroup).meta().map_version());
  EXPECT_EQ(map->groups(1).nodes_size(), 1);
}

TEST(PartitionMap, FoundersAreWrittenOnce) {
  TreeRig rig;
  pb::ChangeMapRequest request;
  *request.mutable_found()->add_masters() = master(1).add_master();
  *request.mutable_found()->add_masters() = master(2).add_master();
  *request.mutable_found()->add_groups() = members(4096, {1, 2}).set_members();
  const auto reply = change(rig, request);
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  EXPECT_EQ(reply->map().masters_size(), 2);
  EXPECT_EQ(reply->map().groups(1).nodes_size(), 2);
  EXPECT_EQ(change(rig, request).code(), Code::kConflict);
}

TEST(PartitionMap, SubtreesGetAnIdOfTheirOwn) {
  TreeRig rig;
  pb::ChangeMapRequest request;
  pb::Subtree& subtree = *request.mutable_add_subtree();
  subtree.set_number(7);
  subtree.add_partitions(1);
  subtree.set_parent(1);
  subtree.set_name("fast");
  const auto reply = change(rig, request);
  ASSERT_TRUE(reply.ok()) << reply.error().message();
  const u64 id = reply->map().subtrees(2).directory();
  EXPECT_EQ(id, wire::directory_id(7, 1, "fast", 0));
  EXPECT_EQ(rig.query(wire::kRootGroup, [&](Txn& txn) { return group_of_directory(txn, id); }),
            std::optional<u64>(4097));
  EXPECT_EQ(change(rig, request).code(), Code::kAlreadyExists);
  const auto refused = [&](auto wrong) {
    pb::ChangeMapRequest other = request;
    other.mutable_add_subtree()->set_number(8);
    wrong(*other.mutable_add_subtree());
    return change(rig, other).code();
  };
  EXPECT_EQ(refused([](pb::Subtree& s) { s.set_number(0); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([](pb::Subtree& s) { s.set_number(4096); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([](pb::Subtree& s) { s.set_name("a/b"); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([](pb::Subtree& s) { s.clear_partitions(); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([](pb::Subtree& s) { s.add_partitions(9); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([](pb::Subtree& s) { s.add_partitions(1); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([](pb::Subtree& s) { s.clear_parent(); }), Code::kInvalidArgument);
}

TEST(PartitionMap, CopiesTakeOverOnlyNewerOnes) {
  TreeRig rig;
  const u64 group = rig.namespaces().front();
  const auto version = [&] {
    return rig.query(group, [](Txn& txn) { return partition_map(txn); })->version();
  };
  pb::PartitionMap map = rig.map();
  map.set_version(9);
  pb::Subtree& added = *map.add_subtrees();
  added.set_number(9);
  added.add_partitions(2);
  EXPECT_EQ(rig.apply(group, InternalMethod::update_map, map).code(), 0u);
  EXPECT_EQ(version(), 9u);
  EXPECT_EQ(rig.group(group).meta().map_version(), 9u);
  map.set_version(8);
  EXPECT_EQ(rig.apply(group, InternalMethod::update_map, map).code(), 0u);
  EXPECT_EQ(version(), 9u);
  const u64 directory = u64{9} << wire::kHashBits | 12345;
  EXPECT_EQ(rig.query(group, [&](Txn& txn) { return group_of_directory(txn, directory); }),
            std::optional<u64>(4098));
}

}  // namespace
}  // namespace pangu::master
