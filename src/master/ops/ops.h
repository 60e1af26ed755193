#pragma once
#include <string>

#include "base/ids.h"
#include "master/group/group.h"
#include "wire/method.h"

// The master's RPC methods: each checks its request, proposes a command or looks something up, and
// answers with the bytes of the reply. One file a method.
//
// Errors beside those that state/*.h names: InvalidArgument (the request does not parse), and those of
// Group::execute for methods that change something. After UnknownOutcome, Timeout or a lost
// connection the caller sends the same request, with the same request id, again.
namespace pangu::master::ops {

struct Context {
  Group& group;
  Uuid cluster;
  std::string version;  // of the program
};

struct Operation {
  wire::Method method;
  // `body`: the serialized request. The context outlives the task.
  Task<Result<std::string>> (*run)(Context& context, std::string body, Instant deadline);
  // Only looks something up: needs a read barrier in front of it. What changes something gets its
  // place in the order by its commit.
  bool reads;
};

Task<Result<std::string>> lookup(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> list(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> create_file(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> make_directory(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> rename(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> remove(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> open_for_append(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> allocate_chunks(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> release_chunk(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> report_chunk(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> publish(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> get_stream(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> seal_file(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> register_server(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> heartbeat(Context& context, std::string body, Instant deadline);
Task<Result<std::string>> cluster_info(Context& context, std::string body, Instant deadline);

// Null: not a method of the master.
const Operation* find(wire::Method method);

}  // namespace pangu::master::ops
