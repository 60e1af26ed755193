#include "sim/cluster.h"

#include <fmt/format.h>

#include "base/log.h"
#include "runtime/await.h"

namespace pangu::sim {

namespace {

constexpr Duration kStartAgain = milliseconds(300);
const std::string kMasterFolder = "/master";

rpc::ClusterKey cluster_key() {
  rpc::ClusterKey key;
  key.fill(std::byte{0x5a});
  return key;
}

// Whether a process that could not start may be expected to start later.
bool may_pass(Code code) {
  return code == Code::kTimeout || code == Code::kUnavailable || code == Code::kConnectFailed ||
         code == Code::kConnectionLost || code == Code::kBusy || code == Code::kUnknownOutcome ||
         code == Code::kNoSpace;
}

}  // namespace

MasterHost::MasterHost(env::sim::World& world, Judge& judge, const ClusterOptions& options,
                       u32 index, const std::vector<env::Address>& members)
    : Host(world, fmt::format("master-{}", index)),
      judge_(judge),
      options_(options),
      index_(index),
      members_(members) {}

Task<void> MasterHost::run() {
  for (;;) {
    const Status served = co_await serve();
    if (served.ok()) {
      co_return;
    }
    if (!may_pass(served.code())) {
      judge_.fail(fmt::format("the master does not start: {}", served.error().message()));
      co_return;
    }
    co_await sleep_for(kStartAgain);
  }
}

Task<Status> MasterHost::serve() {
  env::Env& env = reactor().env();
  if (!env.files().exists(kMasterFolder + "/identity.toml")) {
    master::Founding founding{
        .cluster = {.high = 0x51, .low = 0x3a},
        .node = raft::NodeId{index_ + 1},
        .members = {},
        .namespace_groups = options_.namespace_groups,
        .stream_groups = options_.stream_groups};
    for (u32 i = 0; i < members_.size(); ++i) {
      founding.members.push_back({.node = raft::NodeId{i + 1}, .address = members_[i]});
    }
    CO_TRY_VOID(master::Master::init(env, kMasterFolder, founding));
  }
  const BufferPoolOptions pool_options{.bytes = 8 * kMiB, .huge_pages = false, .registered = false};
  pool_ = std::make_unique<BufferPool>(env, pool_options);
  const master::MasterOptions options{
      .directory = kMasterFolder,
      .store = master::StoreKind::memory,
      .version = "sim",
      .group = {.flush_interval = options_.master_flush_interval},
      .liveness = {.suspect_after = options_.suspect_after, .dead_after = options_.dead_after},
      .log = {.segment_bytes = options_.master_segment_bytes},
      .raft = {.log_keep_entries = options_.master_log_keep},
      .key = cluster_key(),
      // What a copy that came to nothing leaves behind goes within the time that a run has.
      .streams = {.inventory = {.interval = seconds(15), .orphan_grace = seconds(20)}}};
  master_ = std::make_unique<master::Master>(reactor(), *pool_, options);
  auto opened = co_await master_->open();
  if (!opened.ok()) {
    co_await master_->stop();
    master_.reset();
    co_return std::move(opened).error();
  }
  const rpc::ServerOptions server_options{
      .identity = {.cluster = master_->cluster(), .key = cluster_key()}};
  auto server =
      std::make_unique<rpc::Server>(reactor(), master_->service(), *pool_, server_options);
  CO_TRY_VOID(server->listen(address()));
  server_ = std::move(server);
  co_return ok_status();
}

Task<void> MasterHost::stop() {
  if (server_ != nullptr) {
    co_await server_->stop();
  }
  if (master_ != nullptr) {
    co_await master_->stop();
  }
}

void MasterHost::drop() {
  server_.reset();
  master_.reset();
  pool_.reset();
}

ChunkHost::ChunkHost(env::sim::World& world, Judge& judge, const ClusterOptions& options, u32 index,
                     const std::vector<env::Address>& masters)
    : Host(world, fmt::format("chunk-{}", index)),
      judge_(judge),
      options_(options),
      index_(index),
      masters_(masters) {}

chunk::ChunkserverOptions ChunkHost::server_options() {
  chunk::ChunkserverOptions out{.data = "/data",
                                .listen = node().address(kPort),
                                .masters = masters_,
                                .rack = fmt::format("rack-{}", index_ % options_.racks),
                                .key = cluster_key(),
                                .receive_pool_bytes = 12 * kMiB};
  for (u32 i = 0; i < options_.devices; ++i) {
    out.devices.push_back({.path = fmt::format("/data/disk-{}.img", i),
                           .size = options_.device_bytes,
                           .format_if_blank = true});
  }
  return out;
}

Task<void> ChunkHost::run() {
  for (;;) {
    auto started = co_await chunk::Chunkserver::start(reactor(), server_options());
    if (started.ok()) {
      server_ = std::move(*started);
      co_return;
    }
    if (!may_pass(started.code())) {
      judge_.fail(fmt::format("{} does not start: {}", name(), started.error().message()));
      co_return;
    }
    co_await sleep_for(kStartAgain);
  }
}

u64 ChunkHost::chunks() const {
  u64 out = 0;
  for (const auto& [uuid, device] : server_->service().devices()) {
    out += device.store->contents().chunks;
  }
  return out;
}

Task<void> ChunkHost::stop() {
  if (server_ != nullptr) {
    co_await server_->stop();
    if (const u64 blocks = server_->pool().counters().blocks_in_use; blocks > 0) {
      judge_.fail(fmt::format("{}: {} buffers were never given back", name(), blocks));
    }
  }
}

ClientHost::ClientHost(env::sim::World& world, const ClusterOptions& options, u32 index,
                       const std::vector<env::Address>& masters)
    : Host(world, fmt::format("client-{}", index)),
      options_(options),
      index_(index),
      masters_(masters) {}

Task<Result<client::Client*>> ClientHost::new_client() {
  client::ClientOptions options = options_.client;
  for (const env::Address& master : masters_) {
    options.masters.push_back(env::to_string(master));
  }
  options.key = cluster_key();
  auto opened = co_await client::Client::open(reactor(), options);
  if (!opened.ok()) {
    co_return std::move(opened).error();
  }
  clients_.push_back(std::move(*opened));
  co_return clients_.back().get();
}

Task<void> ClientHost::run() {
  starting_ = true;
  while (!stopping_) {
    auto made = co_await new_client();
    if (made.ok()) {
      break;
    }
    LOG_INFO("no cluster: {}", made.error().message());
    co_await sleep_for(kStartAgain);
  }
  starting_ = false;
  started_.wake_all();
  if (ready_ && !stopping_) {
    ready_(*this);
  }
}

Task<void> ClientHost::stop() {
  stopping_ = true;
  while (starting_) {
    co_await started_.wait();
  }
  for (size_t i = 0; i < clients_.size(); ++i) {
    co_await clients_[i]->stop();
  }
}

void ClientHost::drop() {
  actors_ = 0;
  starting_ = false;
  stopping_ = false;
  kept_.clear();
  clients_.clear();
}

Cluster::Cluster(env::sim::World& world, Judge& judge, const ClusterOptions& options)
    : world_(world), judge_(judge), options_(options) {
  for (u32 i = 0; i < options_.masters; ++i) {
    masters_.push_back(
        std::make_unique<MasterHost>(world_, judge_, options_, i, master_addresses_));
    master_addresses_.push_back(masters_.back()->address());
  }
  for (u32 i = 0; i < options_.chunkservers; ++i) {
    chunkservers_.push_back(
        std::make_unique<ChunkHost>(world_, judge_, options_, i, master_addresses_));
  }
  for (u32 i = 0; i < options_.clients; ++i) {
    add_client();
  }
}

ClientHost& Cluster::add_client() {
  const u32 index = static_cast<u32>(clients_.size());
  clients_.push_back(std::make_unique<ClientHost>(world_, options_, index, master_addresses_));
  return *clients_.back();
}

MasterHost* Cluster::leader() {
  for (const auto& host : masters_) {
    if (host->running() && host->leads()) {
      return host.get();
    }
  }
  return nullptr;
}

bool Cluster::serving() const {
  bool led = false;
  for (const auto& host : masters_) {
    if (!host->running() || !host->serving()) {
      return false;
    }
    led = led || host->leads();
  }
  if (!led) {
    return false;
  }
  for (const auto& host : chunkservers_) {
    if (!host->running() || !host->serving()) {
      return false;
    }
  }
  return true;
}

bool Cluster::boot(Instant deadline) {
  for (const auto& host : masters_) {
    host->start();
  }
  for (const auto& host : chunkservers_) {
    host->start();
  }
  for (const auto& host : clients_) {
    host->start();
  }
  return world_.run_until([this] { return serving() || judge_.failed(); }, deadline) &&
         !judge_.failed();
}

bool Cluster::stop_host(Host& host, Task<void> stop, Duration patience) {
  bool stopped = false;
  host.reactor().spawn("stop", TaskClass::control,
                       detail::store_result_void(std::move(stop), stopped));
  const Instant deadline = world_.now() + patience;
  world_.run_until([&] { return stopped && host.reactor().tasks() == 0; }, deadline);
  if (!stopped || host.reactor().tasks() > 0) {
    judge_.fail(fmt::format("{}: {} {} tasks are left", host.name(),
                            stopped ? "it stopped, but" : "it does not stop;",
                            host.reactor().tasks()));
    return false;
  }
  if (judge_.failed()) {
    return false;
  }
  host.finish();
  return true;
}

bool Cluster::shut_down(Duration patience) {
  for (const auto& host : clients_) {
    if (host->running() && !stop_host(*host, host->stop(), patience)) {
      return false;
    }
  }
  for (const auto& host : chunkservers_) {
    if (host->running() && !stop_host(*host, host->stop(), patience)) {
      return false;
    }
  }
  for (const auto& host : masters_) {
    if (host->running() && !stop_host(*host, host->stop(), patience)) {
      return false;
    }
  }
  return true;
}

}  // namespace pangu::sim
