#include <fmt/format.h>

#include "app/admin.h"
#include "app/command.h"
#include "app/exit_code.h"
#include "app/group_name.h"
#include "app/health.h"
#include "app/output.h"
#include "app/report.h"
#include "base/units.h"
#include "wire/proto.h"

namespace pangu::app {

namespace {
std::string_view state_text(pb::ServerState state) {
  switch (state) {
    case pb::SERVER_ALIVE:
      return "alive";
    case pb::SERVER_SUSPECT:
      return "silent";
    case pb::SERVER_DEAD:
      return "dead";
    default:
      return "unknown";
  }
}

struct Space {
  u64 capacity = 0;
  u64 free = 0;
  u64 chunks = 0;
};
Space space_of(const pb::ServerInfo& server) {
  Space sum;
  for (const pb::DeviceInfo& device : server.devices()) {
    sum.capacity += device.capacity_bytes();
    sum.free += device.failed() ? 0 : device.free_bytes();
    sum.chunks += device.chunks();
  }
  return sum;
}

std::string device_text(const pb::ServerInfo& server) {
  std::string out;
  for (const pb::DeviceInfo& device : server.devices()) {
    const char* trouble = device.failed() ? " FAILED" : device.full() ? " FULL" : "";
    out += fmt::format("{}{}{}", out.empty() ? "" : ", ", device.media(), trouble);
  }
  return out;
}

std::string leads_text(const pb::ClusterInfoReply& info, u64 node) {
  std::string out;
  for (const pb::GroupStatus& group : info.groups()) {
    if (group.info().leader() == node) {
      out += (out.empty() ? "" : " ") + group_name(group.info().group());
    }
  }
  return out.empty() ? "-" : out;
}

std::string masters_text(const pb::ClusterInfoReply& info) {
  Table table({">MASTER", "ADDRESS", "LEADS"});
  for (const pb::MasterNode& master : info.masters()) {
    table.add(
        {fmt::format("{}", master.node()), master.address(), leads_text(info, master.node())});
  }
  return table.empty() ? "" : table.text() + "\n";
}

std::string status_text(const pb::ClusterInfoReply& info, const HealthReport& report) {
  std::string out = fmt::format("{}\n", to_string(report.health));
  for (const std::string& reason : report.reasons) {
    out += fmt::format("  {}\n", reason);
  }
  Table table({">SERVER", "ADDRESS", "RACK", "STATE", ">HEARTBEAT", ">CHUNKS", ">FREE", ">CAPACITY",
               "DEVICES"});
  for (const pb::ServerInfo& server : info.servers()) {
    const Space space = space_of(server);
    const Duration age = milliseconds(static_cast<i64>(server.heartbeat_age_ms()));
    table.add({fmt::format("{}", server.server()), server.address(), server.rack(),
               std::string(state_text(server.state())), format_duration(age),
               fmt::format("{}", space.chunks), format_size(space.free),
               format_size(space.capacity), device_text(server)});
  }
  return fmt::format("{}\n{}{}\n{} files, {} directories, {} chunks; cluster {}, version {}\n", out,
                     masters_text(info), table.text(), info.files(), info.directories(),
                     info.chunks(), to_string(wire::get(info.cluster())), info.version());
}

void add_server(JsonWriter& json, const pb::ServerInfo& server) {
  json.begin_object().field("server", server.server()).field("address", server.address());
  json.field("rack", server.rack()).field("state", state_text(server.state()));
  json.field("heartbeat_age_ms", u64{server.heartbeat_age_ms()});
  json.key("devices").begin_array();
  for (const pb::DeviceInfo& device : server.devices()) {
    json.begin_object().field("device", to_string(wire::get(device.device())));
    json.field("media", device.media()).field("capacity_bytes", u64{device.capacity_bytes()});
    json.field("free_bytes", u64{device.free_bytes()}).field("chunks", u64{device.chunks()});
    json.field("failed", device.failed()).field("failure", device.failure());
    json.field("full", device.full()).end_object();
  }
  json.end_array().end_object();
}

std::string status_json(const pb::ClusterInfoReply& info, const HealthReport& report) {
  JsonWriter json;
  json.begin_object().field("health", to_string(report.health));
  json.key("reasons").begin_array();
  for (const std::string& reason : report.reasons) {
    json.value(reason);
  }
  json.end_array().field("cluster", to_string(wire::get(info.cluster())));
  json.field("version", info.version()).field("files", u64{info.files()});
  json.field("directories", u64{info.directories()}).field("chunks", u64{info.chunks()});
  json.key("masters").begin_array();
  for (const pb::MasterNode& master : info.masters()) {
    json.begin_object().field("node", u64{master.node()}).field("address", master.address());
    json.field("leads", leads_text(info, master.node())).end_object();
  }
  json.end_array().key("servers").begin_array();
  for (const pb::ServerInfo& server : info.servers()) {
    add_server(json, server);
  }
  return json.end_array().end_object().text();
}

Task<Result<pb::ClusterInfoReply>> ask(Admin& admin) {
  auto info = co_await admin.cluster_info();
  co_await admin.stop();
  co_return std::move(info);
}

Status run_status(Invocation& invocation) {
  TRY(world, World::create(invocation.config));
  TRY(admin, Admin::create(*world, invocation.config));
  TRY(info, world->run(ask(*admin)));
  const Config& config = invocation.config;
  const HealthReport report =
      judge(info, config.count("client.copies_max"), config.count("client.copies_min"));
  if (invocation.args.toggle("check") && report.health != Health::ok) {
    invocation.exit_code = kExitFailed;
  }
  return print(invocation.json() ? status_json(info, report) : status_text(info, report));
}

constexpr Flag kFlags[] = {
    {.name = "check", .help = "exit with 1 unless the cluster is OK: for probes"},
};
}  // namespace

extern const Command kStatus;
const Command kStatus = {
    .name = "status",
    .group = CommandGroup::cluster,
    .summary = "Health of a cluster, its servers and its space",
    .flags = kFlags,
    .details =
        "DEGRADED: everything works, with less to spare. FAILED: new data cannot be stored\n"
        "with enough copies. Each reason says what to do.",
    .examples = "pangu status\npangu status --cluster 10.0.0.1:7100 --json",
    .run = run_status,
};

}  // namespace pangu::app
