#include <algorithm>
#include <fmt/format.h>

#include "app/admin_command.h"
#include "app/group_name.h"
#include "app/output.h"
#include "app/report.h"
#include "base/units.h"
#include "wire/partition.h"

// Where the masters' groups stand, and how they are moved.
namespace pangu::app {
namespace {

const pb::MasterNode* master_of(const pb::PartitionMap& map, u64 node) {
  for (const pb::MasterNode& master : map.masters()) {
    if (master.node() == node) {
      return &master;
    }
  }
  return nullptr;
}

Result<pb::MasterNode> required_master(const pb::PartitionMap& map, u64 node) {
  const pb::MasterNode* const found = master_of(map, node);
  if (found == nullptr) {
    return Error(Code::kNotFound,
                 fmt::format("the cluster has no master {}; `pangu admin member list` shows them, "
                             "`pangu admin member add` adds one",
                             node));
  }
  return *found;
}

const pb::GroupInfo* group_of(const pb::PartitionMap& map, u64 group) {
  for (const pb::GroupInfo& info : map.groups()) {
    if (info.group() == group) {
      return &info;
    }
  }
  return nullptr;
}

std::string nodes_text(const pb::GroupInfo& info) {
  std::string out;
  for (const u64 node : info.nodes()) {
    out += fmt::format("{}{}", out.empty() ? "" : " ", node);
  }
  return out;
}

std::string list_text(const pb::ClusterInfoReply& info) {
  Table table({"GROUP", ">LEADER", "MEMBERS", ">TERM", ">APPLIED", ">FILES", ">DIRECTORIES",
               ">CHUNKS", ">LOG", ">SHORT", ">WAITING"});
  for (const pb::GroupStatus& group : info.groups()) {
    const u64 leader = group.info().leader();
    table.add({group_name(group.info().group()), leader == 0 ? "none" : fmt::format("{}", leader),
               nodes_text(group.info()), fmt::format("{}", group.term()),
               fmt::format("{}", group.applied_index()), fmt::format("{}", group.files()),
               fmt::format("{}", group.directories()), fmt::format("{}", group.chunks()),
               format_size(group.log_bytes()), fmt::format("{}", group.missing_copies()),
               fmt::format("{}", group.waiting_messages())});
  }
  return table.text();
}

std::string list_json(const pb::ClusterInfoReply& info) {
  JsonWriter json;
  json.begin_object().key("groups").begin_array();
  for (const pb::GroupStatus& group : info.groups()) {
    json.begin_object().field("name", group_name(group.info().group()));
    json.field("group", u64{group.info().group()}).field("leader", u64{group.info().leader()});
    json.key("members").begin_array();
    for (const u64 node : group.info().nodes()) {
      json.value(u64{node});
    }
    json.end_array().field("term", u64{group.term()});
    json.field("commit_index", u64{group.commit_index()});
    json.field("applied_index", u64{group.applied_index()});
    json.field("files", u64{group.files()}).field("directories", u64{group.directories()});
    json.field("chunks", u64{group.chunks()}).field("log_bytes", u64{group.log_bytes()});
    json.field("missing_copies", u64{group.missing_copies()});
    json.field("waiting_messages", u64{group.waiting_messages()}).end_object();
  }
  return json.end_array().end_object().text();
}

Task<Status> list(AdminSession session) {
  auto info = co_await session.admin.cluster_info();
  if (!info.ok()) {
    co_return std::move(info).error();
  }
  co_return print(session.invocation.json() ? list_json(*info) : list_text(*info));
}
Status run_list(Invocation& invocation) { return run_with_admin(invocation, list); }

// Each step may be repeated: a move that was interrupted is finished by the same command.
Task<Status> move(AdminSession session) {
  Admin& admin = session.admin;
  CO_TRY(group, parse_group_name(session.args().arguments()[0]));
  auto fetched = co_await admin.partition_map();
  CO_TRY(map, std::move(fetched));
  CO_TRY(from, required_master(map, session.args().count("from")));
  CO_TRY(to, required_master(map, session.args().count("to")));
  const pb::GroupInfo* const info = group_of(map, group);
  if (info == nullptr) {
    co_return Error(Code::kNotFound, fmt::format("the cluster has no group {}",
                                                 session.args().arguments()[0]));
  }
  pb::HostGroupRequest host;
  host.set_group(group);
  host.set_kind(info->kind());
  host.set_index(info->index());
  *host.mutable_masters() = map.masters();
  auto hosted = co_await admin.ask_master<pb::HostGroupReply>(to.address(),
                                                              wire::Method::host_group, host);
  CO_TRY_VOID(std::move(hosted));
  pb::ChangeMembersRequest change;
  change.set_add(to.node());
  change.set_remove(from.node());
  auto changed = co_await admin.ask_group<pb::ChangeMembersReply>(
      group, wire::Method::change_members, change);
  CO_TRY(members, std::move(changed));
  pb::ChangeMapRequest update;
  update.mutable_set_members()->set_group(group);
  *update.mutable_set_members()->mutable_nodes() = members.nodes();
  auto updated = co_await admin.change_group<pb::ChangeMapReply>(
      wire::kRootGroup, wire::Method::change_map, update);
  CO_TRY_VOID(std::move(updated));
  host.set_drop(true);
  auto dropped = co_await admin.ask_master<pb::HostGroupReply>(from.address(),
                                                               wire::Method::host_group, host);
  if (!dropped.ok()) {
    co_return std::move(dropped).error().within(
        fmt::format("the group is moved, but master {} still keeps its old copy; repeat the "
                    "command once it runs",
                    from.node()));
  }
  co_return print(fmt::format("{} moved from master {} to master {}\n",
                              session.args().arguments()[0], from.node(), to.node()));
}
Status run_move(Invocation& invocation) { return run_with_admin(invocation, move); }

Task<Status> lead(AdminSession session) {
  CO_TRY(group, parse_group_name(session.args().arguments()[0]));
  pb::TransferLeadershipRequest request;
  request.set_node(session.args().count("to"));
  auto moved = co_await session.admin.ask_group<pb::TransferLeadershipReply>(
      group, wire::Method::transfer_leadership, request);
  CO_TRY_VOID(std::move(moved));
  co_return print(fmt::format("master {} leads {} now\n", session.args().count("to"),
                              session.args().arguments()[0]));
}
Status run_lead(Invocation& invocation) { return run_with_admin(invocation, lead); }

constexpr Flag kMoveFlags[] = {
    {.name = "from", .kind = ValueKind::count, .value_name = "NODE",
     .help = "the master that gives it up", .fallback = "0"},
    {.name = "to", .kind = ValueKind::count, .value_name = "NODE",
     .help = "the master that takes it", .fallback = "0"},
};
constexpr Flag kLeadFlags[] = {
    {.name = "to", .kind = ValueKind::count, .value_name = "NODE",
     .help = "the master that shall lead it", .fallback = "0"},
};
}  // namespace

extern const Command kAdminPartitionList;
const Command kAdminPartitionList = {
    .name = "admin partition list",
    .group = CommandGroup::cluster,
    .summary = "Lists the masters' groups: who leads, who is a member, how much is in them",
    .details = "SHORT: settled chunks with fewer good copies than they should have. WAITING:\n"
               "messages to other groups that are not delivered yet.",
    .examples = "pangu admin partition list",
    .run = run_list,
};

extern const Command kAdminPartitionMove;
const Command kAdminPartitionMove = {
    .name = "admin partition move",
    .group = CommandGroup::cluster,
    .summary = "Moves a group's copy from one master to another while it works",
    .arguments = "GROUP",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kMoveFlags,
    .details = "The new member gets the state, then it votes, then the old one is removed. An\n"
               "interrupted move is finished by giving the same command again.",
    .examples = "pangu admin partition move names-0 --from 1 --to 4",
    .run = run_move,
};

extern const Command kAdminPartitionLead;
const Command kAdminPartitionLead = {
    .name = "admin partition lead",
    .group = CommandGroup::cluster,
    .summary = "Hands the leadership of a group to another of its members",
    .arguments = "GROUP",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kLeadFlags,
    .details = "Some seconds later leaders are spread again as the order of the groups asks.",
    .examples = "pangu admin partition lead root --to 2",
    .run = run_lead,
};

}  // namespace pangu::app
