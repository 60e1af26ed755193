#pragma once
#include <gtest/gtest.h>
#include <map>
#include <memory>

#include "env/sim/world.h"
#include "master/server/master.h"
#include "master/server/paths.h"
#include "rpc/channel.h"
#include "rpc/control.h"
#include "rpc/server.h"
#include "wire/control.pb.h"
#include "wire/proto.h"

// A master, callers and servers that only register and send heartbeats, in a simulated world.
namespace pangu::master::test {

inline rpc::ClusterKey test_key() {
  rpc::ClusterKey key;
  key.fill(std::byte{0x3c});
  return key;
}

struct Host {
  env::sim::Node& node;
  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<BufferPool> pool;

  explicit Host(env::sim::Node& n) : node(n) { boot(); }
  ~Host() {
    pool.reset();
    if (node.up() && reactor && !reactor->abandoned()) {
      node.env().detach();
    }
  }
  void boot() {
    reactor = std::make_unique<Reactor>(node.env(), ReactorOptions{});
    pool = std::make_unique<BufferPool>(
        node.env(), BufferPoolOptions{.bytes = 4 * kMiB, .huge_pages = false, .registered = false});
    node.env().attach(*reactor);
  }
};

struct MasterHost : Host {
  MasterOptions options;
  std::unique_ptr<Master> master;
  std::unique_ptr<rpc::Server> server;

  explicit MasterHost(env::sim::Node& n) : Host(n) {
    options.directory = "/master-1";
    options.store = StoreKind::memory;
    options.version = "test";
  }
  ~MasterHost() {
    server.reset();
    master.reset();
  }
  env::Address address() const { return node.address(7100); }
  void crash(env::sim::Crash how) {
    node.crash(how);
    reactor->abandon();
    server.reset();
    master.reset();
    pool.reset();
    reactor.reset();
    node.restart();
    boot();
  }
};

struct Rig {
  env::sim::World world;
  MasterHost master;
  Host client;
  std::unique_ptr<rpc::Channel> channel;
  Uuid client_id{.high = 0xc11e, .low = 1};
  u64 sequence = 0;

  explicit Rig(u64 seed, const env::sim::WorldOptions& options = {})
      : world(seed, options), master(world.add_node("master")), client(world.add_node("client")) {}
  ~Rig() {
    if (master.server) {
      stop();
    }
    if (channel) {
      run(client, channel_stopped(*channel));
      channel.reset();
    }
  }

  template <class T>
  T run(Host& host, Task<T> task, Duration limit = seconds(300)) {
    std::optional<T> value;
    bool finished = false;
    host.reactor->spawn("test", TaskClass::foreground,
                        detail::store_result<T>(std::move(task), value, finished));
    CHECK(world.run_until([&] { return finished; }, world.now() + limit));
    return std::move(*value);
  }

  void init() {
    const auto made = Master::init(master.node.env(), master.options.directory);
    CHECK_NOTE(made.ok(), made.ok() ? "" : made.error().message());
  }
  static Task<Status> opened(MasterHost& host) {
    host.master = std::make_unique<Master>(*host.reactor, *host.pool, host.options);
    auto opened = co_await host.master->open();
    CO_TRY_VOID(std::move(opened));
    const rpc::ServerOptions options{
        .identity = {.cluster = host.master->cluster(), .server = {}, .key = test_key()}};
    host.server = std::make_unique<rpc::Server>(*host.reactor, host.master->service(), *host.pool,
                                                options);
    co_return host.server->listen(host.address());
  }
  static Task<Unit> stopped(MasterHost& host) {
    if (host.server) {
      co_await host.server->stop();
      host.server.reset();
    }
    co_await host.master->stop();
    host.master.reset();
    co_return Unit{};
  }
  static Task<Unit> channel_stopped(rpc::Channel& channel) {
    co_await channel.stop();
    co_return Unit{};
  }
  Status open() {
    Status status = run(master, opened(master));
    if (!status.ok()) {
      run(master, stopped(master));
    } else if (!channel) {
      // A caller with a key has to know its cluster.
      channel = std::make_unique<rpc::Channel>(
          *client.reactor, *client.pool, master.address(),
          rpc::ChannelOptions{.identity = {
                                  .cluster = master.master->cluster(),
                                  .server = {},
                                  .key = test_key()}});
    }
    return status;
  }
  void stop() { run(master, stopped(master)); }
  void start() {
    init();
    const Status status = open();
    CHECK_NOTE(status.ok(), status.ok() ? "" : status.error().message());
  }
  void crash(env::sim::Crash how) {
    master.crash(how);
    const Status status = open();
    CHECK_NOTE(status.ok(), status.ok() ? "" : status.error().message());
  }

  template <class Reply, class Request>
  static Task<Result<Reply>> sent(Rig& rig, wire::Method method, Request request,
                                  Duration within) {
    const Instant deadline = rig.client.reactor->now() + within;
    for (;;) {
      auto reply = co_await rpc::call_control<Reply>(*rig.channel, method, request,
                                                     {.deadline = deadline});
      const bool lost = reply.code() == Code::kConnectionLost ||
                        reply.code() == Code::kConnectFailed;
      if (!lost || rig.client.reactor->now() + milliseconds(20) >= deadline) {
        co_return reply;
      }
      co_await sleep_for(milliseconds(10));
    }
  }
  // One call, repeated when the connection broke. A request whose `id` is not set gets the next.
  template <class Reply, class Request>
  Result<Reply> call(wire::Method method, Request request, Duration within = seconds(20)) {
    if constexpr (requires { request.mutable_id(); }) {
      if (!request.has_id()) {
        wire::set(*request.mutable_id()->mutable_client(), client_id);
        request.mutable_id()->set_sequence(++sequence);
        request.mutable_id()->set_first_unanswered(sequence);
      }
    }
    if constexpr (requires { request.set_group(1); }) {
      set_group(request, master.master->map());
    }
    return run(client, sent<Reply>(*this, method, std::move(request), within));
  }

  // ---- servers ----

  static Uuid device_of(u32 server) { return {.high = 0xd0, .low = server}; }
  static void add_device(google::protobuf::RepeatedPtrField<pb::DeviceInfo>& devices, u32 server) {
    pb::DeviceInfo& device = *devices.Add();
    wire::set(*device.mutable_device(), device_of(server));
    device.set_capacity_bytes(100 * kGiB);
    device.set_free_bytes(50 * kGiB);
    device.set_media("memory");
  }
  // Registers the servers first..last, one rack each.
  void add_servers(u32 first, u32 last) {
    for (u32 server = first; server <= last; ++server) {
      pb::RegisterServerRequest request;
      wire::set(*request.mutable_identity(), Uuid{.high = 0x1d, .low = server});
      request.set_address("10.0.0." + std::to_string(server) + ":7200");
      request.set_rack("rack-" + std::to_string(server));
      add_device(*request.mutable_devices(), server);
      const auto reply = call<pb::RegisterServerReply>(wire::Method::register_server, request);
      CHECK_NOTE(reply.ok(), reply.ok() ? "" : reply.error().message());
      CHECK(reply->server() == server);
    }
  }
  Result<pb::HeartbeatReply> heartbeat(u32 server) {
    pb::HeartbeatRequest request;
    request.set_server(server);
    request.set_address("10.0.0." + std::to_string(server) + ":7200");
    add_device(*request.mutable_devices(), server);
    return call<pb::HeartbeatReply>(wire::Method::heartbeat, request);
  }

  // ---- shorthands ----

  Result<pb::Place> place(const std::string& path, pb::Entry* found = nullptr) {
    const auto ask = [this](pb::LookupRequest request) {
      return call<pb::LookupReply>(wire::Method::lookup, std::move(request));
    };
    return place_of(master.master->map(), path, ask, found);
  }
  Result<pb::CreateFileReply> create(const std::string& path, bool exclusive = true) {
    pb::CreateFileRequest request;
    TRY(where, place(path));
    *request.mutable_place() = std::move(where);
    request.set_exclusive(exclusive);
    return call<pb::CreateFileReply>(wire::Method::create_file, request);
  }
  Result<pb::MakeDirectoryReply> make(const std::string& path) {
    pb::MakeDirectoryRequest request;
    TRY(where, place(path));
    *request.mutable_place() = std::move(where);
    return call<pb::MakeDirectoryReply>(wire::Method::make_directory, request);
  }
  Result<pb::Entry> lookup(const std::string& path) {
    pb::Entry found;
    TRY_VOID(place(path, &found));
    if (found.id() == 0) {
      return Error(Code::kNotFound, path);
    }
    return found;
  }
  // A directory's way of being removed or renamed depends on what it is: `tree` asks the root.
  Result<pb::RemoveReply> remove(const std::string& path, bool tree = false) {
    pb::RemoveRequest request;
    pb::Entry found;
    TRY(where, place(path, &found));
    *request.mutable_place() = std::move(where);
    request.set_removes(found.id());
    request.set_tree(tree);
    request.set_group(tree ? wire::kRootGroup : 0);
    return call<pb::RemoveReply>(wire::Method::remove, request);
  }
  Result<pb::RenameReply> rename(const std::string& from, const std::string& to) {
    pb::RenameRequest request;
    pb::Entry found;
    TRY(from_place, place(from, &found));
    TRY(to_place, place(to));
    *request.mutable_from() = std::move(from_place);
    *request.mutable_to() = std::move(to_place);
    request.set_moves(found.id());
    request.set_group(found.type() == pb::ENTRY_DIRECTORY ? wire::kRootGroup : 0);
    return call<pb::RenameReply>(wire::Method::rename, request);
  }
  Result<pb::OpenForAppendReply> open_file(u64 file, u32 fresh = 2,
                                           std::vector<u32> exclude = {}) {
    pb::OpenForAppendRequest request;
    request.set_file(file);
    request.set_fresh_chunks(fresh);
    request.mutable_exclude_servers()->Assign(exclude.begin(), exclude.end());
    return call<pb::OpenForAppendReply>(wire::Method::open_for_append, request);
  }
  // The group of the root directory's entries.
  Group& names() {
    return *master.master->group(master.master->map().group_of_directory(wire::kRootDirectory));
  }
  Result<pb::ClusterInfoReply> info() {
    return call<pb::ClusterInfoReply>(wire::Method::cluster_info, pb::ClusterInfoRequest());
  }
};

}  // namespace pangu::master::test
