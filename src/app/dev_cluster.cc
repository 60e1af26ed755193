#include "app/dev_cluster.h"

#include <fmt/format.h>

#include "app/local_cluster.h"

namespace pangu::app {

namespace {
Result<MasterServerOptions> master_part(Reactor& reactor, const DevOptions& options) {
  MasterServerOptions out;
  out.data = options.directory + "/master-1";
  out.init = !reactor.env().files().exists(out.data + "/identity.toml");
  out.key = options.key;
  out.founding.namespace_groups = static_cast<u32>(options.namespace_groups);
  out.founding.stream_groups = static_cast<u32>(options.stream_groups);
  TRY(listen, env::parse_address(fmt::format("127.0.0.1:{}", options.master_port)));
  out.listen = listen;
  return out;
}

Result<chunk::ChunkserverOptions> chunkserver_part(const DevOptions& options, u64 index,
                                                   const env::Address& master) {
  chunk::ChunkserverOptions out;
  out.data = fmt::format("{}/chunkserver-{}", options.directory, index + 1);
  TRY(listen, env::parse_address("127.0.0.1:0"));
  out.listen = listen;
  out.masters = {master};
  out.rack = rack_name(index, options.racks);
  out.key = options.key;
  const std::string path = options.memory ? "" : out.data + "/disk-1.img";
  out.devices.push_back({path, options.device_bytes, true});
  return out;
}
}  // namespace

Task<Result<std::unique_ptr<DevCluster>>> DevCluster::start(Reactor& reactor, DevOptions options) {
  auto out = std::make_unique<DevCluster>();
  const Status begun = co_await out->begin(reactor, std::move(options));
  if (!begun.ok()) {
    co_await out->stop();
    co_return begun.error();
  }
  co_return std::move(out);
}

Task<Status> DevCluster::begin(Reactor& reactor, DevOptions options) {
  CO_TRY(master_options, master_part(reactor, options));
  auto master = co_await MasterServer::start(reactor, master_options);
  if (!master.ok()) {
    Error error = std::move(master).error();
    if (error.code() == Code::kInUse) {
      error = Error(Code::kInUse, fmt::format("{}; hint: --master-port 0 takes a free port",
                                              error.context()));
    }
    co_return std::move(error);
  }
  master_ = std::move(*master);
  for (u64 i = 0; i < options.chunkservers; ++i) {
    CO_TRY(server_options, chunkserver_part(options, i, master_->address()));
    auto server = co_await chunk::Chunkserver::start(reactor, server_options);
    if (!server.ok()) {
      co_return std::move(server).error();
    }
    chunkservers_.push_back(std::move(*server));
  }
  const Instant deadline = reactor.now() + seconds(20);
  for (size_t i = 0; i < chunkservers_.size(); ++i) {
    const bool known = co_await chunkservers_[i]->wait_registered(deadline);
    if (!known) {
      co_return Error(Code::kTimeout, fmt::format("chunkserver {} could not register", i + 1));
    }
  }
  co_return ok_status();
}

Task<void> DevCluster::stop() {
  for (size_t i = 0; i < chunkservers_.size(); ++i) {
    co_await chunkservers_[i]->stop();
  }
  if (master_) {
    co_await master_->stop();
  }
}

}  // namespace pangu::app
