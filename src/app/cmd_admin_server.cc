#include <fmt/format.h>

#include "app/admin_command.h"
#include "app/output.h"
#include "app/report.h"
#include "app/value.h"
#include "base/units.h"
#include "wire/partition.h"

// The chunkservers of a cluster.
namespace pangu::app {
namespace {

std::string_view state_text(const pb::ServerInfo& server) {
  switch (server.admin()) {
    case pb::SERVER_DRAINING:
      return server.state() == pb::SERVER_ALIVE ? "draining" : "draining, silent";
    case pb::SERVER_REMOVED:
      return "removed";
    default:
      return server.state() == pb::SERVER_ALIVE     ? "alive"
             : server.state() == pb::SERVER_SUSPECT ? "silent"
             : server.state() == pb::SERVER_DEAD    ? "dead"
                                                    : "unknown";
  }
}

Task<Status> list(AdminSession session) {
  auto info = co_await session.admin.cluster_info();
  if (!info.ok()) {
    co_return std::move(info).error();
  }
  JsonWriter json;
  Table table({">SERVER", "ADDRESS", "RACK", "STATE", ">CHUNKS", ">FREE", ">CAPACITY"});
  json.begin_object().key("servers").begin_array();
  for (const pb::ServerInfo& server : info->servers()) {
    u64 chunks = 0;
    u64 free = 0;
    u64 capacity = 0;
    for (const pb::DeviceInfo& device : server.devices()) {
      chunks += device.chunks();
      free += device.free_bytes();
      capacity += device.capacity_bytes();
    }
    table.add({fmt::format("{}", server.server()), server.address(), server.rack(),
               std::string(state_text(server)), fmt::format("{}", chunks), format_size(free),
               format_size(capacity)});
    json.begin_object().field("server", server.server()).field("address", server.address());
    json.field("rack", server.rack()).field("state", state_text(server));
    json.field("chunks", chunks).field("free_bytes", free).field("capacity_bytes", capacity);
    json.end_object();
  }
  json.end_array().end_object();
  co_return print(session.invocation.json() ? json.text() : table.text());
}
Status run_list(Invocation& invocation) { return run_with_admin(invocation, list); }

Task<Status> set_state(AdminSession session, pb::AdminState state) {
  const std::string& word = session.args().arguments()[0];
  auto number = parse_count(word);
  if (!number.ok() || *number == 0 || *number > ~u32{0}) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("'{}' is no server's number; `pangu admin server list` shows them",
                                word));
  }
  pb::SetServerStateRequest request;
  request.set_server(static_cast<u32>(*number));
  request.set_state(state);
  auto changed = co_await session.admin.change_group<pb::SetServerStateReply>(
      wire::kRootGroup, wire::Method::set_server_state, request);
  if (!changed.ok()) {
    co_return std::move(changed).error();
  }
  co_return print(fmt::format(
      "server {} is {} now\n", word,
      state == pb::SERVER_DRAINING  ? "draining: its chunks go to others, watch `pangu admin "
                                      "server list`"
      : state == pb::SERVER_REMOVED ? "removed: what it held is copied from others"
                                    : "in service"));
}
Task<Status> drain(AdminSession session) { return set_state(session, pb::SERVER_DRAINING); }
Task<Status> undrain(AdminSession session) { return set_state(session, pb::SERVER_IN_SERVICE); }
Task<Status> remove(AdminSession session) { return set_state(session, pb::SERVER_REMOVED); }
Status run_drain(Invocation& invocation) { return run_with_admin(invocation, drain); }
Status run_undrain(Invocation& invocation) { return run_with_admin(invocation, undrain); }
Status run_remove(Invocation& invocation) { return run_with_admin(invocation, remove); }
}  // namespace

extern const Command kAdminServerList;
const Command kAdminServerList = {
    .name = "admin server list",
    .group = CommandGroup::cluster,
    .summary = "Lists the chunkservers, how they stand and what they hold",
    .examples = "pangu admin server list",
    .run = run_list,
};

extern const Command kAdminServerDrain;
const Command kAdminServerDrain = {
    .name = "admin server drain",
    .group = CommandGroup::cluster,
    .summary = "Empties a chunkserver: no new chunks, its settled ones go to others",
    .arguments = "SERVER",
    .arguments_min = 1,
    .arguments_max = 1,
    .details = "It goes on serving what it still has. When it holds no chunks it can be stopped\n"
               "and removed.",
    .examples = "pangu admin server drain 3",
    .run = run_drain,
};

extern const Command kAdminServerUndrain;
const Command kAdminServerUndrain = {
    .name = "admin server undrain",
    .group = CommandGroup::cluster,
    .summary = "Takes a draining chunkserver back into service",
    .arguments = "SERVER",
    .arguments_min = 1,
    .arguments_max = 1,
    .examples = "pangu admin server undrain 3",
    .run = run_undrain,
};

extern const Command kAdminServerRemove;
const Command kAdminServerRemove = {
    .name = "admin server remove",
    .group = CommandGroup::cluster,
    .summary = "Gives a chunkserver up for good: what it held counts as lost and is copied anew",
    .arguments = "SERVER",
    .arguments_min = 1,
    .arguments_max = 1,
    .examples = "pangu admin server remove 3",
    .run = run_remove,
};

}  // namespace pangu::app
