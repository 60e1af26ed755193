#include "client/client_core.h"

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "client/append_pipeline.h"
#include "client/stream_cache.h"

namespace pangu::client {

namespace {

constexpr Duration kRefreshPause = seconds(1);

Uuid random_uuid(env::Env& env) {
  return {.high = env.random(), .low = env.random()};
}

// What says that the server, not the request, is at fault.
bool speaks_against_server(Code code) {
  return code == Code::kConnectionLost || code == Code::kConnectFailed || code == Code::kTimeout ||
         code == Code::kWrongCluster || code == Code::kAuthFailed || code == Code::kWrongVersion;
}

}  // namespace

ClientCore::ClientCore(Reactor& on, const ClientOptions& how, std::unique_ptr<Links> over,
                       std::vector<env::Address> masters)
    : reactor(on),
      options(how),
      links(std::move(over)),
      servers(how.suspect_time),
      meta(on, *links, std::move(masters), random_uuid(on.env()), options, counters),
      resolver(on, gate, meta, counters, how.ways_cached),
      names(on, meta, resolver),
      stream_questions(on, gate, meta, counters),
      committed(*this, how.committed_delay),
      streams(std::make_unique<StreamCache>(how.cached_streams)),
      window(how.window_bytes) {}

ClientCore::~ClientCore() = default;

Task<Result<rpc::Response>> ClientCore::call_server(ServerId server, wire::Method method,
                                                    Bytes body, rpc::Payload payload,
                                                    rpc::CallOptions call_options) {
  const auto address = servers.address(server);
  if (!address) {
    refresh_servers_soon();
    co_return Error(Code::kConnectFailed,
                    "the master has not told the address of server " + to_string(server));
  }
  const Instant start = now();
  auto response = co_await links->call(*address, rpc::ConnectionKind::data, method, body,
                                       std::move(payload), call_options);
  if (response.ok()) {
    // Waiting for news is not slowness.
    servers.note_success(server,
                         call_options.measured ? now() - start : links->round_trip(*address));
  } else if (speaks_against_server(response.code())) {
    servers.note_failure(server, now());
    refresh_servers_soon();
  }
  co_return response;
}

Task<Status> ClientCore::refresh_servers() {
  servers_refreshed_ = now();
  auto reply = co_await ask_group<pb::ServerTableReply>(
      wire::kRootGroup, wire::Method::server_table, pb::ServerTableRequest{},
      now() + options.master_timeout);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  servers.learn_all(reply->servers());
  co_return ok_status();
}

Task<void> ClientCore::refresh_servers_quietly() {
  auto done = co_await refresh_servers();
  if (!done.ok() && !stopping) {
    LOG_INFO("addresses of servers: {}", done.error().message());
  }
  refreshing_servers_ = false;
  servers_known_.wake_all();
}

void ClientCore::refresh_servers_soon() {
  const bool too_soon =
      servers_refreshed_ != Instant{} && now() - servers_refreshed_ < kRefreshPause;
  if (!refreshing_servers_ && !stopping && !too_soon) {
    refreshing_servers_ =
        gate.spawn(reactor, "refresh servers", TaskClass::control, refresh_servers_quietly());
  }
}

Task<void> ClientCore::locate(std::vector<ChunkPlace> chunks) {
  for (const ChunkPlace& chunk : chunks) {
    for (const Replica& replica : chunk.replicas) {
      if (!servers.address(replica.location.server)) {
        // A server without an address fails its calls, with that reason.
        if (!refreshing_servers_) {
          refreshing_servers_ = true;
          co_await refresh_servers_quietly();
        } else {
          REACHED("client: somebody else asks already where the servers are");
          co_await servers_known_.wait(op_deadline());
        }
        co_return;
      }
    }
  }
}

void ClientCore::add_pipeline(const std::shared_ptr<AppendPipeline>& pipeline) {
  std::erase_if(pipelines_, [](const auto& each) { return each.expired(); });
  pipelines_.push_back(pipeline);
}

void ClientCore::tell_of_writers(StreamView& view) {
  for (const auto& each : pipelines_) {
    const auto pipeline = each.lock();
    if (pipeline && pipeline->file() == view.file()) {
      pipeline->tell(view);
    }
  }
}

Task<void> ClientCore::stop() {
  stopping = true;
  meta.stop();
  committed.flush();
  for (const auto& each : pipelines_) {
    if (const auto pipeline = each.lock()) {
      pipeline->fail(Error(Code::kClosed, "the client was stopped"));
    }
  }
  co_await links->stop();
  co_await gate.close();
}

}  // namespace pangu::client
