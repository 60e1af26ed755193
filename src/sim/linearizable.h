#pragma once
#include <string>

#include "sim/history.h"

// Decides whether a history of concurrent calls can be explained by one order of them, each taking
// place in one moment between its call and its answer, by the rules of namespace_tree.h. A call
// without an answer may take place at any time after it was made, or never.
//
// Method: the events are gone through in time. A configuration is a tree together with the calls
// that were made and have not taken place; all that are possible are kept. Calls take place only
// when the answer of one of them comes that has not ("just in time": G. Lowe, Testing for
// linearizability, 2017), in every order that ends with that one; so a violation is found at the
// answer that nothing explains. What keeps the number of configurations small, and loses nothing:
//  - a call whose answer fits and changes nothing takes place at once (it could also do so later,
//    but nobody would see a difference);
//  - a call takes place before another one only if that makes a difference to it or to those
//    between: else it can as well wait;
//  - of two configurations that differ only in calls without an answer, the one in which more of
//    them are still possible will do.
namespace pangu::sim {

struct LinearizableOptions {
  NamespaceTree initial;
  u64 steps_max = 20'000'000;  // attempts to let a call take place
};

enum class LinearizableVerdict : u8 {
  yes,
  no,
  gave_up,  // steps_max: too many calls at once, or without answers, for a verdict
};

struct LinearizableResult {
  LinearizableVerdict verdict = LinearizableVerdict::yes;
  // For people: what cannot be explained, what was possible, and what happened around it.
  std::string report;
  u64 steps = 0;
  size_t configurations_max = 0;  // at once
};

LinearizableResult check_linearizable(const History& history,
                                      const LinearizableOptions& options = {});

}  // namespace pangu::sim
