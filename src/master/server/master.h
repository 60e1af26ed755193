#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/server/hosted_group.h"
#include "master/server/identity.h"
#include "master/state/rocks_kv.h"
#include "raft/driver/host.h"
#include "raft/driver/shared_log.h"
#include "rpc/handshake.h"
#include "rpc/service.h"
#include "runtime/buffer_pool.h"

// A master process's own part: a data folder with its identity and lock, and in it the log of its
// groups and their stores. What listens is an rpc::Server over service().
//
//   <directory>/identity.toml   cluster id, node id, founding members, numbers of groups
//   <directory>/founded         the groups that it begins with were begun
//   <directory>/lock            held while open
//   <directory>/log/            docs/formats/raft-log.md
//   <directory>/kv/             RocksDB, or kv/image-<group> of the stores in memory
//   <directory>/snapshots/      docs/formats/master-snapshot.md
namespace pangu::master {

enum class StoreKind : u8 {
  rocksdb,
  memory,  // simulation and small embedded clusters: see state/memory_kv.h
};

struct MasterOptions {
  std::string directory;
  StoreKind store = StoreKind::rocksdb;
  std::string version;  // of the program, for people
  GroupOptions group;
  LivenessOptions liveness;
  raft::SharedLogOptions log;  // directory and id are filled in
  raft::HostOptions raft;      // self, cluster and directory are filled in
  std::optional<rpc::ClusterKey> key;
  RocksKvOptions rocks;
  StreamLoopsOptions streams;
  // For requests that come without a deadline.
  Duration request_timeout = seconds(30);
  // Leaders of stream groups ask the root for the servers.
  Duration server_table_period = seconds(1);
  // A leader that is not the one that the group's place in the order asks for hands over after it
  // has led for so long.
  Duration balance_after = seconds(5);
};

class Master final : public GroupCalls::Local, public Group::ServerSource {
 public:
  // Makes a data folder for a master that begins a cluster, or joins one, and returns the cluster's
  // id. Every founding master is given the same cluster, members and numbers of groups, and a node
  // of its own. AlreadyExists: the folder is a master's already. InvalidArgument. Blocking.
  static Result<Uuid> init(env::Env& env, const std::string& directory,
                           const Founding& founding = {});

  // `reactor` and `pool` must outlive the master.
  Master(Reactor& reactor, BufferPool& pool, MasterOptions options);
  ~Master() override;  // REQUIRES: stop() returned, or open() was not called, or the reactor was
                       // abandoned

  // Errors: NotFound (no data folder: init first), InUse (another process has it), Corrupt,
  // WrongCluster, WrongVersion, each with what and where. After an error call stop().
  Task<Status> open();
  // Before a planned stop, while the rpc::Server still serves: others lead from now on, where there
  // are some that can. Returns by the deadline.
  Task<void> hand_over(Instant deadline);
  // REQUIRES: the rpc::Server over service() has stopped.
  Task<void> stop();

  // Known after open().
  Uuid cluster() const { return founding_.cluster; }
  raft::NodeId node() const { return founding_.node; }
  const Founding& founding() const { return founding_; }
  rpc::Service& service();
  // Null: this process has no member of it.
  Group* group(u64 id);
  std::vector<u64> groups() const;
  const ClusterMap& map() const { return map_; }
  raft::Host& host() { return *host_; }

 private:
  class Dispatcher;

  // server/master.cc
  Status open_folder();
  Task<Status> open_host();
  Task<Status> open_stores();
  Task<Status> open_groups();
  Task<Status> open_group(u64 id, std::vector<raft::NodeId> founders);
  Task<Result<std::unique_ptr<Kv>>> open_store(u64 group);
  Task<Status> drop_group(u64 id);
  bool leads(u64 group) const override;
  Task<Result<std::string>> serve(u64 group, wire::Method method, std::string body,
                                  Instant deadline) override;
  Task<Result<std::string>> serve_process(wire::Method method, std::string body);
  pb::PartitionMap described_map();
  Task<Result<std::string>> host_group(pb::HostGroupRequest request);

  // server/chores.cc: what goes on by itself
  void start_chores();
  Task<void> map_loop();
  Task<void> adopt_map();
  Task<bool> ask_for_map();
  void learn_addresses();
  Task<void> found_map(Group& root);
  Task<void> spread_map();
  Task<void> servers_loop();
  Task<bool> fetch_servers();
  Task<bool> refresh(Group& group) override;
  Task<void> balance_loop();
  Task<void> balance(Group& group);

  Reactor& reactor_;
  BufferPool& pool_;
  MasterOptions options_;
  std::unique_ptr<env::File> lock_;
  Founding founding_;
  ClusterMap map_;
  std::unique_ptr<raft::PeerCalls> peers_;
  std::unique_ptr<raft::PeerCalls> raft_peers_;
  std::unique_ptr<GroupCalls> calls_;
  std::unique_ptr<ServerCalls> server_calls_;
  std::unique_ptr<raft::Host> host_;
  std::shared_ptr<RocksStore> rocks_;
  std::map<u64, std::unique_ptr<HostedGroup>> groups_;
  std::unique_ptr<Dispatcher> dispatcher_;
  bool founded_ = false;  // the root's map is known to have masters
  bool closing_ = false;
  WaitList closing_list_;
  WaitList server_news_;
  Instant servers_fetched_;
  bool fetching_servers_ = false;
  std::map<u64, Instant> led_since_;
  Semaphore hosting_{1};
  Gate gate_;
};

}  // namespace pangu::master
