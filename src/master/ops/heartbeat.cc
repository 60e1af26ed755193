#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/ops/common.h"

namespace pangu::master::ops {

Answer heartbeat(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::HeartbeatRequest>(body));
  Group& group = context.group;
  const ServerId server{request.server()};
  if (!group.servers().knows(server)) {
    REACHED("master: heartbeat of a server that is not registered");
    co_return Error(Code::kNotFound,
                    fmt::format("server {} is not registered here: register first", server.number));
  }
  const pb::ServerState before = group.servers().state(server, group.reactor().now());
  if (before != pb::SERVER_ALIVE) {
    LOG_INFO("server {} is heard again", server.number);
  }
  if (const auto news = group.servers().news(request)) {
    auto outcome = co_await group.execute(static_cast<u32>(InternalMethod::update_server),
                                          news->SerializeAsString(), {}, deadline);
    CO_TRY(applied, std::move(outcome));
    auto updated = answer_of(std::move(applied));
    CO_TRY_VOID(std::move(updated));
  }
  group.servers().heard(server, request.devices(), group.reactor().now());
  co_return pb::HeartbeatReply().SerializeAsString();
}

}  // namespace pangu::master::ops
