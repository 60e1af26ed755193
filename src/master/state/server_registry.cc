#include "master/state/server_registry.h"

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/limits.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

Status check_texts(const std::string& address, const std::string& rack) {
  if (address.size() > kAddressBytesMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a server's address has at most {} bytes, not {}", kAddressBytesMax,
                             address.size()));
  }
  if (rack.size() > kRackBytesMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("a rack's name has at most {} bytes, not {}", kRackBytesMax,
                             rack.size()));
  }
  return ok_status();
}

// Adds `wanted` to the server's devices, or brings what is known of it up to date.
Status add_device(Txn& txn, record::Server& server, const record::Device& wanted) {
  const Uuid device{.high = wanted.high(), .low = wanted.low()};
  if (device.is_zero()) {
    return Error(Code::kInvalidArgument, "a device has no uuid");
  }
  for (record::Device& known : *server.mutable_devices()) {
    if (known.high() == device.high && known.low() == device.low) {
      known = wanted;
      return ok_status();
    }
  }
  if (const auto owner = txn.get(keys::device(device))) {
    return Error(Code::kInvalidArgument,
                 fmt::format("device {} belongs to server {}; a disk cannot move to server {} with "
                             "its data: format it anew",
                             to_string(device), keys::decode_u32(*owner), server.server()));
  }
  if (server.devices_size() >= kDevicesMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("server {} would have more than {} devices", server.server(),
                             kDevicesMax));
  }
  *server.add_devices() = wanted;
  txn.put(keys::device(device), keys::encode_u32(server.server()));
  return ok_status();
}

record::Device recorded(const pb::DeviceInfo& info) {
  record::Device device;
  device.set_high(info.device().high());
  device.set_low(info.device().low());
  device.set_capacity_bytes(info.capacity_bytes());
  device.set_media(info.media());
  return device;
}

Status check_not_removed(const record::Server& server) {
  if (server.admin() == static_cast<u32>(pb::SERVER_REMOVED)) {
    REACHED("master: a removed server came back");
    return Error(Code::kPermission,
                 fmt::format("server {} was removed from the cluster for good: what it holds does "
                             "not count any more. To use the machine again, format its devices and "
                             "let it join with a new data folder",
                             server.server()));
  }
  return ok_status();
}

// The server with this identity; made if it is new.
Result<record::Server> find_or_add(Txn& txn, const Uuid& identity, u32 claimed) {
  record::Server server;
  record::Meta& meta = txn.meta();
  if (const auto known = txn.get(keys::identity(identity))) {
    const ServerId id{keys::decode_u32(*known)};
    if (claimed != 0 && claimed != id.number) {
      return Error(Code::kInvalidArgument,
                   fmt::format("server {} says it is server {}: its identity file was changed",
                               id.number, claimed));
    }
    txn.get(keys::server(id), server);
    return server;
  }
  if (claimed != 0) {
    REACHED("master: a server that this master never registered");
    return Error(Code::kNotFound,
                 fmt::format("server {} with identity {} is not registered here: it belongs to "
                             "another cluster, or this master lost its data",
                             claimed, to_string(identity)));
  }
  const ServerId id{meta.next_server()};
  meta.set_next_server(id.number + 1);
  server.set_server(id.number);
  server.set_identity_high(identity.high);
  server.set_identity_low(identity.low);
  txn.put(keys::identity(identity), keys::encode_u32(id.number));
  return server;
}

}  // namespace

Result<pb::RegisterServerReply> register_server(Txn& txn,
                                                const pb::RegisterServerRequest& request) {
  TRY_VOID(check_texts(request.address(), request.rack()));
  const Uuid identity = wire::get(request.identity());
  if (identity.is_zero()) {
    return Error(Code::kInvalidArgument, "a server registers with the identity of its data folder");
  }
  TRY(server, find_or_add(txn, identity, request.server()));
  TRY_VOID(check_not_removed(server));
  // A server that joins for its id alone has no address yet.
  if (!request.address().empty()) {
    server.set_address(request.address());
  }
  server.set_rack(request.rack());
  for (const pb::DeviceInfo& device : request.devices()) {
    TRY_VOID(add_device(txn, server, recorded(device)));
  }
  txn.put(keys::server({server.server()}), server);
  pb::RegisterServerReply reply;
  reply.set_server(server.server());
  reply.mutable_cluster()->set_high(txn.meta().cluster_high());
  reply.mutable_cluster()->set_low(txn.meta().cluster_low());
  return reply;
}

Result<pb::SetServerStateReply> set_server_state(Txn& txn, const ApplyContext&,
                                                 const pb::SetServerStateRequest& request) {
  const ServerId id{request.server()};
  record::Server server;
  if (!txn.get(keys::server(id), server)) {
    return Error(Code::kNotFound, fmt::format("server {} is not registered", id.number));
  }
  if (!pb::AdminState_IsValid(request.state())) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} is no state of a server", static_cast<int>(request.state())));
  }
  if (request.state() != pb::SERVER_REMOVED) {
    TRY_VOID(check_not_removed(server));
  }
  server.set_admin(static_cast<u32>(request.state()));
  txn.put(keys::server(id), server);
  return pb::SetServerStateReply();
}

Status update_server(Txn& txn, const record::UpdateServer& request) {
  const ServerId id{request.server().server()};
  record::Server server;
  if (!txn.get(keys::server(id), server)) {
    return Error(Code::kNotFound, fmt::format("server {} is not registered", id.number));
  }
  TRY_VOID(check_not_removed(server));
  TRY_VOID(check_texts(request.server().address(), server.rack()));
  if (!request.server().address().empty()) {
    server.set_address(request.server().address());
  }
  for (const record::Device& device : request.server().devices()) {
    TRY_VOID(add_device(txn, server, device));
  }
  txn.put(keys::server(id), server);
  return ok_status();
}

std::vector<record::Server> registered_servers(Txn& txn) {
  constexpr size_t kPage = 1000;
  std::vector<record::Server> servers;
  std::string from = keys::servers();
  const std::string end = prefix_end(from);
  for (;;) {
    const KvPage page = txn.scan(from, end, kPage);
    for (const KvEntry& entry : page.entries) {
      txn.get(entry.key, servers.emplace_back());
      from = entry.key + '\0';
    }
    if (!page.more) {
      return servers;
    }
  }
}

}  // namespace pangu::master
