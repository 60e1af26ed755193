#include "master/ops/common.h"

namespace pangu::master::ops {

// For other masters: no barrier, what this leader believes is what there is to know.
Answer server_table(Context& context, std::string body, Instant) {
  CO_TRY_VOID(parse<pb::ServerTableRequest>(body));
  const ServerTable& servers = context.group.servers();
  const Instant now = context.group.reactor().now();
  pb::ServerTableReply reply;
  reply.set_settled(servers.settled(now));
  for (const ServerId server : servers.ids()) {
    pb::ServerInfo& info = *reply.add_servers();
    servers.describe(info, server, now);
    servers.describe_devices(info, server);
  }
  co_return reply.SerializeAsString();
}

Answer set_server_state(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<pb::SetServerStateRequest>(body));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::set_server_state),
                                 std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
