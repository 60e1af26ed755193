#pragma once
#include <optional>

#include "base/ids.h"
#include "base/result.h"
#include "master/state/kv.h"
#include "master/state/limits.h"
#include "master/state/record.pb.h"
#include "wire/method.h"

// The replicated state machine of a group: commands in log order against an ordered store.
//
// Invariants
// 1. prepare() is a pure function of (index, command, store): no clock, no randomness, no order of an
//    unordered container. Applied to equal stores, the same commands leave equal stores.
// 2. A command's changes, the outcome kept for its client and the applied index are one batch.
// 3. No bytes of a command can do more than be answered with an error.
namespace pangu::master {

// Methods of commands that no RPC carries. Part of the log's format.
enum class InternalMethod : u16 {
  update_server = 1001,
  confirm_orders = 1002,
  reclaim = 1003,
};

struct StateOptions {
  u64 sessions_max = kSessionsMax;  // the same in every copy of the group
};

// A command's effect before it has reached the store.
struct Prepared {
  KvBatch batch;
  record::Outcome outcome;
  std::optional<record::Server> changed_server;  // as it is after the command
  u64 reclaims = 0;  // Meta::reclaims after it
};

class StateMachine {
 public:
  explicit StateMachine(const StateOptions& options = {}) : options_(options) {}

  // An error is the store's, not the command's: kBusy as in KvReader. Then nothing has happened and
  // it may be tried again.
  Result<Prepared> prepare(u64 index, const record::Command& command, const KvReader& kv) const;

  // The batch that makes an empty store the state of a new cluster, at index 0.
  static KvBatch genesis(const Uuid& cluster);
  // kNotFound: the store is empty.
  static Result<record::Meta> meta_of(const KvReader& kv);

 private:
  StateOptions options_;
};

}  // namespace pangu::master
