#include <fmt/core.h>

#include "base/log.h"
#include "master/ops/common.h"

// Who the members of a group are, by operators.
namespace pangu::master::ops {
namespace {

// A new member first gets the log as a learner, then it votes: a majority that counts on somebody
// who has nothing yet would stand still.
Task<Status> add_member(Context& context, raft::NodeId node, Instant deadline) {
  raft::Replica& replica = context.group.replica();
  raft::ConfigurationChange learner;
  learner.changes.push_back({raft::MemberChange::Kind::add_learner, node});
  auto added = co_await replica.change_members(learner, deadline);
  CO_TRY_VOID(std::move(added));
  const raft::Index goal = replica.commit_index();
  for (;;) {
    CO_TRY_VOID(context.group.check_leader());
    const auto& progress = replica.core()->progress();
    const auto found = progress.find(node);
    if (found != progress.end() && found->second.match() >= goal) {
      break;
    }
    if (context.group.reactor().now() >= deadline) {
      co_return Error(Code::kTimeout,
                      fmt::format("master {} is a learner of group {} and still behind; repeat "
                                  "this to go on",
                                  node.number, context.group.id().value()));
    }
    co_await sleep_for(milliseconds(20));
  }
  raft::ConfigurationChange voter;
  voter.changes.push_back({raft::MemberChange::Kind::add_voter, node});
  auto voting = co_await replica.change_members(voter, deadline);
  co_return voting;
}

Task<Status> remove_member(Context& context, raft::NodeId node, Instant deadline) {
  raft::ConfigurationChange change;
  change.changes.push_back({raft::MemberChange::Kind::remove, node});
  auto removed = co_await context.group.replica().change_members(change, deadline);
  co_return removed;
}

}  // namespace

Answer change_members(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::ChangeMembersRequest>(body));
  raft::Replica& replica = context.group.replica();
  const raft::NodeId add{request.add()};
  const raft::NodeId remove{request.remove()};
  if (add == raft::kNobody && remove == raft::kNobody) {
    co_return Error(Code::kInvalidArgument, "nobody to add or to remove");
  }
  if (add != raft::kNobody && !replica.configuration().is_voter(add)) {
    auto added = co_await add_member(context, add, deadline);
    CO_TRY_VOID(std::move(added));
  }
  if (remove != raft::kNobody && replica.configuration().is_member(remove)) {
    auto removed = co_await remove_member(context, remove, deadline);
    CO_TRY_VOID(std::move(removed));
  }
  pb::ChangeMembersReply reply;
  for (const raft::NodeId node : replica.configuration().members()) {
    reply.add_nodes(node.number);
  }
  LOG_INFO("group {} has the members {} now", context.group.id().value(),
           raft::to_string(replica.configuration()));
  co_return reply.SerializeAsString();
}

Answer transfer_leadership(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::TransferLeadershipRequest>(body));
  auto moved = co_await context.group.replica().transfer(raft::NodeId{request.node()}, deadline);
  CO_TRY_VOID(std::move(moved));
  co_return pb::TransferLeadershipReply().SerializeAsString();
}

}  // namespace pangu::master::ops
