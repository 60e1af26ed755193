#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "master/group/group.h"
#include "master/ops/ops.h"
#include "master/state/rocks_kv.h"
#include "raft/driver/host.h"
#include "raft/driver/shared_log.h"
#include "rpc/handshake.h"
#include "rpc/service.h"
#include "runtime/buffer_pool.h"

// A master process's own part: a data folder with its identity and lock, and in it the log of its
// groups and their stores. What listens is an rpc::Server over service().
//
//   <directory>/identity.toml   cluster id, node id, founding members, format version
//   <directory>/lock            held while open
//   <directory>/log/            docs/formats/raft-log.md
//   <directory>/kv/             RocksDB, or kv/image of the store in memory
//   <directory>/snapshots/      docs/formats/master-snapshot.md
namespace pangu::master {

enum class StoreKind : u8 {
  rocksdb,
  memory,  // simulation and small embedded clusters: see state/memory_kv.h
};

// A master of the cluster, as the others reach it.
struct Member {
  raft::NodeId node;
  env::Address address;
};

// What a new data folder says for ever.
struct Founding {
  Uuid cluster;                   // zero: a new cluster
  raft::NodeId node{1};           // this master
  std::vector<Member> members;    // all masters that begin the cluster; empty: this one alone
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
  // For requests that come without a deadline.
  Duration request_timeout = seconds(30);
};

class Master {
 public:
  // Makes a data folder for a master that begins a cluster and returns the cluster's id. Every
  // founding master is given the same cluster and members, and a node of its own. AlreadyExists: the
  // folder is a master's already. InvalidArgument. Blocking.
  static Result<Uuid> init(env::Env& env, const std::string& directory,
                           const Founding& founding = {});

  // `reactor` and `pool` must outlive the master.
  Master(Reactor& reactor, BufferPool& pool, MasterOptions options);
  ~Master();  // REQUIRES: stop() returned, or open() was not called, or the reactor was abandoned

  // Errors: NotFound (no data folder: init first), InUse (another process has it), Corrupt,
  // WrongCluster, WrongVersion, each with what and where. After an error call stop().
  Task<Status> open();
  // Before a planned stop, while the rpc::Server still serves: another master leads from now on, if
  // there is one that can. Returns by the deadline.
  Task<void> hand_over(Instant deadline);
  // REQUIRES: the rpc::Server over service() has stopped.
  Task<void> stop();

  // Known after open().
  Uuid cluster() const { return founding_.cluster; }
  raft::NodeId node() const { return founding_.node; }
  const std::vector<Member>& members() const { return founding_.members; }
  rpc::Service& service();
  Group& group() { return *group_; }

 private:
  class Dispatcher;

  Status open_folder();
  Task<Status> open_host();
  Task<Result<std::unique_ptr<Kv>>> open_store();

  Reactor& reactor_;
  BufferPool& pool_;
  MasterOptions options_;
  std::unique_ptr<env::File> lock_;
  Founding founding_;
  std::unique_ptr<raft::PeerCalls> peers_;
  std::unique_ptr<raft::Host> host_;
  std::unique_ptr<Group> group_;
  std::unique_ptr<ops::Context> context_;
  std::unique_ptr<Dispatcher> dispatcher_;
};

}  // namespace pangu::master
