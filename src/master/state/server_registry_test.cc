#include "master/state/server_registry.h"

#include <gtest/gtest.h>

#include "master/state/harness.h"

namespace pangu::master {
namespace {

using test::Harness;

pb::RegisterServerRequest server_request(u64 identity, std::vector<u64> devices) {
  pb::RegisterServerRequest request;
  wire::set(*request.mutable_identity(), Uuid{.high = 1, .low = identity});
  request.set_address("10.0.0.1:7200");
  request.set_rack("r1");
  for (const u64 device : devices) {
    wire::set(*request.add_devices()->mutable_device(), Uuid{.high = 2, .low = device});
  }
  return request;
}

Result<pb::RegisterServerReply> join(Harness& h, const pb::RegisterServerRequest& request) {
  return h.call<pb::RegisterServerReply>(wire::Method::register_server, request);
}

std::vector<record::Server> servers(Harness& h) {
  return h.query([](Txn& txn) { return Result<std::vector<record::Server>>(
                                    registered_servers(txn)); })
      .value();
}

TEST(ServerRegistry, TheSameIdentityIsTheSameServer) {
  Harness h(pb::GROUP_ROOT);
  const auto first = join(h, server_request(1, {1}));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->server(), 1u);
  EXPECT_EQ(wire::get(first->cluster()), (Uuid{.high = 0xc1, .low = 0xc2}));
  EXPECT_EQ(join(h, server_request(2, {2}))->server(), 2u);
  pb::RegisterServerRequest again = server_request(1, {1, 3});
  again.set_address("10.0.0.9:7200");
  again.set_server(1);
  EXPECT_EQ(join(h, again)->server(), 1u);
  const auto all = servers(h);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].address(), "10.0.0.9:7200");
  EXPECT_EQ(all[0].devices_size(), 2);
}

TEST(ServerRegistry, WrongClaimsAreRefused) {
  Harness h(pb::GROUP_ROOT);
  ASSERT_TRUE(join(h, server_request(1, {1})).ok());
  pb::RegisterServerRequest wrong = server_request(1, {1});
  wrong.set_server(5);
  EXPECT_EQ(join(h, wrong).code(), Code::kInvalidArgument);
  pb::RegisterServerRequest stranger = server_request(9, {9});
  stranger.set_server(1);
  EXPECT_EQ(join(h, stranger).code(), Code::kNotFound);
  EXPECT_EQ(join(h, server_request(0, {})).code(), Code::kOk);  // high part is set
  pb::RegisterServerRequest nobody = server_request(1, {});
  nobody.clear_identity();
  EXPECT_EQ(join(h, nobody).code(), Code::kInvalidArgument);
  EXPECT_EQ(join(h, server_request(3, {1})).code(), Code::kInvalidArgument);  // another's disk
  pb::RegisterServerRequest endless = server_request(4, {4});
  endless.set_address(std::string(1000, 'x'));
  EXPECT_EQ(join(h, endless).code(), Code::kInvalidArgument);
  EXPECT_EQ(servers(h).size(), 2u);
}

TEST(ServerRegistry, JoiningForAnIdAloneKeepsTheAddress) {
  Harness h(pb::GROUP_ROOT);
  pb::RegisterServerRequest bare = server_request(1, {});
  bare.clear_address();
  EXPECT_EQ(join(h, bare)->server(), 1u);
  EXPECT_EQ(servers(h)[0].address(), "");
  EXPECT_TRUE(join(h, server_request(1, {1})).ok());
  EXPECT_EQ(join(h, bare)->server(), 1u);
  EXPECT_EQ(servers(h)[0].address(), "10.0.0.1:7200");
  EXPECT_EQ(servers(h)[0].devices_size(), 1);
}

TEST(ServerRegistry, NoRequestIdIsNeeded) {
  Harness h(pb::GROUP_ROOT);
  const pb::RegisterServerRequest request = server_request(1, {1});
  for (int i = 0; i < 2; ++i) {
    const record::Outcome outcome =
        h.apply(static_cast<u32>(wire::Method::register_server), request);
    EXPECT_EQ(outcome.code(), 0u);
    EXPECT_EQ(h.last().changed_server->server(), 1u);
  }
  EXPECT_EQ(servers(h).size(), 1u);
}

TEST(ServerRegistry, ARemovedServerStaysRemoved) {
  Harness h(pb::GROUP_ROOT);
  ASSERT_TRUE(join(h, server_request(1, {1})).ok());
  const auto set = [&](u32 server, pb::AdminState state) {
    pb::SetServerStateRequest request;
    request.set_server(server);
    request.set_state(state);
    return h.call<pb::SetServerStateReply>(wire::Method::set_server_state, request).code();
  };
  EXPECT_EQ(set(1, pb::SERVER_DRAINING), Code::kOk);
  EXPECT_EQ(h.last().changed_server->admin(), static_cast<u32>(pb::SERVER_DRAINING));
  EXPECT_TRUE(join(h, server_request(1, {1})).ok());
  EXPECT_EQ(servers(h)[0].admin(), static_cast<u32>(pb::SERVER_DRAINING));
  EXPECT_EQ(set(1, pb::SERVER_IN_SERVICE), Code::kOk);
  EXPECT_EQ(set(2, pb::SERVER_REMOVED), Code::kNotFound);
  EXPECT_EQ(set(1, static_cast<pb::AdminState>(9)), Code::kInvalidArgument);
  EXPECT_EQ(set(1, pb::SERVER_REMOVED), Code::kOk);
  EXPECT_EQ(set(1, pb::SERVER_REMOVED), Code::kOk);
  EXPECT_EQ(set(1, pb::SERVER_IN_SERVICE), Code::kPermission);
  EXPECT_EQ(join(h, server_request(1, {1})).code(), Code::kPermission);
  record::UpdateServer update;
  update.mutable_server()->set_server(1);
  EXPECT_EQ(h.internal(InternalMethod::update_server, update).code(),
            static_cast<u32>(Code::kPermission));
}

TEST(ServerRegistry, UpdateAddsDevicesAndMovesTheAddress) {
  Harness h(pb::GROUP_ROOT);
  ASSERT_TRUE(join(h, server_request(1, {1})).ok());
  record::UpdateServer update;
  update.mutable_server()->set_server(1);
  update.mutable_server()->set_address("[::1]:7201");
  update.mutable_server()->add_devices()->set_low(77);
  EXPECT_EQ(h.internal(InternalMethod::update_server, update).code(), 0u);
  EXPECT_EQ(servers(h)[0].address(), "[::1]:7201");
  EXPECT_EQ(servers(h)[0].devices_size(), 2);
  update.mutable_server()->set_server(8);
  EXPECT_EQ(h.internal(InternalMethod::update_server, update).code(),
            static_cast<u32>(Code::kNotFound));
  EXPECT_FALSE(h.last().changed_server.has_value());
}

}  // namespace
}  // namespace pangu::master
