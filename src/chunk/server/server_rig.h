#pragma once
#include "base/log.h"
#include "chunk/server/chunkserver.h"
#include "chunk/store/test_store.h"
#include "rpc/control.h"
#include "rpc/sim_rig.h"
#include "wire/partition.h"
#include "wire/proto.h"

// Simulated hosts for the tests of this room: whole chunkservers, masters that only know them, and
// somebody who speaks for the leaders of stream groups.
namespace pangu::chunk::test {

using env::sim::Crash;
using rpc::test::Host;
using rpc::test::kCluster;

inline constexpr u64 kGroup = wire::kFirstStreamGroup + 2;
// A chunk of that group.
inline ChunkId in_group(u64 counter, u32 sequence = 1, u64 group = kGroup) {
  return chunk_id((group - wire::kFirstStreamGroup) << 52 | counter, sequence);
}

// What the root group knows, whoever leads it.
struct Root {
  std::map<Uuid, u32> servers;  // by identity
  std::map<u32, pb::HeartbeatRequest> heard;
  std::map<u32, std::string> addresses;
  u64 registrations = 0;
  u64 heartbeats = 0;
};

// A master that answers registrations and heartbeats.
struct MasterHost final : Host, rpc::Service {
  static constexpr u16 kPort = 7100;
  Root& root;
  std::string leader;      // that it names; empty: nobody
  bool leads = false;
  bool is_member = true;   // of the root group
  pb::PartitionMap map;
  Duration delay;  // of each answer
  u64 calls = 0;
  std::unique_ptr<rpc::Server> server;

  MasterHost(env::sim::Node& n, Root& r) : Host(n), root(r) {
    server = std::make_unique<rpc::Server>(
        *reactor, *this, *pool, rpc::ServerOptions{.identity = rpc::test::identity(0)});
    const Status listening = server->listen(address());
    CHECK_NOTE(listening.ok(), listening.ok() ? "" : listening.error().message());
  }
  ~MasterHost() override {
    if (reactor && !reactor->abandoned()) {
      node.crash(Crash::process);
      reactor->abandon();
    }
    server.reset();
    pool.reset();
    reactor.reset();
  }
  env::Address address() const { return node.address(kPort); }

  Result<rpc::Placement> place(const wire::FrameHeader&, Bytes) override {
    return Code::kUnsupported;
  }
  template <class Message>
  static rpc::Reply reply_of(const Message& message) {
    rpc::Reply reply;
    reply.body = message.SerializeAsString();
    return reply;
  }
  Task<rpc::Reply> handle(rpc::Request request) override {
    ++calls;
    if (delay.ns > 0) {
      co_await sleep_for(delay);
    }
    if (request.method == wire::Method::get_partition_map) {
      pb::GetPartitionMapReply out;
      *out.mutable_map() = map;
      co_return reply_of(out);
    }
    if (!is_member) {
      co_return rpc::Reply(Error(Code::kStale, "no member of this group is here"));
    }
    if (!leads) {
      co_return rpc::Reply(Error(Code::kNotLeader, leader));
    }
    if (request.method == wire::Method::register_server) {
      co_return register_server(request);
    }
    co_return heartbeat(request);
  }
  rpc::Reply register_server(const rpc::Request& request) {
    pb::RegisterServerRequest in;
    CHECK(in.ParseFromArray(request.body.data(), static_cast<int>(request.body.size())));
    EXPECT_EQ(in.group(), wire::kRootGroup);
    const u32 next = static_cast<u32>(root.servers.size()) + 1;
    const u32 server_id = root.servers.try_emplace(wire::get(in.identity()), next).first->second;
    root.addresses[server_id] = in.address();
    ++root.registrations;
    pb::RegisterServerReply out;
    out.set_server(server_id);
    wire::set(*out.mutable_cluster(), kCluster);
    return reply_of(out);
  }
  rpc::Reply heartbeat(const rpc::Request& request) {
    pb::HeartbeatRequest in;
    CHECK(in.ParseFromArray(request.body.data(), static_cast<int>(request.body.size())));
    EXPECT_EQ(in.group(), wire::kRootGroup);
    if (!root.addresses.contains(in.server())) {
      return rpc::Reply(Error(Code::kNotFound, "register first"));
    }
    ++root.heartbeats;
    root.heard[in.server()] = in;
    return reply_of(pb::HeartbeatReply());
  }
};

struct ChunkHost final {
  static constexpr u16 kPort = 7200;
  env::sim::Node& node;
  std::vector<env::Address> masters;
  u64 device_bytes;
  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<Chunkserver> server;
  std::optional<Error> failure;

  ChunkHost(env::sim::Node& n, std::vector<env::Address> m, u64 bytes = 32 * kMiB)
      : node(n), masters(std::move(m)), device_bytes(bytes) {
    start();
  }
  ~ChunkHost() { crash(Crash::process); }

  static Task<void> serve(ChunkHost& self, ChunkserverOptions options) {
    auto started = co_await Chunkserver::start(*self.reactor, std::move(options));
    if (started.ok()) {
      self.server = std::move(*started);
    } else {
      self.failure = started.error();
    }
  }
  void start() {
    reactor = std::make_unique<Reactor>(node.env(), ReactorOptions{});
    node.env().attach(*reactor);
    failure.reset();
    ChunkserverOptions options{.data = "/data",
                               .listen = node.address(kPort),
                               .masters = masters,
                               .devices = {{.path = "/disk",
                                            .size = device_bytes,
                                            .format_if_blank = true}},
                               .key = rpc::test::identity(0).key};
    reactor->spawn("chunkserver", TaskClass::control, serve(*this, std::move(options)));
  }
  void crash(Crash how) {
    if (node.up()) {
      node.crash(how);
      reactor->abandon();
    }
    server.reset();
    reactor.reset();
  }
  void restart() {
    node.restart();
    start();
  }
  ChunkStore& store() { return *server->service().devices().begin()->second.store; }
  Uuid device() { return server->service().devices().begin()->first; }
  u64 counter(const char* name) { return server->groups().counters().at(name); }
};

// No log lines while it lives: servers say much when they start.
struct Quiet {
  LogLevel before = log_level();
  Quiet() { set_log_level(static_cast<LogLevel>(4)); }
  ~Quiet() { set_log_level(before); }
};

struct Rig {
  Quiet quiet;
  env::sim::World world;
  Root root;
  std::vector<std::unique_ptr<MasterHost>> masters;
  std::vector<std::unique_ptr<ChunkHost>> servers;
  std::unique_ptr<Host> caller;  // speaks for leaders
  std::map<size_t, std::unique_ptr<rpc::Channel>> channels;

  explicit Rig(u64 seed, size_t servers_count = 1, size_t masters_count = 1,
               const env::sim::WorldOptions& options = {})
      : world(seed, options) {
    for (size_t i = 0; i < masters_count; ++i) {
      masters.push_back(std::make_unique<MasterHost>(
          world.add_node("master-" + std::to_string(i)), root));
    }
    lead(0);
    caller = std::make_unique<Host>(world.add_node("leader"));
    for (size_t i = 0; i < servers_count; ++i) {
      add_server({masters[0]->address()});
    }
  }
  ~Rig() {
    for (auto& [server, channel] : channels) {
      run(*caller->reactor, channel->stop());
    }
    channels.clear();
  }
  void lead(size_t leader) {
    for (size_t i = 0; i < masters.size(); ++i) {
      masters[i]->leads = i == leader;
      masters[i]->leader = env::to_string(masters[leader]->address());
    }
  }
  // Waits until it is registered, so that ids follow the order of the calls.
  ChunkHost& add_server(std::vector<env::Address> addresses, u64 bytes = 32 * kMiB) {
    servers.push_back(std::make_unique<ChunkHost>(
        world.add_node("chunk-" + std::to_string(servers.size())), std::move(addresses), bytes));
    wait_serving(servers.size() - 1);
    return *servers.back();
  }
  void wait_serving(size_t index) {
    ChunkHost& host = *servers[index];
    const bool serving = world.run_until(
        [&] { return host.server != nullptr || host.failure; }, world.now() + seconds(60));
    CHECK_NOTE(serving && !host.failure, host.failure ? host.failure->message() : "too slow");
  }

  void run(Reactor& reactor, Task<void> task, Duration limit = seconds(600)) {
    bool finished = false;
    reactor.spawn("test", TaskClass::foreground,
                  detail::store_result_void(std::move(task), finished));
    CHECK_NOTE(world.run_until([&] { return finished; }, world.now() + limit),
               "the test's task did not end");
  }
  template <class T>
  T wait(Reactor& reactor, Task<T> task, Duration limit = seconds(600)) {
    std::optional<T> value;
    bool finished = false;
    reactor.spawn("test", TaskClass::foreground,
                  detail::store_result<T>(std::move(task), value, finished));
    CHECK_NOTE(world.run_until([&] { return finished; }, world.now() + limit),
               "the test's task did not end");
    return std::move(*value);
  }

  rpc::Channel& channel(size_t server) {
    auto& out = channels[server];
    if (out == nullptr) {
      out = std::make_unique<rpc::Channel>(
          *caller->reactor, *caller->pool, servers[server]->node.address(ChunkHost::kPort),
          rpc::ChannelOptions{.identity = rpc::test::identity(0)});
    }
    return *out;
  }
  template <class Reply, class Request>
  Task<Result<Reply>> ask(size_t server, wire::Method method, Request request,
                          Duration timeout = seconds(60)) {
    const rpc::CallOptions options{.task_class = TaskClass::repair,
                                   .deadline = caller->reactor->now() + timeout};
    return rpc::call_control<Reply>(channel(server), method, std::move(request), options);
  }
  // Again over another connection if the one of an earlier life was found dead.
  template <class Reply, class Request>
  Result<Reply> ask_now(size_t server, wire::Method method, Request request, Duration timeout) {
    for (int i = 0;; ++i) {
      auto reply =
          wait(*caller->reactor, ask<Reply, Request>(server, method, request, timeout));
      if (reply.code() != Code::kConnectionLost || i == 3) {
        return reply;
      }
    }
  }
  Result<pb::ChunkOrdersReply> order(size_t server, pb::ChunkOrdersRequest request) {
    return ask_now<pb::ChunkOrdersReply>(server, wire::Method::chunk_orders, std::move(request),
                                         seconds(60));
  }
  Result<pb::ListChunksReply> list(size_t server, pb::ListChunksRequest request) {
    return ask_now<pb::ListChunksReply>(server, wire::Method::list_chunks, std::move(request),
                                        seconds(60));
  }
  Result<pb::CopyChunkReply> copy(size_t server, pb::CopyChunkRequest request,
                                  Duration timeout = seconds(60)) {
    return ask_now<pb::CopyChunkReply>(server, wire::Method::copy_chunk, std::move(request),
                                       timeout);
  }

  // A chunk written through its owner's appends, in runs of many sizes; finalized if `sealed`.
  TestWriter make(size_t server, const ChunkId& id, u32 bytes, bool sealed = true) {
    TestWriter writer{.chunk = id};
    ChunkHost& host = *servers[server];
    while (writer.offset < bytes) {
      const u32 size = std::min(bytes - writer.offset,
                                static_cast<u32>(world.prng().between(1, 300'000)));
      writer.committed = writer.offset;
      TestRun run = writer.next(size);
      const AppendOutcome out =
          wait(*host.reactor, host.store().append(std::move(run.args), std::move(run.run)));
      CHECK_NOTE(out.code == Code::kOk, code_text(out.code));
    }
    if (sealed) {
      const auto out = wait(*host.reactor, host.store().finalize(id, bytes, 1));
      CHECK(out.code == Code::kOk);
    }
    return writer;
  }
  // Whole and right there, read as a reader would.
  void expect_replica(size_t server, const ChunkId& id, u32 length) {
    ChunkHost& host = *servers[server];
    for (u32 at = 0; at < length;) {
      const ReadArgs args{
          .chunk = id, .offset = at, .length = length - at, .settled_length = length};
      const ReadOutcome out = wait(*host.reactor, host.store().read(args));
      ASSERT_EQ(out.code, Code::kOk) << to_string(id) << " at " << at;
      ASSERT_EQ(check_payload(id, at, out), "");
      at += out.length;
    }
    const auto info = host.store().stat(id);
    ASSERT_TRUE(info.ok());
    EXPECT_TRUE(info->finalized);
    EXPECT_EQ(info->length, length);
  }
  void expect_no_replica(size_t server, const ChunkId& id, u32 length) {
    ChunkHost& host = *servers[server];
    const ReadArgs args{.chunk = id, .offset = 0, .length = 100, .settled_length = length};
    EXPECT_EQ(wait(*host.reactor, host.store().read(args)).code, Code::kNotHere);
    const auto info = host.store().stat(id);
    EXPECT_FALSE(info.ok() && info->exists && info->finalized);
  }
  // The n-th unit of a chunk is damaged on the medium, also where an earlier life of it left one.
  void flip_bit(size_t server, const ChunkId& id, u32 unit) {
    ChunkHost& host = *servers[server];
    const std::vector<u64> places = wait(*host.reactor, find_unit(host, id, unit));
    CHECK(!places.empty());
    for (const u64 place : places) {
      CHECK(host.node.disk().corrupt("/disk", place + 17, 3).ok());
    }
  }
  static Task<std::vector<u64>> find_unit(ChunkHost& host, ChunkId id, u32 unit) {
    auto file = host.node.env().files().open("/disk", {.read_only = true});
    CHECK(file.ok());
    std::vector<u64> out;
    const Slice sector = Slice::allocate(wire::kUnitBytes);
    for (u64 at = 0; at < host.device_bytes; at += wire::kUnitBytes) {
      const i64 got = co_await async_read(**file, at, sector.mutable_bytes());
      if (got == wire::kUnitBytes &&
          wire::check_unit(id, unit, sector.data()) == wire::UnitFault::ok) {
        out.push_back(at);
      }
    }
    co_return out;
  }

  // A copy of a chunk on server `from` for another server.
  pb::CopyChunkRequest copy_request(size_t from, size_t to, const ChunkId& id, u32 length,
                                    u64 term = 1, u32 version = 2) {
    pb::CopyChunkRequest out;
    out.set_group(wire::stream_group_of(id.file));
    out.set_term(term);
    wire::set(*out.mutable_chunk(), id);
    wire::set(*out.mutable_device(), servers[to]->device());
    out.set_length(length);
    out.set_version(version);
    out.set_base(TestWriter{}.base);
    out.set_source_server(static_cast<u32>(from) + 1);
    out.set_source_address(env::to_string(servers[from]->node.address(ChunkHost::kPort)));
    wire::set(*out.mutable_source_device(), servers[from]->device());
    return out;
  }
};

}  // namespace pangu::chunk::test
