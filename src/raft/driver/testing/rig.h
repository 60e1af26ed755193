#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env/sim/world.h"
#include "raft/driver/host.h"
#include "raft/driver/testing/ledger.h"
#include "raft/driver/testing/memory_log.h"
#include "rpc/server.h"
#include "runtime/await.h"

// Raft hosts as processes on simulated nodes, with the real rpc between them.
namespace pangu::raft::testing {

inline constexpr GroupId kGroup{7};
inline constexpr Uuid kCluster{.high = 0xc1, .low = 0x05};

// A host's methods behind an rpc server.
class HostService final : public rpc::Service {
 public:
  explicit HostService(Host& host) : host_(host) {}
  Result<rpc::Placement> place(const wire::FrameHeader&, Bytes) override {
    return Error(Code::kInvalidArgument, "these methods take no payload");
  }
  Task<rpc::Reply> handle(rpc::Request request) override {
    return host_.handle(std::move(request));
  }

 private:
  Host& host_;
};

struct RigOptions {
  HostOptions host;
  bool shared_log = false;  // on the node's simulated disk; else a MemoryLog
  u64 segment_bytes = 64 * kKiB;
  u64 cache_bytes = 64 * kKiB;
  u32 groups = 1;  // kGroup and the numbers after it
};

// One process, its disks, and what its members know of each other.
class Process {
 public:
  Process(env::sim::World& world, u64 id, const RigOptions& options, Oracle& oracle);
  ~Process();

  NodeId id() const { return id_; }
  env::sim::Node& node() { return node_; }
  bool running() const { return reactor_ != nullptr; }
  // It serves all its groups.
  bool ready() const { return server_ != nullptr; }
  Reactor& reactor() { return *reactor_; }
  Host& host() { return *host_; }
  Replica& replica(u64 group = 0) { return *host_->find(GroupId{kGroup.value() + group}); }
  Ledger& ledger(u64 group = 0) { return *ledgers_[group]; }
  env::Address address() { return node_.address(kPort); }

  MemoryDisk log_disk;
  std::vector<LedgerDisk> ledger_disks;
  // Of the groups' beginning; empty: it waits to be added.
  Configuration first_members;
  std::vector<Process*> peers;
  // Runs in each life once it is ready.
  std::function<void(Process&)> on_ready;
  // Why the last start failed; the world tries again.
  std::string trouble;

  void start();
  void crash(env::sim::Crash how);
  // In order; the process is down afterwards. Runs the world.
  void stop(env::sim::World& world);
  void spawn(const char* name, Task<void> task) {
    reactor_->spawn(name, TaskClass::foreground, std::move(task));
  }

 private:
  static constexpr u16 kPort = 7300;
  Task<void> run();
  Task<Status> serve();
  void drop();
  rpc::Identity identity() const;

  env::sim::Node& node_;
  const NodeId id_;
  const RigOptions& options_;
  Oracle& oracle_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<ChannelPeers> channels_;
  std::vector<std::unique_ptr<Ledger>> ledgers_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<HostService> service_;
  std::unique_ptr<rpc::Server> server_;
};

// So many processes; the first `members` of them are the groups' voters.
class Rig {
 public:
  Rig(u64 seed, u32 processes, u32 members, const RigOptions& options,
      const env::sim::WorldOptions& world_options = {});
  ~Rig();

  env::sim::World world;
  Oracle oracle;
  std::vector<std::unique_ptr<Process>> processes;

  Process& at(u64 id) { return *processes[id - 1]; }
  // The ready process that leads the group in the highest term, or null.
  Process* leader(u64 group = 0);
  Process* wait_leader(Duration patience, u64 group = 0);
  template <class Predicate>
  bool wait(Predicate predicate, Duration patience) {
    return world.run_until(predicate, world.now() + patience);
  }
  // Proposes on this process and waits for the outcome.
  Result<Index> append(Process& process, u64 size = 20, Duration patience = seconds(5));
  Status read(Process& process, Duration patience = seconds(5));
  Status change(Process& process, ConfigurationChange change, Duration patience = seconds(20));

 private:
  RigOptions options_;
};

}  // namespace pangu::raft::testing
