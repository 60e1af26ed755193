#pragma once
#include "master/state/txn.h"

// Removed directories go with all that is in them, a bounded number of records a command: files as
// messages to their stream groups, directories as messages to their groups, or at once if they are
// of this one. Their ids stay taken until that is done.
namespace pangu::master {

// REQUIRES: the directory is there.
void bury_directory(Txn& txn, u64 directory);
// Frees up to `budget` records; returns how many of the budget it used. 0: there is nothing to do.
u32 reclaim_directories(Txn& txn, u32 budget);

}  // namespace pangu::master
