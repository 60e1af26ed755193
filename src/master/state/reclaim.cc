#include "master/state/reclaim.h"

#include <algorithm>

#include "master/state/dead_directories.h"
#include "master/state/limits.h"

namespace pangu::master {

void reclaim(Txn& txn, u32 budget) {
  budget = std::clamp<u32>(budget, 1, kReclaimBudgetMax);
  const u32 used = reclaim_directories(txn, budget);
  if (used < budget) {
    reclaim_files(txn, budget - used);
  }
}

}  // namespace pangu::master
