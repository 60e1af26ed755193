#include "raft/driver/testing/storm.h"

#include <gtest/gtest.h>

// Seeds that found something, and that a seed is what it says. Many more: raft_host_seeds.
namespace pangu::raft::testing {
namespace {

StormReport run(u64 seed) {
  StormOptions options;
  options.seed = seed;
  return Storm(options).run();
}

TEST(Storm, OneSeedIsOneRun) {
  for (const u64 seed : {u64{3}, u64{8}}) {
    const StormReport first = run(seed);
    const StormReport second = run(seed);
    EXPECT_EQ(first.failure, "");
    EXPECT_EQ(first.trace_hash, second.trace_hash) << seed;
    EXPECT_EQ(first.events, second.events) << seed;
  }
}

TEST(Storm, SeedsThatFoundSomething) {
  const u64 seeds[] = {
      4,     // a message larger than the queue to a peer was never sent
      19,    // no room for the note of a snapshot's installation silenced the member
      1123,  // a second snapshot was pulled into the sink of one that waited to be installed
  };
  for (const u64 seed : seeds) {
    EXPECT_EQ(run(seed).failure, "") << seed;
  }
}

}  // namespace
}  // namespace pangu::raft::testing
