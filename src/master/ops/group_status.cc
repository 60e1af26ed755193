#include "master/ops/common.h"

namespace pangu::master::ops {

Answer group_status(Context& context, std::string body, Instant) {
  CO_TRY_VOID(parse<pb::GroupStatusRequest>(body));
  Group& group = context.group;
  const raft::Replica& replica = group.replica();
  const record::Meta& meta = group.meta();
  pb::GroupStatus reply;
  pb::GroupInfo& info = *reply.mutable_info();
  info.set_group(group.id().value());
  info.set_kind(group.kind());
  info.set_index(meta.index());
  info.set_leader(replica.leader().number);
  for (const raft::NodeId node : replica.configuration().members()) {
    info.add_nodes(node.number);
  }
  reply.set_term(replica.term().number);
  reply.set_commit_index(replica.commit_index());
  reply.set_applied_index(group.applied_index());
  reply.set_commands_applied(meta.commands_applied());
  reply.set_files(group.kind() == pb::GROUP_NAMESPACE ? meta.files() : 0);
  reply.set_directories(meta.directories());
  reply.set_chunks(meta.chunks());
  reply.set_log_bytes(replica.stored_bytes());
  reply.set_missing_copies(meta.short_chunks());
  reply.set_waiting_messages(meta.messages());
  co_return reply.SerializeAsString();
}

}  // namespace pangu::master::ops
