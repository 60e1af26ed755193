#include "app/admin.h"

#include <fmt/format.h>

#include "app/settings.h"
#include "runtime/await.h"
#include "wire/partition.h"
#include "wire/proto.h"

namespace pangu::app {

namespace {
// An answer of one chunkserver that is asked only for a report is not worth a long wait.
constexpr Duration kMasterPause = milliseconds(50);
constexpr Duration kServerTimeout = seconds(2);
}  // namespace

Result<std::unique_ptr<Admin>> Admin::create(World& world, const Config& config,
                                             const std::string& named) {
  TRY(masters, named.empty() ? master_addresses(config) : addresses(named));
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

void Admin::identify(pb::RequestId& id) {
  if (client_.is_zero()) {
    client_ = {.high = world_.env().random(), .low = world_.env().random()};
  }
  wire::set(*id.mutable_client(), client_);
  id.set_sequence(++sequence_);
  id.set_first_unanswered(sequence_);
}

Task<Result<pb::PartitionMap>> Admin::partition_map() {
  Error last(Code::kConnectFailed);
  for (const env::Address& master : masters_) {
    auto reply = co_await ask_master<pb::GetPartitionMapReply>(
        env::to_string(master), wire::Method::get_partition_map, pb::GetPartitionMapRequest());
    if (reply.ok()) {
      map_ = reply->map();
      co_return map_;
    }
    last = std::move(reply).error().within(fmt::format("master {}", env::to_string(master)));
  }
  co_return last;
}

// Whoever was leading when the map was fetched comes first.
std::vector<std::string> Admin::members_of(u64 group) const {
  std::vector<std::string> out;
  for (const pb::GroupInfo& info : map_.groups()) {
    if (info.group() != group) {
      continue;
    }
    for (const u64 node : info.nodes()) {
      for (const pb::MasterNode& master : map_.masters()) {
        if (master.node() == node) {
          out.insert(node == info.leader() ? out.begin() : out.end(), master.address());
        }
      }
    }
  }
  return out;
}

Task<Result<std::string>> Admin::call_group(u64 group, wire::Method method, std::string body) {
  const Instant deadline = world_.now() + timeout_;
  Error last(Code::kConnectFailed);
  std::string leader;
  for (size_t attempt = 0;; ++attempt) {
    if (map_.groups().empty() || attempt % 8 == 7) {
      auto fetched = co_await partition_map();
      CO_TRY_VOID(std::move(fetched));
    }
    const std::vector<std::string> members = members_of(group);
    if (members.empty()) {
      co_return Error(Code::kNotFound, fmt::format("the cluster has no group {}", group));
    }
    const std::string to = leader.empty() ? members[attempt % members.size()] : leader;
    auto answer = co_await call_address(to, method, body, timeout_);
    const Code code = answer.code();
    const bool elsewhere = code == Code::kConnectFailed || code == Code::kConnectionLost ||
                           code == Code::kNotLeader || code == Code::kStale ||
                           code == Code::kBusy || code == Code::kTimeout;
    if (!elsewhere) {
      co_return answer;
    }
    leader = code == Code::kNotLeader ? std::string(answer.error().context()) : "";
    last = std::move(answer).error().within(fmt::format("master {}", to));
    if (world_.now() + kMasterPause >= deadline) {
      co_return last;
    }
    co_await sleep_for(kMasterPause);
  }
}

Task<Result<std::string>> Admin::call_address(std::string address, wire::Method method,
                                              std::string body, Duration timeout) {
  CO_TRY(parsed, env::parse_address(address));
  rpc::CallOptions options;
  options.task_class = TaskClass::control;
  options.deadline = world_.now() + timeout;
  auto response = co_await channel(parsed).call(method, as_bytes_of(std::string_view(body)),
                                                rpc::Payload{}, options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  if (response->code != Code::kOk) {
    co_return response->error();
  }
  co_return std::string(as_text(response->body.bytes()));
}

template <class Reply, class Request>
Task<Result<Reply>> Admin::ask_server(std::string address, wire::Method method, Request request) {
  auto answer = co_await call_address(address, method, request.SerializeAsString(),
                                      std::min(timeout_, kServerTimeout));
  auto reply = parse<Reply>(std::move(answer));
  if (!reply.ok()) {
    co_return std::move(reply).error().within(fmt::format("chunkserver {}", address));
  }
  co_return std::move(reply);
}

Task<Result<pb::ClusterInfoReply>> Admin::cluster_info() {
  auto reply = co_await ask_group<pb::ClusterInfoReply>(
      wire::kRootGroup, wire::Method::cluster_info, pb::ClusterInfoRequest());
  co_return std::move(reply);
}

Task<Result<pb::StreamInfo>> Admin::stream(u64 file) {
  std::map<u32, pb::ChunkInfo> chunks;
  std::map<u32, pb::ServerInfo> servers;
  pb::GetStreamRequest request;
  request.set_file(file);
  for (;;) {
    auto reply = co_await ask_group<pb::GetStreamReply>(wire::stream_group_of(FileId{file}),
                                                        wire::Method::get_stream, request);
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
