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
// 2. Outcomes whose error says that the same request may be sent again (Retry::same, and
//    refresh_route) are not kept: they changed nothing, and sending it again tries again.
// 3. The latest answers stand in the session's own record, the rest in rows of table Q: a client that
//    waits for each answer costs one record a command.
namespace pangu::master {

class ClientSession {
 public:
  // Only reads. Both must outlive the object.
  ClientSession(Txn& txn, const pb::RequestId& id);

  // The answer, if the request must not be applied: the kept one, or why it is refused.
  std::optional<record::Outcome> answer();
  // Writes what changed: forgets what the client knows, keeps `outcome` (null: nothing new), makes or
  // marks the session. Call once, after everything that may be rolled back.
  void finish(u64 index, u64 sessions_max, const record::Outcome* outcome);

 private:
  void forget();
  void keep(const record::Outcome& outcome);
  void touch(u64 index, u64 sessions_max);

  Txn& txn_;
  const pb::RequestId& id_;
  Uuid client_;
  bool valid_ = false;
  bool known_ = false;
  record::Session session_;
};

// What the request would be answered without being applied: its kept answer, or a refusal.
std::optional<record::Outcome> kept_answer(Txn& txn, const pb::RequestId& id);

}  // namespace pangu::master
