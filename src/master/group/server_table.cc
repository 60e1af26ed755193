#include "master/group/server_table.h"

#include <algorithm>

#include "base/hash.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

bool has_device(const record::Server& server, const pb::DeviceInfo& device) {
  for (const record::Device& known : server.devices()) {
    if (known.high() == device.device().high() && known.low() == device.device().low()) {
      return true;
    }
  }
  return false;
}

}  // namespace

void ServerTable::begin_again(Instant now) {
  began_ = now;
  for (auto& [id, known] : servers_) {
    known.heard = false;
    known.last_heard = now;
    known.devices.clear();
    known.order_cursor.clear();
  }
  rebuild();
}

void ServerTable::replace(const std::vector<record::Server>& servers, Instant now) {
  servers_.clear();
  rebuild();
  for (const record::Server& server : servers) {
    update(server, now);
  }
}

bool ServerTable::adopt(const pb::ServerTableReply& table, Instant now) {
  bool news = false;
  for (const pb::ServerInfo& info : table.servers()) {
    record::Server record;
    record.set_server(info.server());
    record.set_address(info.address());
    record.set_rack(info.rack());
    record.set_admin(static_cast<u32>(info.admin()));
    for (const pb::DeviceInfo& device : info.devices()) {
      record::Device& out = *record.add_devices();
      out.set_high(device.device().high());
      out.set_low(device.device().low());
      out.set_capacity_bytes(device.capacity_bytes());
      out.set_media(device.media());
    }
    const auto found = servers_.find(info.server());
    const bool same = found != servers_.end() && found->second.heard &&
                      found->second.record.SerializeAsString() == record.SerializeAsString();
    Known& known = servers_[info.server()];
    if (!same) {
      known.record = std::move(record);
      known.heard = true;
      news = true;
      rebuild();
    }
    const pb::ServerState before = state({info.server()}, now);
    heard({info.server()}, info.devices(), now);
    known.last_heard = now - milliseconds(static_cast<i64>(info.heartbeat_age_ms()));
    news = news || (before != pb::SERVER_ALIVE && state({info.server()}, now) == pb::SERVER_ALIVE);
  }
  return news;
}

pb::AdminState ServerTable::admin(ServerId server) const {
  const auto found = servers_.find(server.number);
  return found == servers_.end() ? pb::SERVER_IN_SERVICE
                                 : static_cast<pb::AdminState>(found->second.record.admin());
}

void ServerTable::update(const record::Server& server, Instant now) {
  auto [place, is_new] = servers_.try_emplace(server.server());
  Known& known = place->second;
  known.record = server;
  if (is_new) {
    known.last_heard = now;
  }
  rebuild();
}

void ServerTable::heard(ServerId server,
                        const google::protobuf::RepeatedPtrField<pb::DeviceInfo>& devices,
                        Instant now) {
  Known& known = servers_.at(server.number);
  known.last_heard = now;
  known.heard = true;
  known.devices.assign(devices.begin(), devices.end());
  for (PlacementServer& place : places_) {
    if (place.server != server) {
      continue;
    }
    place.usable.clear();
    for (const pb::DeviceInfo& device : known.devices) {
      // Only devices that the state knows: a location must be resolvable for ever.
      if (!device.failed() && !device.full() && has_device(known.record, device)) {
        place.usable.push_back({wire::get(device.device()), device.free_bytes()});
      }
    }
  }
}

// What a server reports counts; before it reports, what it registered.
void ServerTable::rebuild() {
  places_.clear();
  for (const auto& [id, known] : servers_) {
    PlacementServer& place = places_.emplace_back();
    place.server = {id};
    place.rack = known.record.rack();
    place.has_devices = !known.record.devices().empty();
    if (known.heard) {
      for (const pb::DeviceInfo& device : known.devices) {
        if (!device.failed() && !device.full() && has_device(known.record, device)) {
          place.usable.push_back({wire::get(device.device()), device.free_bytes()});
        }
      }
      continue;
    }
    for (const record::Device& device : known.record.devices()) {
      place.usable.push_back(
          {Uuid{.high = device.high(), .low = device.low()}, device.capacity_bytes()});
    }
  }
  placer_.servers_changed();
}

std::optional<record::UpdateServer> ServerTable::news(const pb::HeartbeatRequest& request) const {
  const record::Server& known = servers_.at(request.server()).record;
  record::UpdateServer update;
  update.mutable_server()->set_server(request.server());
  update.mutable_server()->set_address(request.address());
  for (const pb::DeviceInfo& device : request.devices()) {
    if (!has_device(known, device)) {
      record::Device& added = *update.mutable_server()->add_devices();
      added.set_high(device.device().high());
      added.set_low(device.device().low());
      added.set_capacity_bytes(device.capacity_bytes());
      added.set_media(device.media());
    }
  }
  const bool moved = !request.address().empty() && request.address() != known.address();
  if (!moved && update.server().devices().empty()) {
    return std::nullopt;
  }
  return update;
}

Duration ServerTable::silence(const Known& server, Instant now) const {
  return now - (server.heard ? server.last_heard : std::max(server.last_heard, began_));
}

pb::ServerState ServerTable::state(ServerId server, Instant now) const {
  const auto found = servers_.find(server.number);
  if (found == servers_.end()) {
    return pb::SERVER_STATE_UNKNOWN;
  }
  const Duration silent = silence(found->second, now);
  return silent > options_.dead_after      ? pb::SERVER_DEAD
         : silent > options_.suspect_after ? pb::SERVER_SUSPECT
                                           : pb::SERVER_ALIVE;
}

void ServerTable::describe(pb::ServerInfo& out, ServerId server, Instant now) const {
  out.set_server(server.number);
  const auto found = servers_.find(server.number);
  if (found == servers_.end()) {
    return;
  }
  const Known& known = found->second;
  out.set_address(known.record.address());
  out.set_rack(known.record.rack());
  out.set_state(state(server, now));
  out.set_admin(static_cast<pb::AdminState>(known.record.admin()));
  out.set_heartbeat_age_ms(static_cast<u64>(std::max<i64>(silence(known, now).ms(), 0)));
}

void ServerTable::describe_devices(pb::ServerInfo& out, ServerId server) const {
  const Known& known = servers_.at(server.number);
  if (known.heard) {
    for (const pb::DeviceInfo& device : known.devices) {
      *out.add_devices() = device;
    }
    return;
  }
  for (const record::Device& device : known.record.devices()) {
    pb::DeviceInfo& info = *out.add_devices();
    info.mutable_device()->set_high(device.high());
    info.mutable_device()->set_low(device.low());
    info.set_capacity_bytes(device.capacity_bytes());
    info.set_media(device.media());
  }
}

std::vector<ServerId> ServerTable::ids() const {
  std::vector<ServerId> ids;
  for (const auto& [id, known] : servers_) {
    ids.push_back({id});
  }
  return ids;
}

record::Offer ServerTable::offer(u32 count, PlacementRequest request, Instant now) {
  for (PlacementServer& place : places_) {
    const Known& known = servers_.at(place.server.number);
    place.alive = state(place.server, now) == pb::SERVER_ALIVE &&
                  !known.record.address().empty() &&
                  known.record.admin() == static_cast<u32>(pb::SERVER_IN_SERVICE);
    place.doubtful = !known.heard;
  }
  record::Offer offer;
  for (u32 i = 0; i < count; ++i) {
    auto layout = placer_.place(places_, request);
    if (!layout.ok()) {
      offer.clear_layouts();
      offer.set_error(static_cast<u32>(layout.code()));
      offer.set_error_text(std::string(layout.error().context()));
      break;
    }
    *offer.add_layouts() = std::move(*layout);
    request.seed = hash64(request.seed);
  }
  return offer;
}

}  // namespace pangu::master
