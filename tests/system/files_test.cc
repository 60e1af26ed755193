#include "test_cluster.h"

// What people do with files, through the real binary and real processes.
namespace pangu::system_test {
namespace {

class Files : public testing::Test {
 protected:
  static void SetUpTestSuite() { cluster_ = new TestCluster(); }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }
  static TestCluster& cluster() { return *cluster_; }

 private:
  static TestCluster* cluster_;
};
TestCluster* Files::cluster_ = nullptr;

TEST_F(Files, WhatIsPutComesBack) {
  const std::string bytes = noise(1, 5'000'001);
  const std::string local = cluster().place().file("local");
  write_file(local, bytes);
  expect_ok(cluster().pangu({"put", local, "/file"}));
  EXPECT_TRUE(same(cluster().pangu({"cat", "/file"}).out, bytes));
  const std::string copy = cluster().place().file("copy");
  expect_ok(cluster().pangu({"get", "/file", copy}));
  EXPECT_TRUE(same(read_file(copy), bytes));
  EXPECT_TRUE(same(cluster().pangu({"cat", "/file", "--offset", "4000", "--length", "5000"}).out,
                   bytes.substr(4000, 5000)));
  const Finished again = cluster().pangu({"put", local, "/file"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_NE(again.err.find("error[ALREADY_EXISTS]"), std::string::npos) << again.err;
  EXPECT_NE(again.err.find("--force replaces it"), std::string::npos) << again.err;
  expect_ok(cluster().pangu({"put", "--force", "-", "/file"}, "new"));
  EXPECT_EQ(cluster().pangu({"cat", "/file"}).out, "new");
}

TEST_F(Files, EmptyFilesAndStandardInput) {
  expect_ok(cluster().pangu({"put", "-", "/empty"}));
  const Finished read = cluster().pangu({"cat", "/empty"});
  expect_ok(read);
  EXPECT_EQ(read.out, "");
  expect_ok(cluster().pangu({"put", "-", "/piped"}, "from a pipe"));
  EXPECT_EQ(cluster().pangu({"get", "/piped", "-"}).out, "from a pipe");
}

TEST_F(Files, AppendsAddUpAndAcksSayWhere) {
  EXPECT_EQ(cluster().pangu({"append", "/log"}, "x").exit_code, 1);
  expect_ok(cluster().pangu({"append", "/log", "--create"}, "one "));
  const Finished acked = cluster().pangu({"append", "/log", "--acks"}, "two");
  expect_ok(acked);
  EXPECT_EQ(acked.out, "4 3\n");
  EXPECT_EQ(cluster().pangu({"cat", "/log"}).out, "one two");
}

TEST_F(Files, DirectoriesAreListedMovedAndRemoved) {
  expect_ok(cluster().pangu({"mkdir", "-p", "/tree/a/b"}));
  expect_ok(cluster().pangu({"put", "-", "/tree/a/f"}, "12345"));
  EXPECT_EQ(cluster().pangu({"ls", "/tree/a"}).out, "b/\nf\n");
  const Finished details = cluster().pangu({"ls", "-l", "/tree/a"});
  EXPECT_NE(details.out.find("5 B"), std::string::npos) << details.out;
  const Finished json = cluster().pangu({"ls", "/tree/a", "--json"});
  EXPECT_NE(json.out.find(R"("name":"f","type":"file")"), std::string::npos) << json.out;
  EXPECT_NE(json.out.find(R"("length":5)"), std::string::npos) << json.out;
  expect_ok(cluster().pangu({"mv", "/tree/a/f", "/tree/g"}));
  EXPECT_EQ(cluster().pangu({"cat", "/tree/g"}).out, "12345");
  EXPECT_EQ(cluster().pangu({"cat", "/tree/a/f"}).exit_code, 1);
  EXPECT_EQ(cluster().pangu({"rm", "/tree"}).exit_code, 1);
  expect_ok(cluster().pangu({"rm", "-r", "/tree"}));
  EXPECT_EQ(cluster().pangu({"ls", "/tree"}).exit_code, 1);
  expect_ok(cluster().pangu({"rm", "-f", "/tree"}));
}

TEST_F(Files, TreesGoInAndComeOut) {
  const std::string root = cluster().place().file("tree");
  expect_ok(run({.words = {"-p", root + "/sub"}, .program = "/bin/mkdir"}));
  for (u64 i = 0; i < 20; ++i) {
    write_file(root + (i % 2 == 0 ? "/f" : "/sub/f") + std::to_string(i), noise(i, 1000 * i));
  }
  expect_ok(cluster().pangu({"put", "-r", root, "/copied"}));
  const std::string out = cluster().place().file("out");
  expect_ok(cluster().pangu({"get", "-r", "/copied", out}));
  for (u64 i = 0; i < 20; ++i) {
    const std::string name = (i % 2 == 0 ? "/f" : "/sub/f") + std::to_string(i);
    EXPECT_TRUE(same(read_file(out + name), noise(i, 1000 * i))) << name;
  }
  EXPECT_EQ(cluster().pangu({"put", root, "/elsewhere"}).exit_code, 1);
}

TEST_F(Files, StatNamesChunksAndReplicas) {
  expect_ok(cluster().pangu({"put", "-", "/stat"}, noise(3, 100'000)));
  const Finished text = cluster().pangu({"stat", "/stat"});
  expect_ok(text);
  EXPECT_NE(text.out.find("100000 bytes"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("REPLICAS"), std::string::npos) << text.out;
  const Finished json = cluster().pangu({"stat", "/stat", "--json"});
  EXPECT_NE(json.out.find(R"("length":100000)"), std::string::npos) << json.out;
  EXPECT_NE(json.out.find(R"("replicas":[{)"), std::string::npos) << json.out;
}

TEST_F(Files, SealedFilesTakeNoMore) {
  expect_ok(cluster().pangu({"put", "-", "/sealed"}, "for ever"));
  const Finished sealed = cluster().pangu({"seal", "/sealed"});
  expect_ok(sealed);
  EXPECT_EQ(sealed.out, "/sealed 8\n");
  const Finished refused = cluster().pangu({"append", "/sealed"}, "more");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("error[READ_ONLY]"), std::string::npos) << refused.err;
  EXPECT_EQ(cluster().pangu({"cat", "/sealed"}).out, "for ever");
}

TEST_F(Files, StatusOfAWholeClusterIsOk) {
  const Finished status = cluster().pangu({"status", "--check"});
  expect_ok(status);
  EXPECT_TRUE(status.out.starts_with("OK\n")) << status.out;
  const Finished json = cluster().pangu({"status", "--json"});
  EXPECT_NE(json.out.find(R"("health":"OK")"), std::string::npos) << json.out;
}

TEST_F(Files, BenchmarksReportAndTidyUp) {
  const Finished append =
      cluster().pangu({"bench", "append", "--seconds", "1", "--streams", "2", "--json"});
  expect_ok(append);
  EXPECT_NE(append.out.find(R"("errors":0)"), std::string::npos) << append.out;
  EXPECT_EQ(append.out.find(R"("ops":0,)"), std::string::npos) << append.out;
  const Finished read = cluster().pangu(
      {"bench", "read", "--seconds", "1", "--depth", "4", "--total", "1M", "--json"});
  expect_ok(read);
  EXPECT_EQ(read.out.find(R"("ops":0,)"), std::string::npos) << read.out;
  for (const char* operation : {"create", "mkdir", "stat", "list", "remove"}) {
    const Finished meta =
        cluster().pangu({"bench", "meta", "--op", operation, "--clients", "8", "--files", "500",
                         "--seconds", "1", "--warm-up", "100ms", "--json"});
    expect_ok(meta);
    EXPECT_NE(meta.out.find(R"("errors":0,)"), std::string::npos) << meta.out;
    EXPECT_EQ(meta.out.find(R"("ops":0,)"), std::string::npos) << meta.out;
  }
  EXPECT_EQ(cluster().pangu({"ls", "/"}).out.find("bench-"), std::string::npos);
}

}  // namespace
}  // namespace pangu::system_test
