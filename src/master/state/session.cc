#include "master/state/session.h"

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/limits.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

Admission refuse(Code code, std::string text) {
  Admission admission{.kind = Admission::Kind::refused, .outcome = {}};
  admission.outcome.set_code(static_cast<u32>(code));
  admission.outcome.set_text(std::move(text));
  return admission;
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

// Marks the session as used by the command at `index`; true if its record has to be written.
bool touch(Txn& txn, const Uuid& client, record::Session& session, u64 index) {
  if (session.used() != 0 && index - session.used() < kSessionUseStep) {
    return false;
  }
  if (session.used() != 0) {
    txn.erase(keys::last_use(session.used()));
  }
  session.set_used(index);
  txn.put(keys::last_use(index), keys::encode_uuid(client));
  return true;
}

// Forgets answers below `first_unanswered`, a bounded number a call; true as in touch().
bool forget(Txn& txn, const Uuid& client, record::Session& session, u64 first_unanswered) {
  if (first_unanswered <= session.first_unanswered()) {
    return false;
  }
  const KvPage known = txn.scan(keys::outcome(client, session.first_unanswered()),
                                keys::outcome(client, first_unanswered), kForgottenPerCommand);
  for (const KvEntry& answer : known.entries) {
    txn.erase(answer.key);
  }
  if (known.more) {
    const std::string_view last = known.entries.back().key;
    session.set_first_unanswered(keys::decode_u64(last.substr(last.size() - 8)) + 1);
  } else {
    session.set_first_unanswered(first_unanswered);
  }
  return true;
}

}  // namespace

Admission admit(Txn& txn, const pb::RequestId& id, u64 index, u64 sessions_max) {
  const Uuid client = wire::get(id.client());
  if (client.is_zero() || id.sequence() == 0) {
    return refuse(Code::kInvalidArgument, "the request has no request id");
  }
  if (id.first_unanswered() > id.sequence()) {
    return refuse(Code::kInvalidArgument,
                  fmt::format("request {} is below its own first unanswered one, {}",
                              id.sequence(), id.first_unanswered()));
  }
  record::Session session;
  const bool known = txn.get(keys::session(client), session);
  if (!known) {
    if (txn.meta().sessions() >= sessions_max) {
      evict_least_recent(txn);
    }
    session.set_first_unanswered(1);
    txn.meta().set_sessions(txn.meta().sessions() + 1);
  }
  const bool touched = touch(txn, client, session, index);
  const bool forgot = forget(txn, client, session, id.first_unanswered());
  if (!known || touched || forgot) {
    txn.put(keys::session(client), session);
  }
  if (Admission replay{.kind = Admission::Kind::replay, .outcome = {}};
      txn.get(keys::outcome(client, id.sequence()), replay.outcome)) {
    REACHED("master: a request came again and got its kept answer");
    return replay;
  }
  if (id.sequence() < session.first_unanswered()) {
    REACHED("master: a request came after its answer was forgotten");
    return refuse(Code::kCancelled,
                  fmt::format("request {} was answered, and the client said that it knows",
                              id.sequence()));
  }
  if (id.sequence() - session.first_unanswered() >= kUnansweredMax) {
    return refuse(Code::kBusy, fmt::format("more than {} requests of this client are unanswered",
                                           kUnansweredMax));
  }
  return {};
}

void keep(Txn& txn, const pb::RequestId& id, const record::Outcome& outcome) {
  const Code code = code_from_number(static_cast<u16>(outcome.code()));
  if (code == Code::kOk || retry_class(code) != Retry::same) {
    txn.put(keys::outcome(wire::get(id.client()), id.sequence()), outcome);
  }
}

}  // namespace pangu::master
