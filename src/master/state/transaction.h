#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"

// Changes of the namespace in one group or in several, and messages to other groups
// (docs/design/0006-partitions.md, where the rules are proved).
//
// Invariants
// 1. A prepared part (table J) can be done: its conditions stay true until finish(), because what
//    they depend on is locked (table K), and all who change the namespace respect locks. Locks and
//    parts come and go together.
// 2. A committed transaction stays in table T until each participant has said that it finished.
// 3. A part that moves a directory is the tree's next change here, and the only one prepared; no
//    other part is prepared whose way holds that directory.
// 4. A message of the outbox (table B) is done in the receiving group exactly once, in the order of
//    the sender's numbers (table F).
// 5. A part that has ended here is not prepared again (table f), however late a copy comes.
//
// Errors of prepare() and commit(), and of nothing else here unless it says so:
//   kBusy             something is locked: try again
//   kStale            a directory of a way was moved, a directory or entry is not there or is another
//   kAlreadyExists    an entry has the name
//   kNotEmpty         the directory to be erased holds entries
//   kConflict         the id of a new directory is taken, or the tree's change has another number by
//                     now: make it with another one
//   kInvalidArgument  no correct leader makes such a part
// After an error, what was done to the Txn must be rolled back. No error of a commit is kept for its
// client: the leader tries in another way, or refuses the request.
namespace pangu::master {

// Every step on an entry must be in a directory that is the last of one of the part's ways. Again
// with the same id: ok.
Status prepare(Txn& txn, const record::Prepare& request);
// The decision. The reply is for the client. A part of the root group has no steps.
Result<std::string> commit(Txn& txn, const ApplyContext& context, const record::Commit& request);
// Does what was prepared, or not, and unlocks. Not prepared: ok.
Status finish(Txn& txn, const record::Finish& request);
Status finished(Txn& txn, const record::Finished& request);

// Committed here, and participants may still have to finish it.
bool is_committed(Txn& txn, const record::TxnId& id);
std::vector<record::Part> prepared_parts(Txn& txn, size_t limit);
struct UnfinishedTxn {
  record::TxnId id;
  std::vector<u64> participants;  // that have not said that they finished
};
std::vector<UnfinishedTxn> unfinished(Txn& txn, size_t limit);

// In the receiving group. kBusy: a directory to be buried is locked; nothing was done.
Status deliver(Txn& txn, const record::Deliver& request);
// In the sending group.
Status delivered(Txn& txn, const record::Delivered& request);
// The first messages to each group that has any.
struct OutboxPage {
  u64 to = 0;
  u64 until = 0;             // for Delivered, once `messages` are
  record::Deliver messages;  // all but `group`
};
std::vector<OutboxPage> outbox(Txn& txn, size_t limit_per_group);

}  // namespace pangu::master
