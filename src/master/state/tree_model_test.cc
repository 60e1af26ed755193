#include "master/state/tree_world.h"

#include <cstdlib>
#include <gtest/gtest.h>

namespace pangu::master {
namespace {

void run_world(const Options& options, std::map<std::string, int>& counts) {
  SCOPED_TRACE(fmt::format("seed {}", options.seed));
  World world(options);
  world.run();
  if (testing::Test::HasFailure()) {
    return;
  }
  world.check_end();
  for (const auto& [what, count] : world.counts()) {
    counts[what] += count;
  }
  // The same commands make the same state.
  for (const auto& [id, group] : world.rig().groups()) {
    const u64 before = content_hash(group->kv()).value();
    const std::vector<record::Command> commands = group->commands();
    group->restart_with(std::make_unique<MemoryKv>());
    for (const record::Command& command : commands) {
      group->apply(command);
    }
    EXPECT_EQ(content_hash(group->kv()).value(), before);
  }
}

// What happened, with PANGU_TRACE; how many seeds, with PANGU_SEEDS.
void report(const std::map<std::string, int>& counts) {
  for (const auto& [what, count] : counts) {
    if (std::getenv("PANGU_TRACE") != nullptr) {
      fmt::print("{:>7} {}\n", count, what);
    }
  }
}
u64 seeds(u64 usual) {
  const char* const wanted = std::getenv("PANGU_SEEDS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : usual;
}

TEST(TreeModel, ManyGroupsAreOneTree) {
  std::map<std::string, int> counts;
  for (u64 seed = 1; seed <= seeds(4) && !HasFailure(); ++seed) {
    run_world({.seed = seed}, counts);
  }
  report(counts);
  for (const char* what : {"make directory: OK", "move: OK", "remove tree: OK", "rename: OK",
                           "remove directory: OK", "swept: committed", "swept: aborted",
                           "old ways: stale", "answers did not fit", "guess failed"}) {
    EXPECT_GT(counts[what], 0) << what;
  }
}

TEST(TreeModel, OneGroupIsOneTree) {
  std::map<std::string, int> counts;
  for (u64 seed = 1; seed <= seeds(1) && !HasFailure(); ++seed) {
    run_world({.seed = seed, .namespace_groups = 1}, counts);
  }
  report(counts);
}

TEST(TreeModel, FewNamesAndManyCrashes) {
  std::map<std::string, int> counts;
  for (u64 seed = 1; seed <= seeds(3) && !HasFailure(); ++seed) {
    run_world({.seed = seed, .namespace_groups = 4, .clients = 10, .names = 3, .crash = 0.1},
              counts);
  }
  report(counts);
  EXPECT_GT(counts["crashes"], 10);
}

TEST(TreeModel, MovesMeetRenames) {
  std::map<std::string, int> counts;
  for (u64 seed = 1; seed <= seeds(3) && !HasFailure(); ++seed) {
    run_world({.seed = seed, .clients = 16, .names = 3, .renames = 0.8}, counts);
  }
  report(counts);
  EXPECT_GT(counts["rename: OK"], 5);
  EXPECT_GT(counts["move: OK"], 5);
}

}  // namespace
}  // namespace pangu::master
