#include "master/ops/common.h"
#include "wire/proto.h"

namespace pangu::master::ops {
namespace {

// A group that has no leader at this moment is shown without its counts.
constexpr Duration kPatience = milliseconds(500);

}  // namespace

Answer cluster_info(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<pb::ClusterInfoRequest>(body));
  Reactor& reactor = context.group.reactor();
  pb::ClusterInfoReply reply;
  wire::set(*reply.mutable_cluster(), context.cluster);
  reply.set_version(context.version);
  *reply.mutable_masters() = context.map.get().masters();
  const pb::PartitionMap map = context.map.get();
  for (const pb::GroupInfo& group : map.groups()) {
    auto status = co_await context.calls.ask<pb::GroupStatus>(
        group.group(), wire::Method::group_status, pb::GroupStatusRequest(),
        std::min(deadline, reactor.now() + kPatience));
    pb::GroupStatus& out = *reply.add_groups();
    if (!status.ok()) {
      *out.mutable_info() = group;
      continue;
    }
    out = std::move(*status);
    reply.set_files(reply.files() + out.files());
    reply.set_directories(reply.directories() + out.directories());
    reply.set_chunks(reply.chunks() + out.chunks());
    reply.set_commands_applied(reply.commands_applied() + out.commands_applied());
  }
  const ServerTable& servers = context.group.servers();
  for (const ServerId server : servers.ids()) {
    pb::ServerInfo& info = *reply.add_servers();
    servers.describe(info, server, reactor.now());
    servers.describe_devices(info, server);
  }
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
