#include "master/ops/common.h"

#include <algorithm>

#include "master/state/limits.h"

namespace pangu::master::ops {

Result<std::string> answer_of(record::Outcome outcome) {
  const Code code = code_from_number(static_cast<u16>(outcome.code()));
  if (code != Code::kOk) {
    return Error(code, std::move(*outcome.mutable_text()));
  }
  return std::move(*outcome.mutable_reply());
}

Task<Result<std::string>> propose(Context& context, wire::Method method, std::string body,
                                  record::Offer offer, Instant deadline) {
  auto outcome = co_await context.group.execute(static_cast<u32>(method), std::move(body),
                                                std::move(offer), deadline);
  if (!outcome.ok()) {
    co_return std::move(outcome).error();
  }
  co_return answer_of(std::move(*outcome));
}

Task<Result<record::Offer>> find_places(Context& context, u64 file, u32 count,
                                        std::vector<u32> exclude) {
  auto head = [file](Txn& txn) -> Result<record::Stream> {
    record::Stream stream;
    txn.get(keys::stream({file}), stream);
    return stream;
  };
  auto stream = co_await context.group.query(head);
  if (!stream.ok()) {
    co_return std::move(stream).error();
  }
  if (stream->copies_max() == 0) {
    co_return record::Offer();
  }
  Group& group = context.group;
  PlacementRequest request{.copies_max = stream->copies_max(),
                           .copies_min = stream->copies_min(),
                           .exclude = std::move(exclude),
                           .seed = group.reactor().env().random()};
  co_return group.servers().offer(std::min(count, kFreshMax), std::move(request),
                                  group.reactor().now());
}

void add_servers(Context& context, const google::protobuf::RepeatedPtrField<pb::ChunkInfo>& chunks,
                 google::protobuf::RepeatedPtrField<pb::ServerInfo>& servers) {
  Group& group = context.group;
  for (const pb::ChunkInfo& chunk : chunks) {
    for (const pb::Replica& replica : chunk.replicas()) {
      const bool known = std::any_of(
          servers.begin(), servers.end(),
          [&](const pb::ServerInfo& server) { return server.server() == replica.server(); });
      if (!known) {
        group.servers().describe(*servers.Add(), {replica.server()}, group.reactor().now());
      }
    }
  }
}

}  // namespace pangu::master::ops
