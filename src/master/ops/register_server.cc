#include "base/log.h"
#include "master/ops/common.h"

namespace pangu::master::ops {

Answer register_server(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::RegisterServerRequest>(body));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::register_server),
                                 std::move(body), {}, deadline);
  CO_TRY(bytes, std::move(answer));
  CO_TRY(reply, parse<pb::RegisterServerReply>(bytes));
  Group& group = context.group;
  const ServerId server{reply.server()};
  // A server that joins for its id alone is not serving yet.
  if (!request.address().empty() && group.servers().knows(server)) {
    group.servers().heard(server, request.devices(), group.reactor().now());
    LOG_INFO("server {} at {} registered with {} devices", server.number, request.address(),
             request.devices_size());
  }
  co_return std::move(bytes);
}

}  // namespace pangu::master::ops
