#include "master/state/session.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/limits.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

record::Outcome refuse(Code code, std::string text) {
  record::Outcome outcome;
  outcome.set_code(static_cast<u32>(code));
  outcome.set_text(std::move(text));
  return outcome;
}

record::KeptAnswer* find(record::Session& session, u64 sequence) {
  for (record::KeptAnswer& kept : *session.mutable_kept()) {
    if (kept.sequence() == sequence) {
      return &kept;
    }
  }
  return nullptr;
}

void evict_least_recent(Txn& txn) {
  const KvPage oldest = txn.scan_prefix(keys::last_uses(), 1);
  if (oldest.entries.empty()) {
    return;
  }
  REACHED("master: session table full, least recent session evicted");
  const Uuid client = keys::decode_uuid(oldest.entries.front().value);
  txn.erase(oldest.entries.front().key);
  txn.erase(keys::session(client));
  const KvPage answers = txn.scan_prefix(keys::outcomes_of(client), kUnansweredMax + 1);
  for (const KvEntry& answer : answers.entries) {
    txn.erase(answer.key);
  }
  txn.meta().set_sessions(txn.meta().sessions() - 1);
}

}  // namespace

ClientSession::ClientSession(Txn& txn, const pb::RequestId& id)
    : txn_(txn), id_(id), client_(wire::get(id.client())) {
  valid_ = !client_.is_zero() && id.sequence() != 0 && id.first_unanswered() <= id.sequence();
  known_ = valid_ && txn.get(keys::session(client_), session_);
  session_.set_first_unanswered(std::max<u64>(session_.first_unanswered(), 1));
}

std::optional<record::Outcome> ClientSession::answer() {
  if (!valid_) {
    return refuse(Code::kInvalidArgument,
                  fmt::format("the request id is not complete: client {}, sequence {}, first "
                              "unanswered {}",
                              to_string(client_), id_.sequence(), id_.first_unanswered()));
  }
  if (const record::KeptAnswer* kept = find(session_, id_.sequence())) {
    REACHED("master: a request came again and got its kept answer");
    return kept->outcome();
  }
  if (session_.spilled() > 0) {
    if (record::Outcome outcome; txn_.get(keys::outcome(client_, id_.sequence()), outcome)) {
      REACHED("master: a request came again and got its kept answer from table Q");
      return outcome;
    }
  }
  const u64 first = std::max(session_.first_unanswered(), id_.first_unanswered());
  if (id_.sequence() < first) {
    REACHED("master: a request came after its answer was forgotten");
    return refuse(Code::kCancelled,
                  fmt::format("request {} was answered, and the client said that it knows",
                              id_.sequence()));
  }
  if (id_.sequence() - first >= kUnansweredMax) {
    return refuse(Code::kBusy, fmt::format("more than {} requests of this client are unanswered",
                                           kUnansweredMax));
  }
  return std::nullopt;
}

void ClientSession::finish(u64 index, u64 sessions_max, const record::Outcome* outcome) {
  if (!valid_) {
    return;
  }
  touch(index, sessions_max);
  session_.set_first_unanswered(
      std::max(session_.first_unanswered(), id_.first_unanswered()));
  forget();
  if (outcome != nullptr) {
    keep(*outcome);
  }
  txn_.put(keys::session(client_), session_);
}

// Marks the session as used by the command at `index`; makes room for it if it is new.
void ClientSession::touch(u64 index, u64 sessions_max) {
  if (!known_) {
    if (txn_.meta().sessions() >= sessions_max) {
      evict_least_recent(txn_);
    }
    txn_.meta().set_sessions(txn_.meta().sessions() + 1);
  } else if (index - session_.used() < kSessionUseStep) {
    return;
  } else {
    txn_.erase(keys::last_use(session_.used()));
  }
  session_.set_used(index);
  txn_.put(keys::last_use(index), keys::encode_uuid(client_));
}

// Rows of table Q go a bounded number a command.
void ClientSession::forget() {
  const u64 first = session_.first_unanswered();
  auto& kept = *session_.mutable_kept();
  kept.erase(std::remove_if(kept.begin(), kept.end(),
                            [first](const auto& each) { return each.sequence() < first; }),
             kept.end());
  if (session_.spilled() == 0) {
    return;
  }
  const KvPage rows = txn_.scan(keys::outcomes_of(client_), keys::outcome(client_, first),
                                kForgottenPerCommand);
  for (const KvEntry& row : rows.entries) {
    txn_.erase(row.key);
  }
  session_.set_spilled(session_.spilled() - static_cast<u32>(rows.entries.size()));
}

void ClientSession::keep(const record::Outcome& outcome) {
  const Code code = code_from_number(static_cast<u16>(outcome.code()));
  const Retry retry = retry_class(code);
  if (code != Code::kOk && (retry == Retry::same || retry == Retry::refresh_route)) {
    return;
  }
  auto& kept = *session_.mutable_kept();
  record::KeptAnswer& added = *kept.Add();
  added.set_sequence(id_.sequence());
  *added.mutable_outcome() = outcome;
  while (kept.size() > kKeptInSession ||
         (!kept.empty() && session_.ByteSizeLong() > kSessionBytes)) {
    txn_.put(keys::outcome(client_, kept[0].sequence()), kept[0].outcome());
    session_.set_spilled(session_.spilled() + 1);
    kept.DeleteSubrange(0, 1);
  }
}

std::optional<record::Outcome> kept_answer(Txn& txn, const pb::RequestId& id) {
  return ClientSession(txn, id).answer();
}

}  // namespace pangu::master
