#include <signal.h>

#include "test_cluster.h"

// Many clients change one tree while masters die and freeze; `pangu check namespace` decides
// whether what they were told has an order.
namespace pangu::system_test {
namespace {

std::string master(int number) { return "master-" + std::to_string(number); }

class Check {
 public:
  Check(const TestCluster& cluster, int seconds)
      : process_(cluster.launch({"check", "namespace", "--seconds", std::to_string(seconds),
                                 "--clients", "8", "--timeout", "20s"})) {}
  // Waits until so many calls have ended: faults come between calls, not between seconds.
  // False: it has ended.
  bool reach(int calls) {
    return process_.wait_for_output("calls " + std::to_string(calls) + ",", 60);
  }
  Finished finish() { return process_.finish(180); }
  const std::string& output() const { return process_.output(); }

 private:
  Process process_;
};

void expect_linearizable(Check& check) {
  const Finished done = check.finish();
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE((check.output() + done.out).find("linearizable: "), std::string::npos) << done.out;
}

TEST(Namespace, OneOrderExplainsAllAnswers) {
  TestCluster cluster({"--namespace-groups", "4"});
  Check check(cluster, 4);
  expect_linearizable(check);
}

TEST(Namespace, OneOrderExplainsAllAnswersWhileMastersDie) {
  TestCluster cluster({"--namespace-groups", "3"});
  Check check(cluster, 15);
  int calls = 200;
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i <= 3 && check.reach(calls); ++i) {
      expect_ok(cluster.manage("kill", master(i)));
      calls += 200;
      check.reach(calls);
      expect_ok(cluster.manage("restart", master(i)));
      calls += 200;
    }
  }
  expect_linearizable(check);
}

TEST(Namespace, OneOrderExplainsAllAnswersWhileMastersFreeze) {
  TestCluster cluster;
  Check check(cluster, 15);
  int calls = 200;
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i <= 3 && check.reach(calls); ++i) {
      expect_ok(cluster.manage("pause", master(i)));
      calls += 200;
      check.reach(calls);
      expect_ok(cluster.manage("resume", master(i)));
      calls += 200;
    }
  }
  expect_linearizable(check);
}

TEST(Namespace, OneOrderExplainsAllAnswersWhenAllMastersDieAtOnce) {
  TestCluster cluster({"--namespace-groups", "3", "--stream-groups", "1"});
  Check check(cluster, 12);
  for (int calls = 200; calls <= 600 && check.reach(calls); calls += 200) {
    for (int i = 1; i <= 3; ++i) {
      expect_ok(cluster.manage("kill", master(i)));
    }
    for (int i = 1; i <= 3; ++i) {
      expect_ok(cluster.manage("restart", master(i)));
    }
  }
  expect_linearizable(check);
}

}  // namespace
}  // namespace pangu::system_test
