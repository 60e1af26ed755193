#include "master/ops/common.h"
#include "master/state/stream.h"

namespace pangu::master::ops {

Answer get_stream(Context& context, std::string body, Instant) {
  CO_TRY(request, parse<pb::GetStreamRequest>(body));
  co_await know_servers(context);
  auto query = [request](Txn& txn) { return master::get_stream(txn, request); };
  auto answer = co_await context.group.query(query);
  CO_TRY(reply, std::move(answer));
  add_servers(context, reply.stream().chunks(), *reply.mutable_stream()->mutable_servers());
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
