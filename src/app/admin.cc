#include "app/admin.h"

#include <fmt/format.h>

#include "app/settings.h"
#include "rpc/control.h"
#include "runtime/await.h"

namespace pangu::app {

namespace {
// An answer of one chunkserver that is asked only for a report is not worth a long wait.
// One master is asked so long before the next one.
constexpr Duration kMasterTimeout = seconds(1);
constexpr Duration kMasterPause = milliseconds(50);
constexpr Duration kServerTimeout = seconds(2);
}  // namespace

Result<std::unique_ptr<Admin>> Admin::create(World& world, const Config& config) {
  TRY(masters, master_addresses(config));
  TRY(key, cluster_key(config));
  rpc::Identity identity;
  identity.key = key;
  return std::unique_ptr<Admin>(
      new Admin(world, masters, identity, config.duration("client.timeout")));
}

Admin::Admin(World& world, std::vector<env::Address> masters, rpc::Identity identity,
             Duration timeout)
    : world_(world),
      masters_(std::move(masters)),
      identity_(identity),
      timeout_(timeout),
      pool_(world.env(), {.bytes = 8 * kMiB, .huge_pages = false, .registered = false}) {}

Admin::~Admin() = default;

Task<void> Admin::stop() {
  // Keys, not iterators: channels_ does not change any more, but the rule is cheap to keep.
  std::vector<env::Address> known;
  for (const auto& [address, channel] : channels_) {
    known.push_back(address);
  }
  for (const env::Address& address : known) {
    co_await channels_.at(address)->stop();
  }
}

rpc::Channel& Admin::channel(const env::Address& address) {
  auto& found = channels_[address];
  if (!found) {
    rpc::ChannelOptions options;
    options.identity = identity_;
    found = std::make_unique<rpc::Channel>(world_.reactor(), pool_, address, options);
  }
  return *found;
}

template <class Reply, class Request>
Task<Result<Reply>> Admin::ask_master(wire::Method method, Request request) {
  const Instant deadline = world_.now() + timeout_;
  Error last(Code::kConnectFailed);
  // Each in turn, and again while they are choosing a leader.
  for (size_t i = 0;; ++i) {
    if (i > 0 && i % masters_.size() == 0) {
      const bool choosing = masters_.size() > 1 || last.code() == Code::kNotLeader;
      if (!choosing || world_.now() + kMasterPause >= deadline) {
        break;
      }
      co_await sleep_for(kMasterPause);
    }
    const env::Address address = masters_[i % masters_.size()];
    rpc::CallOptions options;
    options.deadline = masters_.size() == 1 ? deadline
                                            : std::min(deadline, world_.now() + kMasterTimeout);
    auto reply =
        co_await rpc::call_control<Reply>(channel(address), method, request, options);
    const Code code = reply.code();
    const bool elsewhere =
        code == Code::kConnectFailed || code == Code::kConnectionLost || code == Code::kNotLeader ||
        (code == Code::kTimeout && world_.now() < deadline);
    if (!elsewhere) {
      co_return std::move(reply);
    }
    last = std::move(reply).error().within(fmt::format("master {}", env::to_string(address)));
  }
  co_return last;
}

template <class Reply, class Request>
Task<Result<Reply>> Admin::ask_server(std::string address, wire::Method method, Request request) {
  CO_TRY(parsed, env::parse_address(address));
  rpc::CallOptions options;
  options.deadline = world_.now() + std::min(timeout_, kServerTimeout);
  auto reply = co_await rpc::call_control<Reply>(channel(parsed), method, request, options);
  if (!reply.ok()) {
    co_return std::move(reply).error().within(fmt::format("chunkserver {}", address));
  }
  co_return std::move(reply);
}

Task<Result<pb::ClusterInfoReply>> Admin::cluster_info() {
  auto reply = co_await ask_master<pb::ClusterInfoReply>(wire::Method::cluster_info,
                                                         pb::ClusterInfoRequest());
  co_return std::move(reply);
}

Task<Result<pb::LookupReply>> Admin::lookup(std::string path) {
  pb::LookupRequest request;
  request.set_path(path);
  auto reply = co_await ask_master<pb::LookupReply>(wire::Method::lookup, request);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  co_return std::move(reply);
}

Task<Result<pb::StreamInfo>> Admin::stream(u64 file) {
  std::map<u32, pb::ChunkInfo> chunks;
  std::map<u32, pb::ServerInfo> servers;
  pb::GetStreamRequest request;
  request.set_file(file);
  for (;;) {
    auto reply = co_await ask_master<pb::GetStreamReply>(wire::Method::get_stream, request);
    if (!reply.ok()) {
      co_return std::move(reply).error();
    }
    const u64 asked_from = request.from_offset();
    for (const pb::ChunkInfo& chunk : reply->stream().chunks()) {
      chunks[chunk.chunk().sequence()] = chunk;
      if (chunk.state() == pb::CHUNK_SEALED) {
        request.set_from_offset(std::max(request.from_offset(), chunk.base() + chunk.length()));
      }
    }
    for (const pb::ServerInfo& server : reply->stream().servers()) {
      servers[server.server()] = server;
    }
    if (!reply->more() || request.from_offset() == asked_from) {
      pb::StreamInfo all = reply->stream();
      all.clear_chunks();
      all.clear_servers();
      for (auto& [sequence, chunk] : chunks) {
        *all.add_chunks() = std::move(chunk);
      }
      for (auto& [id, server] : servers) {
        *all.add_servers() = std::move(server);
      }
      co_return std::move(all);
    }
  }
}

Task<Result<pb::ChunkserverStatusReply>> Admin::server_status(std::string address) {
  auto reply = co_await ask_server<pb::ChunkserverStatusReply>(
      address, wire::Method::chunkserver_status, pb::ChunkserverStatusRequest());
  co_return std::move(reply);
}

Task<Result<pb::InspectChunkReply>> Admin::inspect(std::string address, pb::Chunk chunk) {
  pb::InspectChunkRequest request;
  *request.mutable_chunk() = chunk;
  auto reply = co_await ask_server<pb::InspectChunkReply>(address, wire::Method::inspect_chunk,
                                                          request);
  co_return std::move(reply);
}

Task<std::map<std::string, u64>> Admin::server_counters() {
  std::map<std::string, u64> sum;
  const auto info = co_await cluster_info();
  if (!info.ok()) {
    co_return sum;
  }
  for (int i = 0; i < info->servers_size(); ++i) {
    if (info->servers(i).state() != pb::SERVER_ALIVE) {
      continue;
    }
    const auto status = co_await server_status(info->servers(i).address());
    if (status.ok()) {
      for (const auto& [name, value] : status->counters()) {
        sum[name] += value;
      }
    }
  }
  co_return sum;
}

}  // namespace pangu::app
