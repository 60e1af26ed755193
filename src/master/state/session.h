#pragma once
#include <optional>

#include "base/ids.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// Exactly once: the outcome of every request is kept until its client says that it knows the answer,
// and a request that comes again gets the kept outcome.
//
// Invariants
// 1. A client's request is applied at most once as long as its session lives. The table holds
//    `sessions_max` sessions; beyond, the one that was used least recently (in log order, in steps of
//    kSessionUseStep commands) goes with its answers.
// 2. Outcomes whose error says that the same request may be sent again (Retry::same) are not kept: they
//    changed nothing, and sending it again tries again.
namespace pangu::master {

// What to do with a request.
struct Admission {
  enum class Kind : u8 {
    apply,    // new: apply it and keep() its outcome
    replay,   // applied before: `outcome` is the answer
    refused,  // `outcome` says why
  } kind = Kind::apply;
  record::Outcome outcome;
};

// Also forgets the answers that the client no longer needs, and makes a session for a new client.
Admission admit(Txn& txn, const pb::RequestId& id, u64 index, u64 sessions_max);
void keep(Txn& txn, const pb::RequestId& id, const record::Outcome& outcome);

}  // namespace pangu::master
