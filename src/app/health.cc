#include "app/health.h"

#include <fmt/format.h>

#include "app/group_name.h"
#include "base/time.h"
#include "base/units.h"
#include "wire/proto.h"

namespace pangu::app {

namespace {
std::string name_of(const pb::ServerInfo& server) {
  return fmt::format("server {} ({}, {})", server.server(), server.address(), server.rack());
}
std::string silence(const pb::ServerInfo& server) {
  return format_duration(milliseconds(static_cast<i64>(server.heartbeat_age_ms())));
}

// Adds what is wrong with one server; returns whether it can take new chunks.
bool judge_server(const pb::ServerInfo& server, HealthReport& report) {
  if (server.state() == pb::SERVER_DEAD) {
    report.reasons.push_back(
        fmt::format("{} is dead: no heartbeat for {}; start it again, its data is used at once",
                    name_of(server), silence(server)));
    return false;
  }
  if (server.state() == pb::SERVER_SUSPECT) {
    report.reasons.push_back(
        fmt::format("{} is silent: no heartbeat for {}; look at its process and its network",
                    name_of(server), silence(server)));
    return false;
  }
  bool usable = false;
  for (const pb::DeviceInfo& device : server.devices()) {
    const std::string place =
        fmt::format("{}, device {}", name_of(server), to_string(wire::get(device.device())));
    if (device.failed()) {
      report.reasons.push_back(fmt::format(
          "{} failed: {}; replace it, its chunks are on other servers", place,
          device.failure().empty() ? "a write or flush was refused" : device.failure()));
    } else if (device.full()) {
      report.reasons.push_back(
          fmt::format("{} is full ({} of {} free); remove files or add a device", place,
                      format_size(device.free_bytes()), format_size(device.capacity_bytes())));
    } else {
      usable = true;
    }
  }
  if (server.devices_size() == 0) {
    report.reasons.push_back(fmt::format("{} offers no device", name_of(server)));
  }
  return usable;
}
}  // namespace

std::string_view to_string(Health health) {
  switch (health) {
    case Health::ok:
      return "OK";
    case Health::degraded:
      return "DEGRADED";
    case Health::failed:
      return "FAILED";
  }
  return "?";
}

HealthReport judge(const pb::ClusterInfoReply& info, u64 copies_max, u64 copies_min) {
  HealthReport report;
  bool leaderless = false;
  for (const pb::GroupStatus& group : info.groups()) {
    if (group.info().leader() == 0) {
      leaderless = true;
      report.reasons.push_back(
          fmt::format("group {} has no leader: {} of its masters must run and reach each other",
                      group_name(group.info().group()), group.info().nodes_size() / 2 + 1));
    } else if (group.missing_copies() > 0) {
      report.reasons.push_back(fmt::format(
          "{} chunks of group {} have fewer good copies than they should; they are being copied",
          group.missing_copies(), group_name(group.info().group())));
    }
  }
  u64 usable = 0;
  for (const pb::ServerInfo& server : info.servers()) {
    usable += judge_server(server, report) ? 1 : 0;
  }
  if (usable < copies_max) {
    report.reasons.push_back(
        fmt::format("{} chunkservers can take new chunks, {} copies are wanted ({} at least); "
                    "start more chunkservers",
                    usable, copies_max, copies_min));
  }
  if (!report.reasons.empty()) {
    report.health = usable < copies_min || leaderless ? Health::failed : Health::degraded;
  }
  return report;
}

}  // namespace pangu::app
