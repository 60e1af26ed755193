#include "app/settings.h"

#include "app/health.h"
#include "wire/proto.h"

namespace pangu::app {
namespace {

TEST(Settings, ClusterKey) {
  const std::string digits = "000102030405060708090a0B0C0D0E0F101112131415161718191a1b1c1d1e1f";
  const auto key = parse_cluster_key(digits + "\n");
  ASSERT_TRUE(key.ok());
  EXPECT_EQ((*key)[0], std::byte{0});
  EXPECT_EQ((*key)[31], std::byte{31});
  EXPECT_FALSE(parse_cluster_key(digits.substr(1)).ok());
  EXPECT_FALSE(parse_cluster_key("x" + digits.substr(1)).ok());
  EXPECT_FALSE(parse_cluster_key("").ok());
}

TEST(Settings, Addresses) {
  const auto two = addresses("127.0.0.1:7100,127.0.0.1:7101");
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(two->size(), 2u);
  EXPECT_EQ((*two)[1].port, 7101);
  EXPECT_FALSE(addresses("").ok());
  EXPECT_FALSE(addresses("127.0.0.1:99999").ok());
}

TEST(Settings, Device) {
  const auto spec = parse_device("/var/lib/disk.img,size=64G");
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->path, "/var/lib/disk.img");
  EXPECT_EQ(spec->size, 64 * kGiB);
  EXPECT_EQ(parse_device("/dev/sdb")->size, 0u);
  EXPECT_FALSE(parse_device("").ok());
  EXPECT_FALSE(parse_device(",size=1G").ok());
  EXPECT_FALSE(parse_device("/d,size=big").ok());
  const auto wrong = parse_device("/d,siez=1G");
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message().find("did you mean size?"), std::string::npos);
}

pb::ClusterInfoReply cluster(int servers) {
  pb::ClusterInfoReply info;
  for (int i = 0; i < servers; ++i) {
    pb::ServerInfo& server = *info.add_servers();
    server.set_server(static_cast<u32>(i + 1));
    server.set_address("127.0.0.1:720" + std::to_string(i));
    server.set_rack("rack-" + std::to_string(i + 1));
    server.set_state(pb::SERVER_ALIVE);
    server.add_devices()->set_capacity_bytes(kGiB);
  }
  return info;
}

TEST(Health, AWholeClusterIsOk) {
  const HealthReport report = judge(cluster(3), 3, 2);
  EXPECT_EQ(report.health, Health::ok);
  EXPECT_TRUE(report.reasons.empty());
}

TEST(Health, EachTroubleIsNamedWithItsRemedy) {
  pb::ClusterInfoReply info = cluster(4);
  info.mutable_servers(0)->set_state(pb::SERVER_DEAD);
  info.mutable_servers(0)->set_heartbeat_age_ms(42'000);
  HealthReport report = judge(info, 3, 2);
  EXPECT_EQ(report.health, Health::degraded);
  ASSERT_EQ(report.reasons.size(), 1u);
  EXPECT_NE(report.reasons[0].find("server 1 (127.0.0.1:7200, rack-1) is dead"),
            std::string::npos);
  EXPECT_NE(report.reasons[0].find("start it again"), std::string::npos);

  info.mutable_servers(1)->mutable_devices(0)->set_full(true);
  info.mutable_servers(2)->mutable_devices(0)->set_failed(true);
  info.mutable_servers(2)->mutable_devices(0)->set_failure("input/output error");
  report = judge(info, 3, 2);
  EXPECT_EQ(report.health, Health::failed);
  ASSERT_EQ(report.reasons.size(), 4u);
  EXPECT_NE(report.reasons[1].find("is full"), std::string::npos);
  EXPECT_NE(report.reasons[2].find("failed: input/output error; replace it"), std::string::npos);
  EXPECT_NE(report.reasons[3].find("1 chunkservers can take new chunks"), std::string::npos);
}

TEST(Health, TooFewServersForTheCopiesIsDegradedAndBelowTheMinimumFailed) {
  EXPECT_EQ(judge(cluster(2), 3, 2).health, Health::degraded);
  EXPECT_EQ(judge(cluster(1), 3, 2).health, Health::failed);
}

}  // namespace
}  // namespace pangu::app
