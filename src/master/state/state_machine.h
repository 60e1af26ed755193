#pragma once
#include <optional>

#include "base/ids.h"
#include "base/result.h"
#include "master/state/kv.h"
#include "master/state/limits.h"
#include "master/state/record.pb.h"
#include "wire/control.pb.h"
#include "wire/method.h"

// The replicated state machine of a group: commands in log order against an ordered store.
//
// Invariants
// 1. prepare() is a pure function of (index, command, store): no clock, no randomness, no order of an
//    unordered container. Applied to equal stores, the same commands leave equal stores.
// 2. A command's changes, the outcome kept for its client and the applied index are one batch.
// 3. No bytes of a command can do more than be answered with an error.
// 4. A command that is not for a group of this kind is answered InvalidArgument.
namespace pangu::master {

// Methods of commands that no client's RPC carries. Part of the log's format.
enum class InternalMethod : u16 {
  update_server = 1001,
  confirm_orders = 1002,
  reclaim = 1003,
  update_map = 1004,  // pb::PartitionMap
  commit = 1010,
  refuse = 1011,
  prepare = 1012,
  finish = 1013,
  finished = 1014,
  deliver = 1015,
  delivered = 1016,
  change_replicas = 1020,
  mark_replicas = 1021,
  erase_orphans = 1022,
};

struct StateOptions {
  u64 sessions_max = kSessionsMax;  // the same in every copy of the group
};

// A command's effect before it has reached the store.
struct Prepared {
  KvBatch batch;
  record::Outcome outcome;
  std::optional<record::Server> changed_server;  // as it is after the command
  record::Meta meta;                             // after the command
};

// What a group begins with.
struct Genesis {
  Uuid cluster;
  pb::GroupKind kind = pb::GROUP_UNKNOWN;
  u32 index = 0;
  u32 namespace_groups = 1;  // of the cluster: all of them share subtree 0
  u32 stream_groups = 1;     // of the cluster
  // The root's first map; the others may have it too. Without one, the map has version 0 and nothing
  // but subtree 0.
  pb::PartitionMap map;
};

class StateMachine {
 public:
  explicit StateMachine(const StateOptions& options = {}) : options_(options) {}

  // An error is the store's, not the command's: kBusy as in KvReader. Then nothing has happened and
  // it may be tried again.
  Result<Prepared> prepare(u64 index, const record::Command& command, const KvReader& kv) const;

  // The batch that makes an empty store the state of a new group, at index 0.
  static KvBatch genesis(const Genesis& genesis);
  // kNotFound: the store is empty.
  static Result<record::Meta> meta_of(const KvReader& kv);

 private:
  StateOptions options_;
};

}  // namespace pangu::master
