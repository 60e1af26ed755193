#pragma once
#include <memory>
#include <string>
#include <vector>

#include "raft/driver/shared_log.h"
#include "raft/driver/testing/rig.h"

// Hosts in real time: all on one reactor, with the real rpc over loopback between them.
namespace pangu::raft::testing {

// Counts commands and nothing else.
class Counter final : public StateMachine {
 public:
  Task<Status> apply(Index index, Payload) override {
    applied_ = index;
    ++commands;
    co_return ok_status();
  }
  Index applied() const override { return applied_; }
  Index durable() const override { return keep_log ? 0 : applied_; }
  Task<Result<SnapshotImage>> make_snapshot() override {
    SnapshotImage image;
    image.index = applied_;
    co_return image;
  }
  Task<Result<std::string>> read_piece(Index, u32, u64, u32) override {
    co_return Error(Code::kNotFound);
  }
  void release_snapshot(Index) override {}
  Task<Result<std::unique_ptr<SnapshotSink>>> begin_install(SnapshotImage) override {
    co_return Error(Code::kUnsupported, "a counter is not installed");
  }
  u64 commands = 0;
  bool keep_log = true;

 private:
  Index applied_ = 0;
};

struct RealHost {
  MemoryDisk disk;
  Counter counter;
  std::unique_ptr<BufferPool> pool;
  std::unique_ptr<ChannelPeers> channels;
  std::unique_ptr<Host> host;
  std::unique_ptr<HostService> service;
  std::unique_ptr<rpc::Server> server;
  Replica* replica = nullptr;
};

class RealHosts {
 public:
  // `folder` exists, or is empty: logs on memory.
  RealHosts(Reactor& reactor, u32 count, std::string folder)
      : hosts(count), reactor_(reactor), folder_(std::move(folder)) {}

  std::vector<RealHost> hosts;

  Task<Status> start() {
    Configuration members;
    for (u64 i = 1; i <= hosts.size(); ++i) {
      members.voters.push_back(NodeId{i});
      auto begun = co_await begin(i);
      CO_TRY_VOID(std::move(begun));
    }
    for (u64 i = 1; i <= hosts.size(); ++i) {
      RealHost& each = hosts[i - 1];
      for (u64 other = 1; other <= hosts.size(); ++other) {
        each.host->set_address(NodeId{other}, hosts[other - 1].server->address());
      }
      const std::vector<GroupId> there = each.host->recovered();
      if (there.empty()) {
        Configuration copy = members;
        auto created = co_await each.host->create_group(kGroup, std::move(copy), each.counter);
        CO_TRY(replica, std::move(created));
        each.replica = replica;
      } else {
        auto opened = co_await each.host->open_group(kGroup, each.counter);
        CO_TRY(replica, std::move(opened));
        each.replica = replica;
      }
    }
    co_return ok_status();
  }
  // Null: none before the deadline.
  Task<Replica*> wait_leader(Instant deadline) {
    while (reactor_.now() < deadline) {
      for (RealHost& each : hosts) {
        if (each.replica != nullptr && each.replica->leads() &&
            each.replica->core()->has_committed_in_term()) {
          co_return each.replica;
        }
      }
      co_await sleep_for(milliseconds(2));
    }
    co_return nullptr;
  }
  Task<void> stop(RealHost& each) {
    each.replica = nullptr;
    co_await each.host->stop();
    co_await each.server->stop();
  }

 private:
  Task<Status> begin(u64 id) {
    RealHost& each = hosts[id - 1];
    each.pool = std::make_unique<BufferPool>(reactor_.env(), BufferPoolOptions{});
    each.channels = std::make_unique<ChannelPeers>(reactor_, *each.pool, rpc::Identity{});
    HostOptions options;
    options.self = NodeId{id};
    options.cluster = kCluster;
    std::unique_ptr<LogStore> log;
    if (folder_.empty()) {
      log = std::make_unique<MemoryLog>(reactor_, each.disk);
    } else {
      options.directory = folder_ + "/" + std::to_string(id);
      SharedLogOptions where;
      where.directory = options.directory + "/log";
      where.log = Uuid{.high = 1, .low = id};
      CO_TRY_VOID(reactor_.env().files().make_directories(where.directory));
      log = std::make_unique<SharedLog>(reactor_, where);
    }
    each.host = std::make_unique<Host>(reactor_, options, std::move(log), *each.channels);
    auto opened = co_await each.host->open();
    CO_TRY_VOID(std::move(opened));
    each.service = std::make_unique<HostService>(*each.host);
    each.server = std::make_unique<rpc::Server>(reactor_, *each.service, *each.pool,
                                                rpc::ServerOptions{});
    CO_TRY_VOID(each.server->listen(*env::parse_address("127.0.0.1:0")));
    co_return ok_status();
  }

  Reactor& reactor_;
  const std::string folder_;
};

}  // namespace pangu::raft::testing
