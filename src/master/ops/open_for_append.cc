#include "master/ops/common.h"

namespace pangu::master::ops {

Answer open_for_append(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::OpenForAppendRequest>(body));
  const auto& exclude = request.exclude_servers();
  auto places =
      co_await find_places(context, request.file(), request.options(), request.fresh_chunks(),
                           std::vector<u32>(exclude.begin(), exclude.end()));
  CO_TRY(offer, std::move(places));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::open_for_append),
                                 std::move(body), std::move(offer), deadline);
  CO_TRY(bytes, std::move(answer));
  CO_TRY(reply, parse<pb::OpenForAppendReply>(bytes));
  add_servers(context, reply.stream().chunks(), *reply.mutable_stream()->mutable_servers());
  add_servers(context, reply.fresh(), *reply.mutable_stream()->mutable_servers());
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
