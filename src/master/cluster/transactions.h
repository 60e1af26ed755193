#pragma once
#include <map>
#include <set>
#include <vector>

#include "master/cluster/group_calls.h"
#include "master/group/group.h"

// Changes that touch several groups (docs/design/0006-partitions.md): one group's part as a
// coordinator, and as a participant that is left with a part whose coordinator fell silent.
//
// Invariants
// 1. A transaction is in the set of active ones from before anybody is asked to prepare it until its
//    Commit is known to be applied or to be void. So whoever asks is never told that it is aborted
//    while it may still be committed.
// 2. A Commit with participants is proposed without a deadline: it ends with the leadership.
namespace pangu::master {

class Transactions {
 public:
  // Both must outlive stop().
  Transactions(Group& group, GroupCalls& calls) : group_(group), calls_(calls) {}

  // What is to be done, by group; an empty part of this very group is added if there is none.
  struct Plan {
    std::map<u64, record::Part> parts;
    std::string reply;  // the client's
  };
  // Does all of it or nothing, exactly once for the client's request. An error of a step's condition
  // is answered as it is, and is not kept: the caller refuses or plans again. Busy: something is
  // locked; nothing happened.
  Task<Result<std::string>> run(const pb::RequestId& id, Plan plan, Instant deadline);
  // Answers the request with an error, once and for all: kept, unless an earlier attempt of it has
  // succeeded, whose answer then comes back.
  Task<Result<std::string>> refuse(const pb::RequestId& id, const Error& error, Instant deadline);

  // What has become of a transaction that this group coordinates. REQUIRES: it leads
  Task<Result<record::TransactionStatusReply>> status(record::TxnId id, Instant deadline);

  // Tree changes come one at a time (the root group).
  Semaphore& moves() { return moves_; }

  // The loops that finish what was committed, ask about what was left prepared, and deliver
  // messages; they work while this copy leads.
  void start();
  // REQUIRES: the group is closing
  Task<void> stop();

 private:
  using Key = std::pair<u64, u64>;  // term, number
  using Parts = std::map<u64, record::Part>;

  record::TxnId next_id();
  Task<Status> prepare_all(const Parts& parts, Instant deadline);
  Task<void> prepare_one(u64 to, record::Prepare request, Instant deadline, std::vector<Status>& out,
                         size_t slot, Event& done, size_t& left);
  Task<void> finish_all(record::TxnId id, std::vector<u64> groups, bool commit);
  Task<Status> finish_one(const record::TxnId& id, u64 to, bool commit, Instant deadline);
  Task<Result<std::string>> decide(const pb::RequestId& id, record::Commit commit,
                                   Instant deadline, bool& committed);

  Task<void> finish_loop();
  Task<void> sweep_loop();
  Task<void> outbox_loop();
  Task<bool> finish_some();
  Task<void> sweep_once();
  Task<bool> deliver_some();
  Task<void> resolve(record::TxnId id);
  bool leads() const { return !group_.closing() && group_.check_leader().ok(); }

  Group& group_;
  GroupCalls& calls_;
  u64 next_number_ = 1;
  std::set<Key> active_;
  std::map<std::pair<u64, Key>, Instant> seen_;  // prepared here, since when as far as known
  Semaphore moves_{1};
  Gate gate_;
};

}  // namespace pangu::master
