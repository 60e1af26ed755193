#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "env/env.h"
#include "raft/core/types.h"
#include "wire/control.pb.h"

// Who a master is, for ever: what its data folder says (identity.toml), and what follows from it for
// the groups that a new cluster begins with.
namespace pangu::master {

// A master of the cluster, as the others reach it.
struct Member {
  raft::NodeId node;
  env::Address address;
};

// What a new data folder says for ever.
struct Founding {
  Uuid cluster;                 // zero: a new cluster
  raft::NodeId node{1};         // this master
  // All masters that begin the cluster; empty: this one alone. For one that joins: whom it may ask.
  std::vector<Member> members;
  bool begins = true;           // false: it joins a cluster, and holds no group until told to
  u32 namespace_groups = 2;
  u32 stream_groups = 2;
};

Status check_founding(const Founding& founding);
// Makes the folder and its identity; the cluster's id. AlreadyExists, InvalidArgument. Blocking.
Result<Uuid> init_identity(env::Env& env, const std::string& directory, const Founding& founding);
// NotFound, WrongVersion, InvalidArgument: what is there and what to do.
Result<Founding> read_identity(env::Env& env, const std::string& directory);
// kInUse: another process has the folder.
Result<std::unique_ptr<env::File>> take_lock(env::Env& env, const std::string& directory);

// The members with which a group of a new cluster begins: the root on up to five of the masters,
// the others on three, in turn.
std::vector<raft::NodeId> founders_of(const Founding& founding, u64 group);
std::vector<u64> all_groups(const Founding& founding);
pb::GroupKind kind_of(u64 group);
u32 index_of(u64 group);
// Its place when groups are dealt out: to members, and among them to a leader.
u32 group_position(u64 group);

}  // namespace pangu::master
