#include <fmt/format.h>
#include <gtest/gtest.h>

#include "raft/testing/fuzz.h"

// Does the fuzzer find anything? This binary is the core built with PANGU_RAFT_MUTANTS: each test
// takes away one rule, and a seed must break one of the promises within the given number.
namespace pangu::raft::testing {
namespace {

struct Mutant {
  const char* name;
  bool Rules::* rule;
  u64 seeds;
};

class Mutants : public ::testing::TestWithParam<Mutant> {
 protected:
  void TearDown() override { rules() = Rules(); }
};

TEST_P(Mutants, AreFound) {
  const Mutant& mutant = GetParam();
  rules().*mutant.rule = false;
  for (u64 seed = 1; seed <= mutant.seeds; ++seed) {
    FuzzOptions options;
    options.seed = seed;
    options.check_recovery = false;
    const FuzzReport report = Fuzz(options).run();
    if (!report.failure.empty()) {
      std::printf("%-26s seed %5llu after %6llu events: %s\n", mutant.name,
                  static_cast<unsigned long long>(seed),
                  static_cast<unsigned long long>(report.events), report.failure.c_str());
      return;
    }
  }
  FAIL() << "no violation in " << mutant.seeds << " seeds without the rule " << mutant.name;
}

INSTANTIATE_TEST_SUITE_P(
    Raft, Mutants,
    ::testing::Values(Mutant{"own_term_commit", &Rules::own_term_commit, 3000},
                      Mutant{"up_to_date_vote", &Rules::up_to_date_vote, 300},
                      Mutant{"one_vote_a_term", &Rules::one_vote_a_term, 300},
                      Mutant{"durable_term_and_vote", &Rules::durable_term_and_vote, 300},
                      Mutant{"durable_acknowledgement", &Rules::durable_acknowledgement, 300},
                      Mutant{"leader_counts_durable", &Rules::leader_counts_durable, 300},
                      Mutant{"stale_write_completion", &Rules::stale_write_completion, 3000},
                      Mutant{"previous_entry_matches", &Rules::previous_entry_matches, 300},
                      Mutant{"quorum_of_both", &Rules::quorum_of_both, 3000},
                      Mutant{"one_pending_change", &Rules::one_pending_change, 3000},
                      Mutant{"read_confirms_leadership", &Rules::read_confirms_leadership, 3000},
                      Mutant{"read_after_own_commit", &Rules::read_after_own_commit, 3000},
                      Mutant{"distinct_read_ids", &Rules::distinct_read_ids, 3000}),
    [](const ::testing::TestParamInfo<Mutant>& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace pangu::raft::testing
