#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chunk/server/chunkserver.h"
#include "master/server/master.h"
#include "pangu/client.h"
#include "rpc/server.h"
#include "sim/host.h"
#include "sim/judge.h"
#include "wire/partition.h"

// A whole cluster of the real code on simulated nodes: masters, chunkservers, and hosts on which
// clients run. Each process that cannot start tries again, as under a supervisor.
namespace pangu::sim {

struct ClusterOptions {
  u32 masters = 1;
  u32 namespace_groups = 2;
  u32 stream_groups = 2;
  u32 chunkservers = 4;
  u32 racks = 4;  // chunkserver i stands in rack i mod racks
  u32 clients = 3;
  u64 device_bytes = 64 * kMiB;
  u32 devices = 1;  // of each chunkserver
  Duration master_flush_interval = seconds(3);
  u64 master_log_keep = 10'000;  // entries
  u64 master_segment_bytes = 64 * kKiB;
  Duration suspect_after = seconds(3);
  Duration dead_after = seconds(30);
  client::ClientOptions client;  // without masters and key
};

class MasterHost final : public Host {
 public:
  // `members` says where every master is; it is complete before start().
  MasterHost(env::sim::World& world, Judge& judge, const ClusterOptions& options, u32 index,
             const std::vector<env::Address>& members);
  ~MasterHost() override { halt(); }
  bool serving() const { return server_ != nullptr; }
  // The root group.
  bool leads() const {
    master::Group* const root = serving() ? master_->group(wire::kRootGroup) : nullptr;
    return root != nullptr && root->check_leader().ok();
  }
  env::Address address() { return node().address(kPort); }
  master::Master& master() { return *master_; }
  Task<void> stop();

 private:
  static constexpr u16 kPort = 7100;
  Task<void> run() override;
  Task<Status> serve();
  void drop() override;

  Judge& judge_;
  const ClusterOptions& options_;
  const u32 index_;
  const std::vector<env::Address>& members_;
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<master::Master> master_;
  std::unique_ptr<rpc::Server> server_;
};

class ChunkHost final : public Host {
 public:
  ChunkHost(env::sim::World& world, Judge& judge, const ClusterOptions& options, u32 index,
            const std::vector<env::Address>& masters);
  ~ChunkHost() override { halt(); }
  bool serving() const { return server_ != nullptr; }
  chunk::Chunkserver& server() { return *server_; }
  // Chunks that exist on its devices. REQUIRES: serving()
  u64 chunks() const;
  Task<void> stop();

 private:
  static constexpr u16 kPort = 7200;
  Task<void> run() override;
  void drop() override { server_.reset(); }
  chunk::ChunkserverOptions server_options();

  Judge& judge_;
  const ClusterOptions& options_;
  const u32 index_;
  const std::vector<env::Address>& masters_;
  std::unique_ptr<chunk::Chunkserver> server_;
};

class ClientHost final : public Host {
 public:
  // Called in each life of the process when its first client is connected.
  using Ready = std::function<void(ClientHost&)>;

  ClientHost(env::sim::World& world, const ClusterOptions& options, u32 index,
             const std::vector<env::Address>& masters);
  ~ClientHost() override { halt(); }
  u32 index() const { return index_; }
  void set_ready(Ready ready) { ready_ = std::move(ready); }
  // The first client of this life, or nullptr.
  client::Client* client() { return clients_.empty() ? nullptr : clients_.front().get(); }
  // Another one, with an identity of its own; it lives as long as this process.
  Task<Result<client::Client*>> new_client();
  // Things that the tasks of this life use: destroyed after them.
  void keep(std::shared_ptr<void> thing) { kept_.push_back(std::move(thing)); }
  // Tasks of a workload in this life that have not ended.
  void actor_began() { ++actors_; }
  void actor_ended() { --actors_; }
  u32 actors() const { return actors_; }
  Task<void> stop();

 private:
  Task<void> run() override;
  void drop() override;

  const ClusterOptions& options_;
  const u32 index_;
  const std::vector<env::Address>& masters_;
  Ready ready_;
  std::vector<std::unique_ptr<client::Client>> clients_;
  std::vector<std::shared_ptr<void>> kept_;
  u32 actors_ = 0;
  bool starting_ = false;  // run() looks for the cluster
  bool stopping_ = false;
  WaitList started_;
};

class Cluster {
 public:
  Cluster(env::sim::World& world, Judge& judge, const ClusterOptions& options);

  // Starts every process and returns whether all of them serve before `deadline` of world time.
  bool boot(Instant deadline);
  // Whether every server is up and in service.
  bool serving() const;
  // Stops every process in order; false, with the reason told to the judge, if something is left.
  bool shut_down(Duration patience);

  std::vector<std::unique_ptr<MasterHost>>& masters() { return masters_; }
  // The one that leads, as far as it knows; nullptr if nobody does.
  MasterHost* leader();
  std::vector<std::unique_ptr<ChunkHost>>& chunkservers() { return chunkservers_; }
  std::vector<std::unique_ptr<ClientHost>>& clients() { return clients_; }
  ClientHost& add_client();
  const ClusterOptions& options() const { return options_; }

 private:
  bool stop_host(Host& host, Task<void> stop, Duration patience);

  env::sim::World& world_;
  Judge& judge_;
  const ClusterOptions options_;
  std::vector<env::Address> master_addresses_;
  std::vector<std::unique_ptr<MasterHost>> masters_;
  std::vector<std::unique_ptr<ChunkHost>> chunkservers_;
  std::vector<std::unique_ptr<ClientHost>> clients_;
};

}  // namespace pangu::sim
