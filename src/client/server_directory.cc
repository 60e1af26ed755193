#include "client/server_directory.h"

#include <algorithm>

#include "base/log.h"

namespace pangu::client {

void ServerDirectory::learn(const pb::ServerInfo& info) {
  auto address = env::parse_address(info.address());
  if (!address.ok()) {
    LOG_WARN("server {}: the master gives the address '{}': {}", info.server(), info.address(),
             address.error().message());
    return;
  }
  Server& server = servers_[ServerId{info.server()}];
  if (server.address != *address) {
    server = Server{.address = *address};
  }
}

std::optional<env::Address> ServerDirectory::address(ServerId server) const {
  const auto found = servers_.find(server);
  if (found == servers_.end()) {
    return std::nullopt;
  }
  return found->second.address;
}

void ServerDirectory::note_failure(ServerId server, Instant now) {
  const auto found = servers_.find(server);
  if (found == servers_.end()) {
    return;
  }
  ++found->second.failures_in_a_row;
  found->second.suspect_until = now + suspect_time_;
}

void ServerDirectory::note_success(ServerId server, Duration took) {
  const auto found = servers_.find(server);
  if (found == servers_.end()) {
    return;
  }
  Server& entry = found->second;
  entry.failures_in_a_row = 0;
  entry.suspect_until = Instant{};
  entry.smoothed_ns = entry.smoothed_ns == 0 ? took.ns : (entry.smoothed_ns * 7 + took.ns) / 8;
}

bool ServerDirectory::is_suspect(ServerId server, Instant now) const {
  const auto found = servers_.find(server);
  return found != servers_.end() && found->second.failures_in_a_row > 0 &&
         now < found->second.suspect_until;
}

std::vector<ServerId> ServerDirectory::suspects(Instant now) const {
  std::vector<ServerId> out;
  for (const auto& [id, server] : servers_) {
    if (is_suspect(id, now)) {
      out.push_back(id);
    }
  }
  return out;
}

i64 ServerDirectory::read_cost(ServerId server, Instant now) const {
  const auto found = servers_.find(server);
  if (found == servers_.end()) {
    return milliseconds(10).ns;
  }
  const Server& entry = found->second;
  i64 cost = entry.smoothed_ns;
  if (is_suspect(server, now)) {
    cost += seconds(1).ns * std::min<i64>(entry.failures_in_a_row, 16);
  }
  return cost;
}

}  // namespace pangu::client
