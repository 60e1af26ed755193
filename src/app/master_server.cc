#include "app/master_server.h"

#include "app/command.h"
#include "app/server_command.h"
#include "app/settings.h"

namespace pangu::app {

namespace {
constexpr Duration kHandOverPatience = seconds(1);

master::MasterOptions master_options(const MasterServerOptions& options) {
  master::MasterOptions out;
  out.directory = options.data;
  out.version = kProgramVersion;
  out.key = options.key;
  return out;
}
}  // namespace

Result<MasterServerOptions> master_server_options(const Config& config) {
  MasterServerOptions options;
  TRY(data, required(config, "server.data", "--data DIR"));
  options.data = data;
  const std::string& listen = config.text("server.listen");
  TRY(address, addresses(listen.empty() ? "127.0.0.1:7100" : listen));
  options.listen = address.front();
  TRY(key, cluster_key(config));
  options.key = key;
  options.rpc.connections_max = static_cast<u32>(config.count("limits.connections"));
  options.rpc.connection_credit_bytes = config.size("limits.connection_credit");
  options.rpc.receive_bytes_max = config.size("limits.receive");
  return options;
}

MasterServer::MasterServer(Reactor& reactor, const MasterServerOptions& options)
    : reactor_(reactor),
      pool_(reactor.env(), {.bytes = 8 * kMiB, .huge_pages = false, .registered = false}),
      master_(reactor, pool_, master_options(options)) {}

MasterServer::~MasterServer() = default;

Task<Result<std::unique_ptr<MasterServer>>> MasterServer::start(Reactor& reactor,
                                                                MasterServerOptions options) {
  if (options.init) {
    const auto made = master::Master::init(reactor.env(), options.data, options.founding);
    if (!made.ok()) {
      co_return made.error();
    }
  }
  std::unique_ptr<MasterServer> out(new MasterServer(reactor, options));
  const Status begun = co_await out->begin(std::move(options));
  if (!begun.ok()) {
    co_await out->stop();
    co_return begun.error();
  }
  co_return std::move(out);
}

Task<Status> MasterServer::begin(MasterServerOptions options) {
  const Status opened = co_await master_.open();
  if (!opened.ok()) {
    co_return opened.error();
  }
  rpc::ServerOptions rpc_options = options.rpc;
  rpc_options.identity.cluster = master_.cluster();
  rpc_options.identity.key = options.key;
  server_ = std::make_unique<rpc::Server>(reactor_, master_.service(), pool_, rpc_options);
  co_return server_->listen(options.listen);
}

Task<void> MasterServer::stop() {
  if (server_) {
    co_await master_.hand_over(reactor_.now() + kHandOverPatience);
    co_await server_->stop();
  }
  co_await master_.stop();
}

}  // namespace pangu::app
