#include <signal.h>
#include <unistd.h>

#include "test_cluster.h"

// The program itself: exit codes, signals, its single-process cluster, what it refuses.
namespace pangu::system_test {
namespace {

void expect_refused(const std::vector<std::string>& words, int exit_code,
                    const std::string& message) {
  const Finished done = run({.words = words});
  EXPECT_EQ(done.exit_code, exit_code) << done.err;
  EXPECT_NE(done.err.find(message), std::string::npos) << done.err;
  EXPECT_EQ(done.out, "");
}

TEST(Program, WrongArgumentsAreNamedAndExitWith2) {
  expect_refused({"stattus"}, 2, "did you mean status?");
  expect_refused({"put", "a"}, 2, "missing argument: it takes SOURCE... PATH");
  expect_refused({"bench", "append", "--depht", "3"}, 2, "did you mean --depth?");
  expect_refused({"bench", "append", "--size", "4x"}, 2, "'4x' is no size");
  expect_refused({"cluster", "start", "--masters", "0"}, 2, "--masters is 1 to 9");
  expect_refused({"master", "--data", "/tmp/x", "--node", "2"}, 2, "goes with --init only");
  expect_refused({"master", "--init", "--data", "/tmp/x", "--members", "x"}, 2, "NODE=HOST:PORT");
  expect_refused({"status", "--cluster", "127.0.0.1:1"}, 1, "error[CONNECT_FAILED]");
  expect_refused({"chunkserver", "--data", "/tmp/x"}, 2, "no device is given");
}

// Whoever reads the messages may go away; that changes no exit code and aborts nothing.
TEST(Program, AStandardErrorThatIsGoneDoesNotMatter) {
  const auto shell = [](const std::string& words) {
    const std::string script = binary_under_test() + " " + words + "; echo $?";
    return run({.words = {"-c", script}, .program = "/bin/sh"});
  };
  EXPECT_EQ(shell("stattus 2>&-").out, "2\n");
  EXPECT_EQ(shell("bench 2>&-").out, "2\n");
  EXPECT_EQ(shell("status --cluster 127.0.0.1:1 2>&-").out, "1\n");
  EXPECT_EQ(shell("help >&-").out, "1\n");
}

TEST(Program, UnknownConfigurationKeysAreRefused) {
  TemporaryDirectory place;
  write_file(place.file("pangu.toml"), "[server]\nlissten = \"127.0.0.1:1\"\n");
  expect_refused({"status", "--config", place.file("pangu.toml")}, 2,
                 "did you mean server.listen?");
  expect_refused({"config", "check", place.file("pangu.toml")}, 2, "line 2");
}

// Starts `pangu dev`, stores and reads a file, stops it with Ctrl-C.
void try_dev(const std::string& program, const std::string& user) {
  TemporaryDirectory place;
  const std::string binary = place.file("pangu");
  expect_ok(run({.words = {program, binary}, .program = "/bin/cp"}));
  expect_ok(run({.words = {"-R", "a+rwX", place.path()}, .program = "/bin/chmod"}));
  Process dev({.words = {"dev", "--dir", place.file("dev"), "--master-port", "0"},
               .program = binary,
               .user = user});
  ASSERT_TRUE(dev.wait_for_output("Ctrl-C")) << dev.finish(1).err;
  const std::string masters = masters_in(dev.output());
  ASSERT_NE(masters, "") << dev.output();
  const std::map<std::string, std::string> environment = {{"PANGU_CLUSTER", masters}};
  const std::string bytes = noise(5, 1'000'000);
  expect_ok(run({.words = {"put", "-", "/x"}, .environment = environment, .program = binary,
                 .user = user},
                bytes));
  EXPECT_TRUE(same(run({.words = {"cat", "/x"}, .environment = environment, .program = binary,
                        .user = user})
                       .out,
                   bytes));
  dev.kill(SIGINT);
  const Finished ended = dev.finish(12);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
}

TEST(Program, DevStoresReadsAndStopsOnControlC) { try_dev(binary_under_test(), ""); }

TEST(Program, DevNeedsNoRoot) {
  if (::getuid() != 0) {
    GTEST_SKIP() << "this test itself must be root to become another user";
  }
  try_dev(binary_under_test(), "nobody");
}

TEST(Program, DevKeepsItsDataForTheNextStart) {
  TemporaryDirectory place;
  for (int i = 0; i < 2; ++i) {
    Process dev({.words = {"dev", "--dir", place.file("dev"), "--master-port", "0"}});
    ASSERT_TRUE(dev.wait_for_output("Ctrl-C")) << dev.finish(1).err;
    const std::map<std::string, std::string> environment = {
        {"PANGU_CLUSTER", masters_in(dev.output())}};
    if (i == 0) {
      expect_ok(run({.words = {"put", "-", "/kept"}, .environment = environment}, "kept"));
    } else {
      EXPECT_EQ(run({.words = {"cat", "/kept"}, .environment = environment}).out, "kept");
    }
    dev.kill(SIGTERM);
    EXPECT_EQ(dev.finish(12).exit_code, 0);
  }
}

TEST(Program, AClusterIsStartedOnceStoppedAndStartedAgain) {
  TestCluster cluster;
  expect_ok(cluster.pangu({"put", "-", "/kept"}, "kept"));
  const Finished twice = run({.words = {"cluster", "start", "--dir", cluster.directory(),
                                        "--master-port", "0"}});
  EXPECT_EQ(twice.exit_code, 1);
  EXPECT_NE(twice.err.find("runs already"), std::string::npos) << twice.err;
  expect_ok(cluster.manage("kill", "chunkserver-2"));
  const Finished status = cluster.manage("status");
  EXPECT_NE(status.out.find("dead"), std::string::npos) << status.out;
  EXPECT_EQ(cluster.manage("kill", "chunkserver-2").exit_code, 1);
  const Finished unknown = cluster.manage("kill", "chunkserver2");
  EXPECT_NE(unknown.err.find("did you mean chunkserver-2?"), std::string::npos) << unknown.err;
  expect_ok(cluster.manage("stop"));
  const Finished again =
      run({.words = {"cluster", "start", "--dir", cluster.directory(), "--master-port", "0",
                     "--device-size", "256M"}});
  expect_ok(again);
  EXPECT_EQ(run({.words = {"cat", "/kept", "--cluster", masters_in(again.out)}}).out, "kept");
}

TEST(Program, TwoProcessesNeverShareADevice) {
  TestCluster cluster;
  const std::string data = cluster.directory() + "/chunkserver-1";
  // The same data directory.
  const Finished same = cluster.pangu({"chunkserver", "--data", data, "--device",
                                       data + "/disk-1.img", "--join", "127.0.0.1:1"});
  EXPECT_EQ(same.exit_code, 1);
  EXPECT_NE(same.err.find("error[IN_USE]"), std::string::npos) << same.err;
  // Another server that is pointed at the device of the first.
  const Finished other =
      cluster.pangu({"chunkserver", "--data", cluster.place().file("other"), "--device",
                     data + "/disk-1.img"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.err.find("error[IN_USE]"), std::string::npos) << other.err;
  // And after the first has gone: it belongs to that one.
  expect_ok(cluster.manage("kill", "chunkserver-1"));
  const Finished foreign =
      cluster.pangu({"chunkserver", "--data", cluster.place().file("other"), "--device",
                     data + "/disk-1.img", "--join", cluster.masters()});
  EXPECT_EQ(foreign.exit_code, 1);
  EXPECT_NE(foreign.err.find("belongs to server"), std::string::npos) << foreign.err;
}

TEST(Program, DevicesCanBeInspectedAndVerified) {
  TestCluster cluster;
  expect_ok(cluster.pangu({"put", "-", "/file"}, noise(11, 300'000)));
  expect_ok(cluster.manage("stop"));
  const std::string device = cluster.directory() + "/chunkserver-1/disk-1.img";
  const Finished inspected = run({.words = {"chunk", "inspect", device}});
  expect_ok(inspected);
  EXPECT_FALSE(inspected.out.empty());
  const Finished verified = run({.words = {"chunk", "verify", device}});
  expect_ok(verified);
  EXPECT_FALSE(verified.out.empty());
}

TEST(Program, AnInterruptedCommandExitsWith130) {
  TestCluster cluster;
  Process append(cluster.launch({"append", "/log", "--create", "--acks"}));
  ASSERT_TRUE(append.write("x"));
  ASSERT_TRUE(append.wait_for_output("0 1\n"));
  append.kill(SIGINT);
  const Finished ended = append.finish(10);
  EXPECT_EQ(ended.exit_code, 130);
  EXPECT_NE(ended.err.find("interrupted"), std::string::npos) << ended.err;
}

TEST(Program, APassedDeadlineExitsWith124) {
  TestCluster cluster({"--masters", "1"});
  expect_ok(cluster.manage("pause", "master-1"));
  const Finished late = cluster.pangu({"status", "--timeout", "300ms"});
  EXPECT_EQ(late.exit_code, 124) << late.err;
  EXPECT_NE(late.err.find("error[TIMEOUT]"), std::string::npos) << late.err;
  expect_ok(cluster.manage("resume", "master-1"));
  expect_ok(cluster.pangu({"ls"}));
}

TEST(Program, AServerStopsInOrderOnSigterm) {
  TestCluster cluster;
  Process server(cluster.launch({"chunkserver", "--join", cluster.masters(),
                                 "--data", cluster.place().file("cs"), "--memory", "64M",
                                 "--ready-fd", "1"}));
  ASSERT_TRUE(server.wait_for_output("127.0.0.1:"));
  server.kill(SIGTERM);
  const Finished ended = server.finish(12);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
}

}  // namespace
}  // namespace pangu::system_test
