#include <signal.h>

#include "test_cluster.h"

// Processes that die, freeze and come back while others work.
namespace pangu::system_test {
namespace {

// Appends numbered lines one by one and reads the acknowledgements.
class Writer {
 public:
  explicit Writer(const TestCluster& cluster, const std::string& path)
      : process_(cluster.launch({"append", path, "--create", "--acks"})) {}
  // Writes a line and waits until it is acknowledged.
  bool append(const std::string& line) {
    const std::string ack = std::to_string(bytes_) + " " + std::to_string(line.size()) + "\n";
    bytes_ += line.size();
    text_ += line;
    return process_.write(line) && process_.wait_for_output(ack);
  }
  Process& process() { return process_; }
  // Everything that was acknowledged.
  const std::string& text() const { return text_; }

 private:
  Process process_;
  u64 bytes_ = 0;
  std::string text_;
};

std::string line(int number) { return "line " + std::to_string(number) + "\n"; }

TEST(Faults, AKilledChunkserverIsNotFelt) {
  TestCluster cluster({"--chunkservers", "4"});
  const std::string bytes = noise(7, 3'000'000);
  expect_ok(cluster.pangu({"put", "-", "/before"}, bytes));
  Writer writer(cluster, "/log");
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  expect_ok(cluster.manage("kill", "chunkserver-1"));
  for (int i = 50; i < 100; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  EXPECT_TRUE(same(cluster.pangu({"cat", "/before"}).out, bytes));
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
  const Finished done = writer.process().finish();
  EXPECT_EQ(done.exit_code, 0) << done.err;
  expect_ok(cluster.manage("restart", "chunkserver-1"));
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
}

TEST(Faults, ThreeChunkserversGoOnWithTwo) {
  TestCluster cluster;
  Writer writer(cluster, "/log");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  expect_ok(cluster.manage("kill", "chunkserver-3"));
  for (int i = 20; i < 40; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  const Finished done = writer.process().finish();
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
  expect_ok(cluster.pangu({"put", "-", "/new"}, "with two servers"));
  EXPECT_EQ(cluster.pangu({"cat", "/new"}).out, "with two servers");
}

TEST(Faults, AFrozenChunkserverIsNotWaitedFor) {
  TestCluster cluster({"--chunkservers", "4"});
  Writer writer(cluster, "/log");
  ASSERT_TRUE(writer.append(line(0)));
  expect_ok(cluster.manage("pause", "chunkserver-2"));
  for (int i = 1; i < 20; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
  expect_ok(cluster.manage("resume", "chunkserver-2"));
  ASSERT_TRUE(writer.append(line(20)));
  EXPECT_EQ(writer.process().finish().exit_code, 0);
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
}

TEST(Faults, WhatAKilledWriterHadAcknowledgedStays) {
  TestCluster cluster;
  Writer writer(cluster, "/log");
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  // One more in flight when it dies: it may be there or not.
  writer.process().write(line(30));
  writer.process().kill(SIGKILL);
  EXPECT_EQ(writer.process().finish().exit_code, 128 + SIGKILL);
  const Finished next = cluster.pangu({"append", "/log", "--acks"}, "after\n");
  expect_ok(next);
  const std::string all = cluster.pangu({"cat", "/log"}).out;
  EXPECT_TRUE(all == writer.text() + "after\n" || all == writer.text() + line(30) + "after\n")
      << all;
}

TEST(Faults, TheSecondWriterTakesOverAndTheFirstIsToldSo) {
  TestCluster cluster;
  Writer first(cluster, "/log");
  ASSERT_TRUE(first.append("first\n"));
  expect_ok(cluster.pangu({"append", "/log"}, "second\n"));
  first.process().write("late\n");
  const Finished ended = first.process().finish();
  EXPECT_EQ(ended.exit_code, 1) << ended.err;
  EXPECT_NE(ended.err.find("error["), std::string::npos);
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, "first\nsecond\n");
}

std::string master(int number) { return "master-" + std::to_string(number); }

TEST(Faults, NoKilledMasterIsFelt) {
  TestCluster cluster;
  Writer writer(cluster, "/log");
  ASSERT_TRUE(writer.append(line(0)));
  for (int i = 1; i <= 3; ++i) {
    const std::string name = std::to_string(i);
    expect_ok(cluster.manage("kill", master(i)));
    expect_ok(cluster.pangu({"mkdir", "/d" + name}));
    expect_ok(cluster.pangu({"put", "-", "/d" + name + "/f"}, name));
    EXPECT_EQ(cluster.pangu({"cat", "/d" + name + "/f"}).out, name);
    ASSERT_TRUE(writer.append(line(i)));
    expect_ok(cluster.manage("restart", master(i)));
  }
  EXPECT_EQ(cluster.pangu({"ls", "/"}).out, "d1/\nd2/\nd3/\nlog\n");
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
  EXPECT_EQ(writer.process().finish().exit_code, 0);
}

TEST(Faults, NoFrozenMasterIsWaitedFor) {
  TestCluster cluster;
  for (int i = 1; i <= 3; ++i) {
    const std::string path = "/d" + std::to_string(i);
    expect_ok(cluster.manage("pause", master(i)));
    expect_ok(cluster.pangu({"mkdir", path}));
    EXPECT_NE(cluster.pangu({"ls", "/"}).out.find(path.substr(1)), std::string::npos);
    expect_ok(cluster.manage("resume", master(i)));
  }
  EXPECT_EQ(cluster.pangu({"ls", "/"}).out, "d1/\nd2/\nd3/\n");
}

TEST(Faults, WithoutAMajorityOfMastersNothingChangesAndNothingIsLost) {
  TestCluster cluster;
  expect_ok(cluster.pangu({"mkdir", "/before"}));
  Writer writer(cluster, "/log");
  ASSERT_TRUE(writer.append(line(0)));
  expect_ok(cluster.manage("kill", master(1)));
  expect_ok(cluster.manage("kill", master(2)));
  const Finished alone = cluster.pangu({"mkdir", "/alone", "--timeout", "1s"});
  EXPECT_NE(alone.exit_code, 0);
  EXPECT_NE(alone.err.find("error["), std::string::npos) << alone.err;
  // Appending asks no master.
  ASSERT_TRUE(writer.append(line(1)));
  expect_ok(cluster.manage("restart", master(1)));
  expect_ok(cluster.pangu({"mkdir", "/after"}));
  const std::string names = cluster.pangu({"ls", "/"}).out;
  EXPECT_TRUE(names == "after/\nbefore/\nlog\n" || names == "after/\nalone/\nbefore/\nlog\n")
      << names;
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text());
  EXPECT_EQ(writer.process().finish().exit_code, 0);
}

TEST(Faults, AKilledMasterComesBackWithEverything) {
  TestCluster cluster({"--masters", "1"});
  expect_ok(cluster.pangu({"put", "-", "/dir-less"}, "kept"));
  expect_ok(cluster.pangu({"mkdir", "-p", "/a/b/c"}));
  expect_ok(cluster.manage("kill", "master-1"));
  const Finished lonely = cluster.pangu({"ls", "--timeout", "1s"});
  EXPECT_NE(lonely.exit_code, 0);
  expect_ok(cluster.manage("restart", "master-1"));
  EXPECT_EQ(cluster.pangu({"cat", "/dir-less"}).out, "kept");
  EXPECT_EQ(cluster.pangu({"ls", "/a/b"}).out, "c/\n");
  expect_ok(cluster.pangu({"put", "-", "/a/b/c/d"}, "more"));
  EXPECT_EQ(cluster.pangu({"cat", "/a/b/c/d"}).out, "more");
}

TEST(Faults, AllProcessesKilledAtOnceLoseNothing) {
  TestCluster cluster;
  Writer writer(cluster, "/log");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(writer.append(line(i))) << i;
  }
  const std::vector<std::string> names = {"chunkserver-1", "chunkserver-2", "chunkserver-3",
                                          "master-1",      "master-2",      "master-3"};
  for (const std::string& name : names) {
    expect_ok(cluster.manage("kill", name));
  }
  writer.process().kill(SIGKILL);
  writer.process().finish();
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    expect_ok(cluster.manage("restart", *name));
  }
  // Until the next opener has decided the length, readers see what is known to be committed: the
  // last append may be missing, nothing else may.
  EXPECT_TRUE(writer.text().starts_with(cluster.pangu({"cat", "/log"}).out));
  expect_ok(cluster.pangu({"append", "/log"}, "more\n"));
  EXPECT_EQ(cluster.pangu({"cat", "/log"}).out, writer.text() + "more\n");
}

TEST(Faults, AFullClusterSaysSoAndRecoversWhenFilesGo) {
  TestCluster cluster({}, "32M");
  const Finished full = cluster.pangu({"put", "-", "/big", "--timeout", "5s"}, noise(9, 60 << 20));
  EXPECT_NE(full.exit_code, 0);
  EXPECT_NE(full.err.find("error["), std::string::npos) << full.err;
  expect_ok(cluster.pangu({"rm", "-f", "/big"}));
  // Space comes back when the chunkservers have heard of it: within a few heartbeats.
  const Finished after = run_until_ok(
      cluster.launch({"put", "-", "/small", "--force", "--timeout", "3s"}), noise(10, 1 << 20), 20);
  expect_ok(after);
  EXPECT_TRUE(same(cluster.pangu({"cat", "/small"}).out, noise(10, 1 << 20)));
}

}  // namespace
}  // namespace pangu::system_test
