#include <fmt/format.h>

#include "app/admin_command.h"
#include "app/group_name.h"
#include "app/output.h"
#include "app/report.h"
#include "app/settings.h"
#include "wire/partition.h"

// The master processes of a cluster.
namespace pangu::app {
namespace {

std::string groups_of(const pb::PartitionMap& map, u64 node, bool led) {
  std::string out;
  for (const pb::GroupInfo& group : map.groups()) {
    const bool member = std::find(group.nodes().begin(), group.nodes().end(), node) !=
                        group.nodes().end();
    if (led ? group.leader() == node : member) {
      out += (out.empty() ? "" : " ") + group_name(group.group());
    }
  }
  return out.empty() ? "-" : out;
}

Task<Status> list(AdminSession session) {
  auto fetched = co_await session.admin.partition_map();
  CO_TRY(map, std::move(fetched));
  if (session.invocation.json()) {
    JsonWriter json;
    json.begin_object().key("masters").begin_array();
    for (const pb::MasterNode& master : map.masters()) {
      json.begin_object().field("node", u64{master.node()}).field("address", master.address());
      json.field("groups", groups_of(map, master.node(), false));
      json.field("leads", groups_of(map, master.node(), true)).end_object();
    }
    co_return print(json.end_array().end_object().text());
  }
  Table table({">MASTER", "ADDRESS", "GROUPS", "LEADS"});
  for (const pb::MasterNode& master : map.masters()) {
    table.add({fmt::format("{}", master.node()), master.address(),
               groups_of(map, master.node(), false), groups_of(map, master.node(), true)});
  }
  co_return print(table.text());
}
Status run_list(Invocation& invocation) { return run_with_admin(invocation, list); }

Result<u64> node_argument(const AdminSession& session) {
  auto node = parse_count(session.args().arguments()[0]);
  if (!node.ok() || *node == 0) {
    return Error(Code::kInvalidArgument, fmt::format("'{}' is no master's number",
                                                     session.args().arguments()[0]));
  }
  return *node;
}

Task<Status> add(AdminSession session) {
  CO_TRY(node, node_argument(session));
  CO_TRY(address, addresses(session.args().arguments()[1]));
  pb::ChangeMapRequest request;
  request.mutable_add_master()->set_node(node);
  request.mutable_add_master()->set_address(env::to_string(address.front()));
  auto changed = co_await session.admin.change_group<pb::ChangeMapReply>(
      wire::kRootGroup, wire::Method::change_map, request);
  CO_TRY_VOID(std::move(changed));
  co_return print(fmt::format("master {} at {} belongs to the cluster; give it groups with `pangu "
                              "admin partition move`\n",
                              node, env::to_string(address.front())));
}
Status run_add(Invocation& invocation) { return run_with_admin(invocation, add); }

Task<Status> remove(AdminSession session) {
  CO_TRY(node, node_argument(session));
  auto fetched = co_await session.admin.partition_map();
  CO_TRY(map, std::move(fetched));
  const std::string held = groups_of(map, node, false);
  if (held != "-") {
    co_return Error(Code::kNotEmpty,
                    fmt::format("master {} has members of {}; move them away first, with `pangu "
                                "admin partition move`",
                                node, held));
  }
  pb::ChangeMapRequest request;
  request.set_remove_master(node);
  auto changed = co_await session.admin.change_group<pb::ChangeMapReply>(
      wire::kRootGroup, wire::Method::change_map, request);
  CO_TRY_VOID(std::move(changed));
  co_return print(fmt::format("master {} does not belong to the cluster any more\n", node));
}
Status run_remove(Invocation& invocation) { return run_with_admin(invocation, remove); }
}  // namespace

extern const Command kAdminMemberList;
const Command kAdminMemberList = {
    .name = "admin member list",
    .group = CommandGroup::cluster,
    .summary = "Lists the masters and what each holds and leads",
    .examples = "pangu admin member list",
    .run = run_list,
};

extern const Command kAdminMemberAdd;
const Command kAdminMemberAdd = {
    .name = "admin member add",
    .group = CommandGroup::cluster,
    .summary = "Tells the cluster of a master that was made with `pangu master --init --join`",
    .arguments = "NODE HOST:PORT",
    .arguments_min = 2,
    .arguments_max = 2,
    .examples = "pangu admin member add 4 10.0.0.4:7100",
    .run = run_add,
};

extern const Command kAdminMemberRemove;
const Command kAdminMemberRemove = {
    .name = "admin member remove",
    .group = CommandGroup::cluster,
    .summary = "Strikes a master that holds no group off the cluster",
    .arguments = "NODE",
    .arguments_min = 1,
    .arguments_max = 1,
    .examples = "pangu admin member remove 2",
    .run = run_remove,
};

}  // namespace pangu::app
