#include "master/state/transaction.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/limits.h"
#include "master/state/partition_map.h"
#include "master/state/steps.h"
#include "wire/control.pb.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

std::string key_of(const record::TxnId& id) {
  return keys::prepared(id.group(), id.term(), id.number());
}

std::string shown(const record::TxnId& id) {
  return fmt::format("transaction {} of term {} of group {}", id.number(), id.term(), id.group());
}

Error wrong(std::string text) { return Error(Code::kInvalidArgument, std::move(text)); }

Status check_id(const record::TxnId& id) {
  if (id.group() == 0 || id.term() == 0 || id.number() == 0) {
    return wrong("a transaction has a coordinator, a term and a number");
  }
  return ok_status();
}

// The root group coordinates moves and has no part of the tree itself.
Status commit_move(Txn& txn, const record::Part& part) {
  record::Meta& meta = txn.meta();
  if (!part.steps().empty() || !part.ways().empty() || part.moved_directory() == 0) {
    return wrong("the root group numbers moves, and does no steps");
  }
  if (part.tree_epoch() != meta.tree_epoch() + 1) {
    return Error(Code::kConflict, fmt::format("the tree's change {} comes when {} is the next",
                                              part.tree_epoch(), meta.tree_epoch() + 1));
  }
  meta.set_tree_epoch(part.tree_epoch());
  return ok_status();
}

Status check_participants(Txn& txn, const record::Commit& request) {
  if (request.participants().empty()) {
    return ok_status();
  }
  const record::Meta& meta = txn.meta();
  const u64 own = own_group(meta);
  const std::set<u64> groups(request.participants().begin(), request.participants().end());
  if (request.participants_size() > kParticipantsMax || groups.contains(0) ||
      groups.contains(own) || groups.size() != static_cast<size_t>(request.participants_size())) {
    return wrong("a transaction's participants are other groups, each named once");
  }
  TRY_VOID(check_id(request.part().txn()));
  if (request.part().txn().group() != own) {
    return wrong(fmt::format("{} is not this group's", shown(request.part().txn())));
  }
  if (meta.unfinished() >= kUnfinishedMax) {
    REACHED("master: too many transactions wait for participants");
    return Error(Code::kBusy, fmt::format("{} transactions wait until others have finished them",
                                          meta.unfinished()));
  }
  return ok_status();
}

void keep_unfinished(Txn& txn, const record::Commit& request) {
  if (request.participants().empty()) {
    return;
  }
  const record::TxnId& id = request.part().txn();
  record::Unfinished row;
  *row.mutable_participants() = request.participants();
  txn.put(keys::unfinished(id.term(), id.number()), row);
  txn.meta().set_unfinished(txn.meta().unfinished() + 1);
}

// ---- transactions that ended here ----

bool has_ended(Txn& txn, const record::TxnId& id) {
  record::Ended ended;
  if (!txn.get(keys::ended(id.group()), ended) || id.term() > ended.term()) {
    return false;
  }
  return id.term() < ended.term() || id.number() < ended.floor() ||
         std::find(ended.numbers().begin(), ended.numbers().end(), id.number()) !=
             ended.numbers().end();
}

void remember_end(Txn& txn, const record::TxnId& id) {
  if (has_ended(txn, id)) {
    return;
  }
  record::Ended ended;
  txn.get(keys::ended(id.group()), ended);
  if (id.term() > ended.term()) {
    ended.Clear();
    ended.set_term(id.term());
  }
  auto& numbers = *ended.mutable_numbers();
  numbers.Add(id.number());
  std::sort(numbers.begin(), numbers.end());
  if (numbers.size() > kEndedKept) {
    ended.set_floor(numbers[0] + 1);
    numbers.erase(numbers.begin());
  }
  txn.put(keys::ended(id.group()), ended);
}

void finish_one(Txn& txn, const record::TxnId& id, u64 participant) {
  const std::string key = keys::unfinished(id.term(), id.number());
  record::Unfinished row;
  if (id.group() != own_group(txn.meta()) || !txn.get(key, row)) {
    return;
  }
  auto& left = *row.mutable_participants();
  left.erase(std::remove(left.begin(), left.end(), participant), left.end());
  if (!left.empty()) {
    txn.put(key, row);
    return;
  }
  txn.erase(key);
  txn.meta().set_unfinished(txn.meta().unfinished() - 1);
}

}  // namespace

Status prepare(Txn& txn, const record::Prepare& request) {
  const record::Part& part = request.part();
  TRY_VOID(check_id(part.txn()));
  record::Meta& meta = txn.meta();
  if (part.txn().group() == own_group(meta)) {
    return wrong("a coordinator does not prepare its own part");
  }
  const std::string key = key_of(part.txn());
  if (txn.has(key)) {
    REACHED("master: a part was prepared again");
    return ok_status();
  }
  if (has_ended(txn, part.txn())) {
    REACHED("master: a part came to be prepared after its transaction had ended");
    return Error(Code::kStale, fmt::format("{} has ended", shown(part.txn())));
  }
  if (meta.prepared() >= kPreparedMax) {
    return Error(Code::kBusy, fmt::format("{} transactions are prepared here", meta.prepared()));
  }
  TRY_VOID(check_part(txn, part));
  record::Lock lock;
  *lock.mutable_txn() = part.txn();
  for (std::string& locked : lock_keys(part)) {
    txn.put(std::move(locked), lock);
  }
  txn.put(key, part);
  meta.set_prepared(meta.prepared() + 1);
  return ok_status();
}

Result<std::string> commit(Txn& txn, const ApplyContext&, const record::Commit& request) {
  TRY_VOID(check_participants(txn, request));
  const record::Part& part = request.part();
  if (is_committed(txn, part.txn())) {
    REACHED("master: a transaction was committed again");
    return request.reply();
  }
  if (txn.meta().kind() == pb::GROUP_ROOT) {
    TRY_VOID(commit_move(txn, part));
  } else if (part.moved_directory() != 0) {
    return wrong("moves are coordinated by the root group");
  } else {
    TRY_VOID(check_part(txn, part));
    do_part(txn, part);
  }
  keep_unfinished(txn, request);
  return request.reply();
}

Status finish(Txn& txn, const record::Finish& request) {
  const std::string key = key_of(request.txn());
  record::Part part;
  if (!txn.get(key, part)) {
    if (!request.commit() && check_id(request.txn()).ok()) {
      // Given up before it came here to be prepared: nothing waits for it then.
      remember_end(txn, request.txn());
    }
    return ok_status();
  }
  if (request.commit()) {
    do_part(txn, part);
  } else {
    REACHED("master: a prepared part was given up");
  }
  for (std::string& locked : lock_keys(part)) {
    txn.erase(std::move(locked));
  }
  txn.erase(key);
  txn.meta().set_prepared(txn.meta().prepared() - 1);
  remember_end(txn, request.txn());
  return ok_status();
}

Status finished(Txn& txn, const record::Finished& request) {
  for (const record::Finished::One& one : request.done()) {
    finish_one(txn, one.txn(), one.participant());
  }
  return ok_status();
}

bool is_committed(Txn& txn, const record::TxnId& id) {
  return id.group() == own_group(txn.meta()) &&
         txn.has(keys::unfinished(id.term(), id.number()));
}

std::vector<record::Part> prepared_parts(Txn& txn, size_t limit) {
  std::vector<record::Part> parts;
  for (const KvEntry& row : txn.scan_prefix(keys::all_prepared(), limit).entries) {
    txn.get(row.key, parts.emplace_back());
  }
  return parts;
}

std::vector<UnfinishedTxn> unfinished(Txn& txn, size_t limit) {
  std::vector<UnfinishedTxn> out;
  for (const KvEntry& row : txn.scan_prefix(keys::all_unfinished(), limit).entries) {
    record::Unfinished value;
    txn.get(row.key, value);
    UnfinishedTxn& each = out.emplace_back();
    each.id.set_group(own_group(txn.meta()));
    each.id.set_term(keys::decode_u64(std::string_view(row.key).substr(1, 8)));
    each.id.set_number(keys::decode_u64(std::string_view(row.key).substr(9)));
    each.participants.assign(value.participants().begin(), value.participants().end());
  }
  return out;
}

}  // namespace pangu::master
