#pragma once
#include "base/types.h"

// Seeds that once broke a promise, and what was wrong. A later change of the code may turn a seed
// into another story, so every bug has a direct test as well; these are run because they cost little
// and once were the worst that chance could think of.
namespace pangu::sim {

struct RegressionSeed {
  u64 seed;
  const char* found;
};

inline constexpr RegressionSeed kRegressionSeeds[] = {
    {241, "client: flush() promised enqueued bytes that its fenced writer had dropped"},
    {214, "client: NO_SPACE for one attempt hid that an earlier one was carried out"},
    {243, "master: what a copy that came to nothing left behind was never erased in time"},
    {23, "master: a rename onto itself by two paths, one of them old, was refused as there"},
    {335, "simulation: a client stopped while it still looked for the cluster"},
};

}  // namespace pangu::sim
