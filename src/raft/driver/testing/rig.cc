#include "raft/driver/testing/rig.h"

#include "raft/driver/shared_log.h"
#include "runtime/await.h"

namespace pangu::raft::testing {
namespace {

constexpr Duration kTryAgain = milliseconds(200);

}  // namespace

// ---- a process ----

Process::Process(env::sim::World& world, u64 id, const RigOptions& options, Oracle& oracle)
    : ledger_disks(options.groups),
      node_(world.add_node(fmt::format("raft-{}", id))),
      id_{id},
      options_(options),
      oracle_(oracle) {}

Process::~Process() {
  if (running()) {
    crash(env::sim::Crash::process);
  }
}

rpc::Identity Process::identity() const {
  rpc::Identity out{.cluster = kCluster, .server = {static_cast<u32>(id_.value())}, .key = {}};
  out.key.emplace();
  out.key->fill(std::byte{0x5a});
  return out;
}

void Process::start() {
  if (!node_.up()) {
    node_.restart();
  }
  reactor_ = std::make_unique<Reactor>(node_.env(), ReactorOptions{});
  node_.env().attach(*reactor_);
  reactor_->spawn("process", TaskClass::control, run());
}

Task<void> Process::run() {
  for (;;) {
    const Status serving = co_await serve();
    if (serving.ok()) {
      break;
    }
    trouble = serving.error().message();
    if (serving.code() == Code::kCorrupt) {
      oracle_.fail(fmt::format("process {} cannot start: {}", id_.value(), trouble));
    }
    if (host_ != nullptr) {
      co_await host_->stop();
    }
    drop();
    co_await sleep_for(kTryAgain);
  }
  trouble.clear();
  if (on_ready) {
    on_ready(*this);
  }
}

Task<Status> Process::serve() {
  pool_ = std::make_unique<BufferPool>(
      node_.env(), BufferPoolOptions{.bytes = 8 * kMiB, .huge_pages = false, .registered = false});
  channels_ = std::make_unique<ChannelPeers>(*reactor_, *pool_, identity());
  HostOptions options = options_.host;
  options.self = id_;
  options.cluster = kCluster;
  options.directory = "/raft";
  std::unique_ptr<LogStore> log;
  CO_TRY_VOID(node_.env().files().make_directories("/raft/log"));
  if (options_.shared_log) {
    SharedLogOptions where;
    where.directory = "/raft/log";
    where.log = Uuid{.high = 1, .low = id_.value()};
    where.segment_bytes = options_.segment_bytes;
    where.cache_bytes = options_.cache_bytes;
    where.prepared_ahead = options_.segment_bytes / 4;
    log = std::make_unique<SharedLog>(*reactor_, where);
  } else {
    log = std::make_unique<MemoryLog>(*reactor_, log_disk);
  }
  host_ = std::make_unique<Host>(*reactor_, options, std::move(log), *channels_);
  for (Process* peer : peers) {
    host_->set_address(peer->id(), peer->address());
  }
  auto opened = co_await host_->open();
  CO_TRY_VOID(std::move(opened));
  const std::vector<GroupId> there = host_->recovered();
  for (u32 i = 0; i < options_.groups; ++i) {
    const GroupId group{kGroup.value() + i};
    ledgers_.push_back(
        std::make_unique<Ledger>(*reactor_, id_.value(), ledger_disks[i], oracle_));
    Ledger& ledger = *ledgers_.back();
    const bool known = std::find(there.begin(), there.end(), group) != there.end();
    if (known) {
      auto started = co_await host_->open_group(group, ledger);
      CO_TRY_VOID(std::move(started));
    } else {
      Configuration members = first_members;
      auto started = co_await host_->create_group(group, std::move(members), ledger);
      CO_TRY_VOID(std::move(started));
    }
  }
  service_ = std::make_unique<HostService>(*host_);
  auto server = std::make_unique<rpc::Server>(*reactor_, *service_, *pool_,
                                              rpc::ServerOptions{.identity = identity()});
  CO_TRY_VOID(server->listen(address()));
  server_ = std::move(server);
  co_return ok_status();
}

void Process::drop() {
  server_.reset();
  service_.reset();
  host_.reset();
  ledgers_.clear();
  channels_.reset();
  pool_.reset();
}

void Process::crash(env::sim::Crash how) {
  CHECK(running());
  node_.crash(how);
  reactor_->abandon();
  {
    const ReactorScope scope(reactor_.get());
    drop();
  }
  reactor_.reset();
}

namespace {
Task<void> stop_all(rpc::Server& server, Host& host, bool& stopped) {
  co_await host.stop();
  co_await server.stop();
  stopped = true;
}
}  // namespace

void Process::stop(env::sim::World& world) {
  CHECK(ready());
  bool stopped = false;
  spawn("stop", stop_all(*server_, *host_, stopped));
  if (!world.run_until([&] { return stopped && reactor_->tasks() == 0; },
                       world.now() + seconds(20))) {
    oracle_.fail(fmt::format("process {} does not stop: {} tasks are left", id_.value(),
                             reactor_->tasks()));
    crash(env::sim::Crash::process);
    return;
  }
  {
    const ReactorScope scope(reactor_.get());
    drop();
  }
  node_.env().detach();
  reactor_.reset();
  node_.crash(env::sim::Crash::process);
}

// ---- the rig ----

Rig::Rig(u64 seed, u32 count, u32 members, const RigOptions& options,
         const env::sim::WorldOptions& world_options)
    : world(seed, world_options), options_(options) {
  Configuration first;
  for (u64 id = 1; id <= members; ++id) {
    first.voters.push_back(NodeId{id});
  }
  for (u64 id = 1; id <= count; ++id) {
    processes.push_back(std::make_unique<Process>(world, id, options_, oracle));
    if (id <= members) {
      processes.back()->first_members = first;
    }
  }
  for (auto& process : processes) {
    for (auto& other : processes) {
      if (process != other) {
        process->peers.push_back(other.get());
      }
    }
  }
}

Rig::~Rig() = default;

Process* Rig::leader(u64 group) {
  Process* out = nullptr;
  for (auto& process : processes) {
    if (process->ready() && process->replica(group).leads() &&
        (out == nullptr || out->replica(group).term() < process->replica(group).term())) {
      out = process.get();
    }
  }
  return out;
}

Process* Rig::wait_leader(Duration patience, u64 group) {
  wait([&] {
    Process* found = leader(group);
    return found != nullptr && found->replica(group).core()->has_committed_in_term();
  }, patience);
  return leader(group);
}

namespace {

struct Done {
  bool done = false;
  std::optional<Result<Index>> index;
  Status status;
};

Task<void> do_append(Replica& replica, Oracle& oracle, std::string command, Instant deadline,
                     std::shared_ptr<Done> done) {
  const Index floor = oracle.begin();
  const u64 id = Oracle::id_of(command);
  auto index = co_await replica.propose(std::move(command), deadline);
  if (index.ok()) {
    oracle.appended(id, floor, *index);
  } else if (index.code() != Code::kUnknownOutcome) {
    oracle.refused(id);
  }
  done->index = std::move(index);
  done->done = true;
}

Task<void> do_read(Process& process, Oracle& oracle, Instant deadline,
                   std::shared_ptr<Done> done) {
  const Index floor = oracle.begin();
  done->status = co_await process.replica().read_barrier(deadline);
  if (done->status.ok()) {
    oracle.read(floor, process.ledger().state().index);
  }
  done->done = true;
}

Task<void> do_change(Process& process, ConfigurationChange change, Instant deadline,
                     std::shared_ptr<Done> done) {
  done->status = co_await process.replica().change_members(std::move(change), deadline);
  done->done = true;
}

}  // namespace

Result<Index> Rig::append(Process& process, u64 size, Duration patience) {
  auto done = std::make_shared<Done>();
  process.spawn("append",
                do_append(process.replica(), oracle, oracle.new_command(size),
                          process.reactor().now() + patience, done));
  if (!wait([&] { return done->done; }, patience + seconds(1))) {
    oracle.fail("a proposal never ended");
    return Error(Code::kInternal);
  }
  return std::move(*done->index);
}

Status Rig::read(Process& process, Duration patience) {
  auto done = std::make_shared<Done>();
  process.spawn("read", do_read(process, oracle, process.reactor().now() + patience, done));
  if (!wait([&] { return done->done; }, patience + seconds(1))) {
    oracle.fail("a read never ended");
  }
  return std::move(done->status);
}

Status Rig::change(Process& process, ConfigurationChange change, Duration patience) {
  auto done = std::make_shared<Done>();
  process.spawn("change", do_change(process, std::move(change),
                                    process.reactor().now() + patience, done));
  if (!wait([&] { return done->done; }, patience + seconds(1))) {
    oracle.fail("a change of members never ended");
  }
  return std::move(done->status);
}

}  // namespace pangu::raft::testing
