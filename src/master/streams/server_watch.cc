#include "master/streams/server_watch.h"

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/reached.h"
#include "wire/proto.h"

namespace pangu::master {

const WatchedDevice* WatchedServer::find(const Uuid& device) const {
  for (const WatchedDevice& each : devices) {
    if (each.device == device) {
      return &each;
    }
  }
  return nullptr;
}

void ServerWatch::update(const std::vector<pb::ServerInfo>& servers, Instant now) {
  for (const pb::ServerInfo& info : servers) {
    const auto [place, is_new] = servers_.try_emplace(info.server());
    WatchedServer& known = place->second;
    const bool returned = !is_new && known.state != pb::SERVER_ALIVE &&
                          info.state() == pb::SERVER_ALIVE;
    const bool moved = !is_new && known.address != info.address();
    std::vector<WatchedDevice> devices;
    bool same = known.devices.size() == static_cast<size_t>(info.devices_size());
    for (const pb::DeviceInfo& device : info.devices()) {
      WatchedDevice& next = devices.emplace_back();
      next.device = wire::get(device.device());
      next.free_bytes = device.free_bytes();
      next.chunks = device.chunks();
      next.failed = device.failed();
      next.full = device.full();
      const WatchedDevice* const before = known.find(next.device);
      same = same && before != nullptr;
      const bool appears = before == nullptr || returned || moved;
      next.appeared = appears ? ++appearances_ : before->appeared;
    }
    if (is_new || returned || moved || !same) {
      known.devices_since = now;
    }
    known.server = {info.server()};
    known.address = info.address();
    known.rack = info.rack();
    known.state = info.state();
    known.admin = info.admin();
    known.devices = std::move(devices);
  }
  watch_racks(now);
}

void ServerWatch::watch_racks(Instant now) {
  struct Rack {
    u32 servers = 0;
    u32 alive = 0;
    u32 dead = 0;
  };
  std::map<std::string, Rack> racks;
  for (const auto& [id, server] : servers_) {
    if (server.admin == pb::SERVER_REMOVED || server.address.empty()) {
      continue;
    }
    Rack& rack = racks[server.rack];
    ++rack.servers;
    rack.alive += server.state == pb::SERVER_ALIVE ? 1 : 0;
    rack.dead += server.state == pb::SERVER_DEAD ? 1 : 0;
  }
  std::map<std::string, Instant> down;
  for (const auto& [name, rack] : racks) {
    if (rack.servers > 1 && rack.alive == 0 && rack.dead > 0) {
      const auto before = rack_down_since_.find(name);
      if (before == rack_down_since_.end()) {
        REACHED("repair: a rack is down as a whole");
        LOG_WARN("rack '{}': none of its {} servers is heard; repair waits for it for {} s", name,
                 rack.servers, options_.rack_grace.seconds());
      }
      down[name] = before == rack_down_since_.end() ? now : before->second;
    }
  }
  rack_down_since_ = std::move(down);
}

bool ServerWatch::rack_waits(const std::string& rack, Instant now) const {
  const auto down = rack_down_since_.find(rack);
  return down != rack_down_since_.end() && now - down->second < options_.rack_grace;
}

const WatchedServer* ServerWatch::find(ServerId server) const {
  const auto found = servers_.find(server.number);
  return found == servers_.end() ? nullptr : &found->second;
}

Place ServerWatch::place(const Location& location, Instant now) const {
  const WatchedServer* const server = find(location.server);
  if (server == nullptr) {
    return Place::silent;
  }
  if (server->admin == pb::SERVER_REMOVED) {
    return Place::gone;
  }
  if (server->state == pb::SERVER_DEAD) {
    return rack_waits(server->rack, now) ? Place::waiting : Place::lost;
  }
  const WatchedDevice* const device = server->find(location.device);
  if (device != nullptr && device->failed) {
    return Place::gone;
  }
  if (server->state != pb::SERVER_ALIVE) {
    return Place::silent;
  }
  if (device == nullptr) {
    return devices_settled(*server, now) ? Place::gone : Place::silent;
  }
  return server->admin == pb::SERVER_DRAINING ? Place::draining : Place::good;
}

u64 ServerWatch::signature(Instant now) const {
  u64 out = rack_down_since_.size();
  for (const auto& [rack, since] : rack_down_since_) {
    out = hash_combine(out, rack_waits(rack, now) ? 1 : 0);
  }
  for (const auto& [id, server] : servers_) {
    out = hash_combine(out, u64{id} << 32 | static_cast<u64>(server.state) << 8 |
                                static_cast<u64>(server.admin));
    for (const WatchedDevice& device : server.devices) {
      const u64 flags = (device.failed ? 1u : 0u) | (device.full ? 2u : 0u);
      out = hash_combine(out, device.device.low ^ device.device.high ^ flags);
    }
  }
  return out;
}

ServerWatch::Leaving ServerWatch::leaving() const {
  Leaving out;
  for (const auto& [id, server] : servers_) {
    // Also where a whole rack is waited for: some chunks may have too few other copies.
    if (server.admin != pb::SERVER_IN_SERVICE || server.state == pb::SERVER_DEAD) {
      out.servers.push_back(server.server);
      continue;
    }
    for (const WatchedDevice& device : server.devices) {
      if (device.failed) {
        out.devices.push_back({.server = server.server, .device = device.device});
      }
    }
  }
  return out;
}

}  // namespace pangu::master
