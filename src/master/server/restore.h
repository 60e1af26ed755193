#pragma once
#include <string>
#include <vector>

#include "master/server/identity.h"
#include "master/state/rocks_kv.h"
#include "runtime/task.h"

namespace pangu::master {

// What a group's store held, in the order of its keys.
struct GroupContent {
  u64 group = 0;
  std::vector<KvEntry> entries;
};

// Makes the data folder of a master that begins a cluster with these states instead of empty ones.
// Every founding master has to be made from the same content. Errors as Master::init; Corrupt: a
// group's first record is not there. What was made is left behind after an error.
Task<Status> restore_master(env::Env& env, std::string directory, Founding founding,
                            std::vector<GroupContent> contents);

}  // namespace pangu::master
