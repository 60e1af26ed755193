#include "master/ops/common.h"

namespace pangu::master::ops {

Answer allocate_chunks(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::AllocateChunksRequest>(body));
  const auto& exclude = request.exclude_servers();
  auto places = co_await find_places(context, request.file(), {}, request.count(),
                                     std::vector<u32>(exclude.begin(), exclude.end()));
  CO_TRY(offer, std::move(places));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::allocate_chunks),
                                 std::move(body), std::move(offer), deadline);
  CO_TRY(bytes, std::move(answer));
  CO_TRY(reply, parse<pb::AllocateChunksReply>(bytes));
  add_servers(context, reply.chunks(), *reply.mutable_servers());
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
