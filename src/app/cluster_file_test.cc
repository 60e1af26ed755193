#include "app/cluster_file.h"

#include "app/local_cluster.h"

namespace pangu::app {
namespace {

ClusterFile example() {
  ClusterFile file;
  file.directory = "/d";
  file.roles.push_back({"master-1", {"master", "--data", "/d/master-1"}, "/d/master-1.log",
                        "127.0.0.1:7100", {41, 77}, 5});
  file.roles.push_back({"chunkserver-1", {"chunkserver"}, "/d/chunkserver-1.log",
                        "127.0.0.1:7200", {42, 78}, 6});
  return file;
}

TEST(ClusterFile, ReadsWhatItWrites) {
  const std::string text = format_cluster_file(example());
  const auto read = parse_cluster_file("cluster.json", text);
  ASSERT_TRUE(read.ok()) << read.error().message();
  ASSERT_EQ(read->roles.size(), 2u);
  EXPECT_EQ(read->roles[0].words, example().roles[0].words);
  EXPECT_EQ(read->roles[1].process.pid, 42);
  EXPECT_EQ(read->roles[1].process.start_ticks, 78u);
  EXPECT_EQ(read->masters(), "127.0.0.1:7100");
}

TEST(ClusterFile, DamageIsAnErrorAndNoCrash) {
  const std::string text = format_cluster_file(example());
  for (size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(parse_cluster_file("cluster.json", text.substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(parse_cluster_file("f", "{\"format\":2,\"processes\":[]}").ok());
  EXPECT_FALSE(parse_cluster_file("f", "{\"format\":1,\"processes\":[7]}").ok());
  EXPECT_FALSE(parse_cluster_file("f", "{\"format\":1,\"processes\":[{\"name\":3}]}").ok());
}

TEST(ClusterFile, AnUnknownNameSuggestsTheNearest) {
  ClusterFile file = example();
  EXPECT_TRUE(file.find("master-1").ok());
  const auto found = file.find("chunkserver1");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.error().message().find("did you mean chunkserver-1?"), std::string::npos);
}

TEST(LocalCluster, RackNames) {
  EXPECT_EQ(rack_name(4, 0), "rack-5");
  EXPECT_EQ(rack_name(4, 3), "rack-2");
}

}  // namespace
}  // namespace pangu::app
