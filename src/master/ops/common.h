#pragma once
#include <optional>

#include "master/ops/ops.h"
#include "wire/control.pb.h"

// What several methods share.
namespace pangu::master::ops {

template <class Request>
Result<Request> parse(const std::string& body) {
  Request request;
  if (!request.ParseFromString(body)) {
    return Error(Code::kInvalidArgument,
                 "the request does not parse (or holds text that is not UTF-8)");
  }
  return request;
}

// Proposes `body` as it came and returns what the state machine answers.
Task<Result<std::string>> propose(Context& context, u32 method, std::string body,
                                  record::Offer offer, Instant deadline);
Result<std::string> answer_of(record::Outcome outcome);

// The answer kept for a request that was made before, behind a read barrier or not.
Task<std::optional<record::Outcome>> kept_answer(Context& context, const pb::RequestId& id);

// A leader that is new asks the root where the servers are before it tells others.
Task<void> know_servers(Context& context);

// Places for `count` chunks of `file`; for one that has no stream yet, as `options` ask.
Task<Result<record::Offer>> find_places(Context& context, u64 file, pb::FileOptions options,
                                        u32 count, std::vector<u32> exclude);

// A lookup: `query` as in Group::query; its answer serialized.
template <class F>
Task<Result<std::string>> answer_query(Context& context, F query) {
  auto answer = co_await context.group.query(std::move(query));
  if (!answer.ok()) {
    co_return std::move(answer).error();
  }
  co_return answer->SerializeAsString();
}

// Adds the servers that `chunks` name to `servers`, each once.
void add_servers(Context& context, const google::protobuf::RepeatedPtrField<pb::ChunkInfo>& chunks,
                 google::protobuf::RepeatedPtrField<pb::ServerInfo>& servers);

}  // namespace pangu::master::ops
