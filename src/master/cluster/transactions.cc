#include "master/cluster/transactions.h"

#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/transaction.h"
#include "runtime/await.h"

namespace pangu::master {
namespace {

constexpr Duration kPatience = seconds(5);
constexpr Duration kRetry = milliseconds(100);
// A part that is older than this without news from its coordinator: ask.
constexpr Duration kSilence = seconds(1);
constexpr Duration kLook = milliseconds(250);
constexpr size_t kPage = 256;

Error error_of(const record::Outcome& outcome) {
  return {code_from_number(static_cast<u16>(outcome.code())), std::string(outcome.text())};
}

void set_client(record::Commit& out, const pb::RequestId& id) {
  out.set_client_high(id.client().high());
  out.set_client_low(id.client().low());
  out.set_client_sequence(id.sequence());
  out.set_first_unanswered(id.first_unanswered());
}

}  // namespace

record::TxnId Transactions::next_id() {
  record::TxnId id;
  id.set_group(group_.id().value());
  id.set_term(group_.replica().term().number);
  id.set_number(next_number_++);
  return id;
}

// ---- the coordinator ----

Task<Result<std::string>> Transactions::run(const pb::RequestId& id, Plan plan, Instant deadline) {
  const record::TxnId txn = next_id();
  record::Commit commit;
  set_client(commit, id);
  commit.set_reply(std::move(plan.reply));
  const u64 self = group_.id().value();
  Parts others;
  std::vector<u64> participants;
  for (auto& [group, part] : plan.parts) {
    *part.mutable_txn() = txn;
    if (group != self) {
      participants.push_back(group);
      commit.add_participants(group);
      others.emplace(group, std::move(part));
    }
  }
  if (const auto own = plan.parts.find(self); own != plan.parts.end()) {
    *commit.mutable_part() = std::move(own->second);
  }
  *commit.mutable_part()->mutable_txn() = txn;
  if (others.empty()) {
    bool committed = false;
    co_return co_await decide(id, std::move(commit), deadline, committed);
  }
  const Key key{txn.term(), txn.number()};
  active_.insert(key);
  const Status prepared =
      co_await prepare_all(others, std::min(deadline, group_.reactor().now() + kPatience));
  if (!prepared.ok()) {
    REACHED("master: transaction aborted, a participant could not prepare it");
    active_.erase(key);
    gate_.spawn(group_.reactor(), "master abort", TaskClass::control,
                finish_all(txn, std::move(participants), false));
    co_return prepared.error();
  }
  bool committed = false;
  auto answer = co_await decide(id, std::move(commit), Instant::never(), committed);
  active_.erase(key);
  // With an unknown outcome they ask, when somebody leads again.
  if (answer.code() != Code::kUnknownOutcome) {
    gate_.spawn(group_.reactor(), committed ? "master finish" : "master abort", TaskClass::control,
                finish_all(txn, std::move(participants), committed));
  }
  co_return answer;
}

Task<Result<std::string>> Transactions::decide(const pb::RequestId&, record::Commit commit,
                                               Instant deadline, bool& committed) {
  auto outcome = co_await group_.execute(static_cast<u32>(InternalMethod::commit),
                                         commit.SerializeAsString(), {}, deadline);
  if (!outcome.ok()) {
    co_return std::move(outcome).error();
  }
  committed = outcome->code() == 0 && !outcome->already();
  if (outcome->code() != 0) {
    co_return error_of(*outcome);
  }
  co_return std::move(*outcome->mutable_reply());
}

Task<Result<std::string>> Transactions::refuse(const pb::RequestId& id, const Error& error,
                                               Instant deadline) {
  record::Refuse request;
  request.set_client_high(id.client().high());
  request.set_client_low(id.client().low());
  request.set_client_sequence(id.sequence());
  request.set_first_unanswered(id.first_unanswered());
  request.set_code(static_cast<u32>(error.code()));
  request.set_text(std::string(error.context()));
  auto outcome = co_await group_.execute(static_cast<u32>(InternalMethod::refuse),
                                         request.SerializeAsString(), {}, deadline);
  if (!outcome.ok()) {
    co_return std::move(outcome).error();
  }
  if (outcome->code() != 0) {
    co_return error_of(*outcome);
  }
  co_return std::move(*outcome->mutable_reply());
}

// All at once; the first error in the order of the groups.
Task<Status> Transactions::prepare_all(const Parts& parts, Instant deadline) {
  std::vector<Status> results(parts.size());
  size_t left = parts.size();
  Event done;
  size_t slot = 0;
  for (const auto& [to, part] : parts) {
    record::Prepare request;
    *request.mutable_part() = part;
    const bool spawned =
        gate_.spawn(group_.reactor(), "master prepare", TaskClass::control,
                    prepare_one(to, std::move(request), deadline, results, slot, done, left));
    if (!spawned) {
      results[slot] = Error(Code::kClosed, "the master stops");
      --left;
    }
    ++slot;
  }
  while (left > 0) {
    co_await done.wait();
  }
  for (Status& result : results) {
    CO_TRY_VOID(std::move(result));
  }
  co_return ok_status();
}

Task<void> Transactions::prepare_one(u64 to, record::Prepare request, Instant deadline,
                                     std::vector<Status>& out, size_t slot, Event& done,
                                     size_t& left) {
  request.set_group(to);
  auto answer =
      co_await calls_.call(to, wire::Method::prepare, request.SerializeAsString(), deadline);
  if (!answer.ok()) {
    out[slot] = std::move(answer).error();
  }
  if (--left == 0) {
    done.set();
  }
}

Task<Status> Transactions::finish_one(const record::TxnId& id, u64 to, bool commit,
                                      Instant deadline) {
  record::Finish request;
  *request.mutable_txn() = id;
  request.set_commit(commit);
  request.set_group(to);
  auto answer =
      co_await calls_.call(to, wire::Method::finish, request.SerializeAsString(), deadline);
  if (!answer.ok()) {
    co_return std::move(answer).error();
  }
  co_return ok_status();
}

// What fails here is done by the loops: of the coordinator if it was committed, else of the
// participant.
Task<void> Transactions::finish_all(record::TxnId id, std::vector<u64> groups, bool commit) {
  record::Finished finished;
  for (const u64 to : groups) {
    auto done = co_await finish_one(id, to, commit, group_.reactor().now() + kPatience);
    if (done.ok() && commit) {
      record::Finished::One& one = *finished.add_done();
      *one.mutable_txn() = id;
      one.set_participant(to);
    }
  }
  if (finished.done_size() > 0 && leads()) {
    auto outcome = co_await group_.execute(static_cast<u32>(InternalMethod::finished),
                                           finished.SerializeAsString(), {},
                                           group_.reactor().now() + kPatience);
    static_cast<void>(outcome);  // else finish_loop() does it
  }
}

Task<Result<record::TransactionStatusReply>> Transactions::status(record::TxnId id,
                                                                  Instant deadline) {
  record::TransactionStatusReply reply;
  if (active_.contains({id.term(), id.number()})) {
    reply.set_state(record::TransactionStatusReply::UNDECIDED);
    co_return reply;
  }
  if (id.term() > group_.replica().term().number) {
    co_return Error(Code::kNotLeader, "");
  }
  auto passed = co_await group_.read_barrier(deadline);
  CO_TRY_VOID(std::move(passed));
  CO_TRY_VOID(group_.check_leader());
  auto query = [id](Txn& txn) -> Result<bool> { return is_committed(txn, id); };
  auto found = co_await group_.query(query);
  CO_TRY(committed, std::move(found));
  reply.set_state(committed ? record::TransactionStatusReply::COMMITTED
                            : record::TransactionStatusReply::ABORTED);
  co_return reply;
}

// ---- what was left behind ----

void Transactions::start() {
  gate_.spawn(group_.reactor(), "master finish", TaskClass::control, finish_loop());
  gate_.spawn(group_.reactor(), "master sweep", TaskClass::control, sweep_loop());
  gate_.spawn(group_.reactor(), "master outbox", TaskClass::background, outbox_loop());
}

Task<void> Transactions::stop() {
  co_await gate_.close();
}

// Only what finish_all() did not get done: it has its time first.
Task<void> Transactions::finish_loop() {
  while (!group_.closing()) {
    if (!leads() || group_.meta().unfinished() == 0) {
      co_await group_.news().wait();
      continue;
    }
    co_await group_.news().wait(group_.reactor().now() + kSilence);
    if (leads() && group_.meta().unfinished() > 0) {
      co_await finish_some();
    }
  }
}

Task<bool> Transactions::finish_some() {
  auto query = [](Txn& txn) -> Result<std::vector<UnfinishedTxn>> {
    return unfinished(txn, kPage);
  };
  auto found = co_await group_.query(query);
  if (!found.ok()) {
    co_return false;
  }
  record::Finished finished;
  for (const UnfinishedTxn& txn : *found) {
    for (const u64 to : txn.participants) {
      auto done = co_await finish_one(txn.id, to, true, group_.reactor().now() + kPatience);
      if (done.ok()) {
        record::Finished::One& one = *finished.add_done();
        *one.mutable_txn() = txn.id;
        one.set_participant(to);
      }
    }
  }
  if (finished.done_size() == 0 || !leads()) {
    co_return false;
  }
  auto outcome =
      co_await group_.execute(static_cast<u32>(InternalMethod::finished),
                              finished.SerializeAsString(), {}, group_.reactor().now() + kPatience);
  co_return outcome.ok();
}

Task<void> Transactions::sweep_loop() {
  while (!group_.closing()) {
    if (!leads() || group_.meta().prepared() == 0) {
      seen_.clear();
      co_await group_.news().wait();
      continue;
    }
    co_await group_.news().wait(group_.reactor().now() + kLook);
    if (leads()) {
      co_await sweep_once();
    }
  }
}

Task<void> Transactions::sweep_once() {
  auto query = [](Txn& txn) -> Result<std::vector<record::Part>> {
    return prepared_parts(txn, kPage);
  };
  auto found = co_await group_.query(query);
  if (!found.ok()) {
    co_return;
  }
  const Instant now = group_.reactor().now();
  std::map<std::pair<u64, Key>, Instant> still;
  std::vector<record::TxnId> old;
  for (const record::Part& part : *found) {
    const record::TxnId& id = part.txn();
    const std::pair<u64, Key> key{id.group(), {id.term(), id.number()}};
    const auto before = seen_.find(key);
    const Instant since = before == seen_.end() ? now : before->second;
    still.emplace(key, since);
    if (now - since >= kSilence) {
      old.push_back(id);
    }
  }
  seen_ = std::move(still);
  for (const record::TxnId& id : old) {
    if (!leads()) {
      co_return;
    }
    co_await resolve(id);
  }
}

Task<void> Transactions::resolve(record::TxnId id) {
  REACHED("master: a participant asks what became of a transaction");
  record::TransactionStatus question;
  *question.mutable_txn() = id;
  auto answer = co_await calls_.ask<record::TransactionStatusReply>(
      id.group(), wire::Method::transaction_status, std::move(question),
      group_.reactor().now() + kPatience);
  if (!answer.ok() || answer->state() == record::TransactionStatusReply::UNDECIDED ||
      answer->state() == record::TransactionStatusReply::UNKNOWN || !leads()) {
    co_return;
  }
  record::Finish finish;
  *finish.mutable_txn() = id;
  finish.set_commit(answer->state() == record::TransactionStatusReply::COMMITTED);
  LOG_INFO("group {}: transaction {}/{}/{} was left prepared; it is {}", group_.id().value(),
           id.group(), id.term(), id.number(), finish.commit() ? "committed" : "aborted");
  auto outcome =
      co_await group_.execute(static_cast<u32>(InternalMethod::finish), finish.SerializeAsString(),
                              {}, group_.reactor().now() + kPatience);
  static_cast<void>(outcome);  // else it is asked again
}

// ---- messages ----

Task<void> Transactions::outbox_loop() {
  while (!group_.closing()) {
    if (!leads() || group_.meta().messages() == 0) {
      co_await group_.news().wait();
      continue;
    }
    const bool delivered = co_await deliver_some();
    if (!delivered && !group_.closing()) {
      co_await group_.news().wait(group_.reactor().now() + kRetry);
    }
  }
}

Task<bool> Transactions::deliver_some() {
  auto query = [](Txn& txn) -> Result<std::vector<OutboxPage>> { return outbox(txn, kPage); };
  auto found = co_await group_.query(query);
  if (!found.ok()) {
    co_return false;
  }
  bool any = false;
  for (OutboxPage& page : *found) {
    if (!leads()) {
      co_return false;
    }
    page.messages.set_group(page.to);
    auto answer =
        co_await calls_.call(page.to, wire::Method::deliver, page.messages.SerializeAsString(),
                             group_.reactor().now() + kPatience);
    if (!answer.ok()) {
      continue;
    }
    record::Delivered delivered;
    delivered.set_to(page.to);
    delivered.set_until(page.until);
    auto outcome = co_await group_.execute(static_cast<u32>(InternalMethod::delivered),
                                           delivered.SerializeAsString(), {},
                                           group_.reactor().now() + kPatience);
    any = any || outcome.ok();
  }
  co_return any;
}

}  // namespace pangu::master
