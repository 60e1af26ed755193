#pragma once

// Every rule that the safety of the core rests on can be switched off one by one in a separate
// build, to prove that the checkers notice (testing/mutants_test.cc). In the product a rule is the
// constant `true`: nothing can weaken it at run time.
#ifdef PANGU_RAFT_MUTANTS
namespace pangu::raft {
struct Rules {
  bool own_term_commit = true;        // paper 5.4.2: commit by counting only entries of one's term
  bool up_to_date_vote = true;        // paper 5.4.1: vote only for a log not older than one's own
  bool one_vote_a_term = true;        // paper 5.2
  bool durable_term_and_vote = true;  // paper 5.1: both durable before a message of the term leaves
  bool durable_acknowledgement = true;   // paper 5.1: acknowledge only what is durable
  bool leader_counts_durable = true;     // thesis 10.2.1: a leader counts itself only when durable
  bool stale_write_completion = true;    // a write done before a truncation proves nothing after it
  bool previous_entry_matches = true;    // paper 5.3: the consistency check of an append
  bool quorum_of_both = true;            // paper 6: joint configurations need both majorities
  bool one_pending_change = true;        // thesis 4.1: one uncommitted configuration at a time
  bool read_confirms_leadership = true;  // paper 8: a round of heartbeats before a read
  bool read_after_own_commit = true;     // paper 8: a read waits for a commit of one's own term
  bool distinct_read_ids = true;         // answers to a former life are not taken
};
Rules& rules();
}  // namespace pangu::raft
#define RAFT_RULE(name) (::pangu::raft::rules().name)
#else
#define RAFT_RULE(name) true
#endif
