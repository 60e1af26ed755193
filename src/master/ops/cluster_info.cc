#include "master/ops/common.h"
#include "wire/proto.h"

namespace pangu::master::ops {

Task<Result<std::string>> cluster_info(Context& context, std::string body, Instant) {
  CO_TRY_VOID(parse<pb::ClusterInfoRequest>(body));
  auto query = [](Txn& txn) -> Result<record::Meta> { return txn.meta(); };
  auto found = co_await context.group.query(query);
  CO_TRY(meta, std::move(found));
  pb::ClusterInfoReply reply;
  wire::set(*reply.mutable_cluster(), context.cluster);
  reply.set_files(meta.files());
  reply.set_directories(meta.directories());
  reply.set_chunks(meta.chunks());
  reply.set_commands_applied(meta.commands_applied());
  reply.set_version(context.version);
  ServerTable& servers = context.group.servers();
  for (const ServerId server : servers.ids()) {
    pb::ServerInfo& info = *reply.add_servers();
    servers.describe(info, server, context.group.reactor().now());
    servers.describe_devices(info, server);
  }
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
