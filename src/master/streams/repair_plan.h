#pragma once
#include <map>
#include <set>
#include <vector>

#include "base/prng.h"
#include "master/state/replicas.h"
#include "master/streams/server_watch.h"

// What is to be done for one settled chunk: pure functions of the chunk and of what the leader knows
// at this moment. Nothing that they decide is final: change_replicas() looks again.
namespace pangu::master {

// What earlier attempts taught, and what is under way.
struct RepairFacts {
  // Suspect replicas that were asked about and are bad, or that nobody answers for.
  std::set<Location> known_bad;
  // No use as a source, or as a target, for this chunk.
  std::set<Location> bad_sources;
  std::set<Location> bad_targets;
  std::map<u32, u32> copies_on;  // under way, by server
  u32 copies_per_server = 2;
};

// How urgent a chunk is. `none`: nothing is to be done for it.
enum class Urgency : u8 { last_copy, two_copies, more_copies, move, none };
inline constexpr size_t kUrgencies = 4;

Urgency urgency_of(const SettledChunk& chunk, const ServerWatch& watch, Instant now);

struct RepairPlan {
  enum class What : u8 {
    nothing,
    wait,    // for a source, a target, or time
    busy,    // for a copy under way to end
    verify,  // suspect replicas that may be good after all
    copy,    // `target` from `source`, and then in place of `remove`, if there is one
    drop,    // `remove` goes without another copy
  };
  What what = What::nothing;
  std::vector<record::Replica> verify;
  record::Replica source;
  record::Replica target;
  std::vector<record::Replica> remove;
  bool erase = true;  // what is removed gets an order to erase
};

// Rules
// 1. A copy comes from a good replica on a live server, and goes to a live server in service that
//    has none of the copies that stay; to another rack than theirs if that can be; the more room the
//    likelier.
// 2. The last copies go last: a replica is removed only together with a copy in its place, or when
//    enough others stay, or when its server is the only one that could take a good copy (a suspect
//    one, while there is a good one elsewhere).
// 3. What was removed for good, or is dead, is replaced first, then what is suspect, then what only
//    stands on a server that is to be left.
RepairPlan plan_repair(const SettledChunk& chunk, const ServerWatch& watch, Instant now,
                       const RepairFacts& facts, Prng& random);

}  // namespace pangu::master
