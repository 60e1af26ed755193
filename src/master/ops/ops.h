#pragma once
#include <string>

#include "base/ids.h"
#include "master/cluster/transactions.h"
#include "master/group/group.h"
#include "wire/method.h"

// The methods of a master's groups: each checks its request, proposes a command, plans a transaction
// or looks something up, and answers with the bytes of the reply. One file a method.
//
// Errors beside those that state/*.h names: InvalidArgument (the request does not parse), and those of
// Group::execute for methods that change something. After UnknownOutcome, Timeout or a lost
// connection the caller sends the same request, with the same request id, again. Busy, Stale,
// NotLeader: nothing happened.
namespace pangu::master::ops {

// One for each group of a process.
struct Context {
  Group& group;
  Transactions& transactions;
  GroupCalls& calls;
  const ClusterMap& map;
  Uuid cluster;
  std::string version;  // of the program
};

enum Kinds : u8 { root = 1, names = 2, streams = 4, any = 7 };
constexpr u8 bit_of(pb::GroupKind kind) {
  return kind == pb::GROUP_ROOT ? root : kind == pb::GROUP_NAMESPACE ? names : streams;
}

struct Operation {
  wire::Method method;
  // `body`: the serialized request. The context outlives the task.
  Task<Result<std::string>> (*run)(Context& context, std::string body, Instant deadline);
  u8 kinds;    // of groups that have it
  // Only looks something up: needs a read barrier in front of it. What changes something gets its
  // place in the order by its commit.
  bool reads;
};

using Answer = Task<Result<std::string>>;

// namespace groups; rename and remove also of the root
Answer lookup(Context& context, std::string body, Instant deadline);
Answer list(Context& context, std::string body, Instant deadline);
Answer create_file(Context& context, std::string body, Instant deadline);
Answer make_directory(Context& context, std::string body, Instant deadline);
Answer rename(Context& context, std::string body, Instant deadline);
Answer remove(Context& context, std::string body, Instant deadline);
// stream groups
Answer open_for_append(Context& context, std::string body, Instant deadline);
Answer allocate_chunks(Context& context, std::string body, Instant deadline);
Answer release_chunk(Context& context, std::string body, Instant deadline);
Answer report_chunk(Context& context, std::string body, Instant deadline);
Answer publish(Context& context, std::string body, Instant deadline);
Answer get_stream(Context& context, std::string body, Instant deadline);
Answer get_streams(Context& context, std::string body, Instant deadline);
Answer seal_file(Context& context, std::string body, Instant deadline);
// the root
Answer register_server(Context& context, std::string body, Instant deadline);
Answer heartbeat(Context& context, std::string body, Instant deadline);
Answer cluster_info(Context& context, std::string body, Instant deadline);
Answer server_table(Context& context, std::string body, Instant deadline);
Answer set_server_state(Context& context, std::string body, Instant deadline);
Answer change_map(Context& context, std::string body, Instant deadline);
// between groups
Answer prepare(Context& context, std::string body, Instant deadline);
Answer finish(Context& context, std::string body, Instant deadline);
Answer transaction_status(Context& context, std::string body, Instant deadline);
Answer deliver(Context& context, std::string body, Instant deadline);
// all
Answer group_status(Context& context, std::string body, Instant deadline);
Answer change_members(Context& context, std::string body, Instant deadline);
Answer transfer_leadership(Context& context, std::string body, Instant deadline);
Answer scan_group(Context& context, std::string body, Instant deadline);

// Null: not a method of a group.
const Operation* find(wire::Method method);

}  // namespace pangu::master::ops
