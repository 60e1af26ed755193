#include "master/ops/common.h"

#include <algorithm>

#include "master/state/file_options.h"
#include "master/state/limits.h"
#include "master/state/session.h"

namespace pangu::master::ops {

Result<std::string> answer_of(record::Outcome outcome) {
  const Code code = code_from_number(static_cast<u16>(outcome.code()));
  if (code != Code::kOk) {
    return Error(code, std::move(*outcome.mutable_text()));
  }
  return std::move(*outcome.mutable_reply());
}

Task<Result<std::string>> propose(Context& context, u32 method, std::string body,
                                  record::Offer offer, Instant deadline) {
  auto outcome =
      co_await context.group.execute(method, std::move(body), std::move(offer), deadline);
  if (!outcome.ok()) {
    co_return std::move(outcome).error();
  }
  co_return answer_of(std::move(*outcome));
}

Task<std::optional<record::Outcome>> kept_answer(Context& context, const pb::RequestId& id) {
  auto query = [&id](Txn& txn) -> Result<std::optional<record::Outcome>> {
    return master::kept_answer(txn, id);
  };
  auto found = co_await context.group.query(query);
  co_return found.ok() ? std::move(*found) : std::nullopt;
}

Task<void> know_servers(Context& context) {
  if (!context.group.servers().empty()) {
    co_return;
  }
  const bool newer = co_await context.group.refresh_servers();
  static_cast<void>(newer);  // callers find out by themselves
}

Task<Result<record::Offer>> find_places(Context& context, u64 file, pb::FileOptions options,
                                        u32 count, std::vector<u32> exclude) {
  auto head = [file](Txn& txn) -> Result<record::Stream> {
    record::Stream stream;
    txn.get(keys::stream({file}), stream);
    return stream;
  };
  auto found = co_await context.group.query(head);
  CO_TRY(stream, std::move(found));
  if (stream.copies_max() == 0) {
    // Options that break a rule are refused when the command is applied; nothing is placed by them.
    auto checked = checked_options(options);
    if (!checked.ok()) {
      co_return record::Offer();
    }
    stream.set_copies_max(checked->copies_max());
    stream.set_copies_min(checked->copies_min());
  }
  co_await know_servers(context);
  Group& group = context.group;
  const PlacementRequest request{.copies_max = stream.copies_max(),
                                 .copies_min = stream.copies_min(),
                                 .exclude = std::move(exclude),
                                 .seed = group.reactor().env().random()};
  count = std::min(count, kFreshMax);
  record::Offer offer = group.servers().offer(count, request, group.reactor().now());
  if (count > 0 && offer.layouts_size() == 0) {
    // The root may know of servers that have come since it was asked last.
    const bool newer = co_await group.refresh_servers();
    if (newer) {
      offer = group.servers().offer(count, request, group.reactor().now());
    }
  }
  co_return offer;
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
