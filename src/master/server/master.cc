#include "master/server/master.h"

#include <algorithm>
#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/memory_kv.h"
#include "wire/group_of.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

// How long the log may take to be applied again at a start.
constexpr Duration kReplayPatience = seconds(600);

}  // namespace

// Hands each request to its group.
class Master::Dispatcher final : public rpc::Service {
 public:
  Dispatcher(Master& master, Duration request_timeout)
      : master_(master), request_timeout_(request_timeout) {}

  Result<rpc::Placement> place(const wire::FrameHeader&, Bytes) override {
    return Error(Code::kInvalidArgument, "a master takes no payload");
  }

  Task<rpc::Reply> handle(rpc::Request request) override {
    if (raft::Host::handles(request.method)) {
      auto answer = co_await master_.host_->handle(std::move(request));
      co_return answer;
    }
    const Instant deadline =
        std::min(request.deadline, master_.reactor_.now() + request_timeout_);
    std::string body(as_text(request.body.bytes()));
    Result<std::string> answer = Error(Code::kInternal);
    if (request.method == wire::Method::get_partition_map ||
        request.method == wire::Method::host_group) {
      answer = co_await master_.serve_process(request.method, std::move(body));
    } else {
      const u64 named = wire::group_of(request.body.bytes());
      answer = co_await master_.serve(named == 0 ? wire::kRootGroup : named, request.method,
                                      std::move(body), deadline);
    }
    if (!answer.ok()) {
      co_return rpc::Reply(answer.error());
    }
    rpc::Reply reply;
    reply.body = std::move(*answer);
    co_return reply;
  }

 private:
  Master& master_;
  Duration request_timeout_;
};

Result<Uuid> Master::init(env::Env& env, const std::string& directory, const Founding& founding) {
  return init_identity(env, directory, founding);
}

Master::Master(Reactor& reactor, BufferPool& pool, MasterOptions options)
    : reactor_(reactor), pool_(pool), options_(std::move(options)) {}

Master::~Master() = default;

rpc::Service& Master::service() {
  CHECK(dispatcher_ != nullptr);
  return *dispatcher_;
}

Group* Master::group(u64 id) {
  const auto found = groups_.find(id);
  return found == groups_.end() ? nullptr : &found->second->group();
}

std::vector<u64> Master::groups() const {
  std::vector<u64> out;
  for (const auto& [id, hosted] : groups_) {
    out.push_back(id);
  }
  return out;
}

// ---- open and stop ----

Status Master::open_folder() {
  env::Env& env = reactor_.env();
  TRY(founding, read_identity(env, options_.directory));
  TRY(lock, take_lock(env, options_.directory));
  lock_ = std::move(lock);
  founding_ = std::move(founding);
  TRY_VOID(env.files().make_directories(options_.directory + "/log"));
  TRY_VOID(env.files().make_directories(options_.directory + "/snapshots"));
  return env.files().make_directories(options_.directory + "/kv");
}

Task<Status> Master::open() {
  CO_TRY_VOID(open_folder());
  pb::PartitionMap map =
      founding_map(cluster(), founding_.namespace_groups, founding_.stream_groups);
  for (const Member& member : founding_.members) {
    pb::MasterNode& master = *map.add_masters();
    master.set_node(member.node.number);
    master.set_address(env::to_string(member.address));
  }
  for (pb::GroupInfo& group : *map.mutable_groups()) {
    for (const raft::NodeId node : founders_of(founding_, group.group())) {
      group.add_nodes(node.number);
    }
  }
  map_.adopt(std::move(map));
  auto stored = co_await open_stores();
  CO_TRY_VOID(std::move(stored));
  auto hosted = co_await open_host();
  CO_TRY_VOID(std::move(hosted));
  dispatcher_ = std::make_unique<Dispatcher>(*this, options_.request_timeout);
  auto opened = co_await open_groups();
  CO_TRY_VOID(std::move(opened));
  start_chores();
  LOG_INFO("master {} of cluster {} opened with {} groups", node().number, to_string(cluster()),
           groups_.size());
  co_return ok_status();
}

Task<Status> Master::open_host() {
  const rpc::Identity identity{.cluster = cluster(), .key = options_.key};
  raft_peers_ = std::make_unique<raft::ChannelPeers>(reactor_, pool_, identity);
  peers_ = std::make_unique<raft::ChannelPeers>(reactor_, pool_, identity);
  calls_ = std::make_unique<GroupCalls>(reactor_, map_, *peers_, *this);
  server_calls_ = std::make_unique<PeerServerCalls>(*peers_);
  raft::SharedLogOptions log_options = options_.log;
  log_options.directory = options_.directory + "/log";
  log_options.log = {.high = cluster().high, .low = cluster().low ^ node().number};
  auto log = std::make_unique<raft::SharedLog>(reactor_, log_options);
  raft::HostOptions host_options = options_.raft;
  host_options.self = node();
  host_options.cluster = cluster();
  host_options.directory = options_.directory + "/snapshots";
  host_ = std::make_unique<raft::Host>(reactor_, host_options, std::move(log), *raft_peers_);
  learn_addresses();
  auto opened = co_await host_->open();
  co_return opened;
}

Task<Status> Master::open_stores() {
  if (options_.store == StoreKind::memory) {
    co_return ok_status();
  }
  const std::string folder = options_.directory + "/kv";
  auto work = [this, &folder] { return open_rocks_store(folder, options_.rocks); };
  auto opened = co_await run_in_background(work);
  CO_TRY(store, std::move(opened));
  rocks_ = std::move(store);
  co_return ok_status();
}

Task<Result<std::unique_ptr<Kv>>> Master::open_store(u64 group) {
  if (options_.store == StoreKind::memory) {
    co_return MemoryKv::open(reactor_.env().files(),
                             fmt::format("{}/kv/image-{}", options_.directory, group));
  }
  auto work = [this, group] { return rocks_->group(group); };
  auto opened = co_await run_in_background(work);
  co_return opened;
}

// The first time those that the cluster begins with; from then on those that the log knows: a group
// may have been moved away.
Task<Status> Master::open_groups() {
  env::FileSystem& files = reactor_.env().files();
  const std::string founded = options_.directory + "/founded";
  std::vector<raft::GroupId> known = host_->recovered();
  if (!files.exists(founded)) {
    for (const u64 id : all_groups(founding_)) {
      const std::vector<raft::NodeId> founders = founders_of(founding_, id);
      const bool mine = std::find(founders.begin(), founders.end(), node()) != founders.end();
      if (mine && founding_.begins) {
        auto opened = co_await open_group(id, founders);
        CO_TRY_VOID(std::move(opened));
      }
      std::erase(known, raft::GroupId{id});
    }
    CO_TRY_VOID(files.replace_file(founded, "The groups of this master were begun.\n"));
  }
  for (const raft::GroupId id : known) {
    auto opened = co_await open_group(id.value(), {});
    CO_TRY_VOID(std::move(opened));
  }
  for (const auto& [id, hosted] : groups_) {
    // Alone it leads at once, and has applied everything, before anybody can ask.
    if (hosted->group().replica().configuration().voters == std::vector{node()}) {
      auto caught_up = co_await hosted->group().read_barrier(reactor_.now() + kReplayPatience);
      CO_TRY_VOID(std::move(caught_up));
    }
  }
  co_return ok_status();
}

Task<Status> Master::open_group(u64 id, std::vector<raft::NodeId> founders) {
  auto opened_store = co_await open_store(id);
  CO_TRY(kv, std::move(opened_store));
  const HostedGroup::Surroundings around{.reactor = reactor_,
                                         .options = options_.group,
                                         .liveness = options_.liveness,
                                         .calls = *calls_,
                                         .map = map_,
                                         .servers = *this,
                                         .server_calls = *server_calls_,
                                         .streams = options_.streams,
                                         .cluster = cluster(),
                                         .version = options_.version};
  auto hosted = std::make_unique<HostedGroup>(
      around, fmt::format("{}/snapshots/{}", options_.directory, id));
  const Genesis genesis{
      .cluster = cluster(),
      .kind = kind_of(id),
      .index = index_of(id),
      .namespace_groups = founding_.namespace_groups,
      .stream_groups = founding_.stream_groups,
      .map = founding_map(cluster(), founding_.namespace_groups, founding_.stream_groups)};
  raft::Configuration configuration;
  configuration.voters = std::move(founders);
  HostedGroup& added = *groups_.emplace(id, std::move(hosted)).first->second;
  auto opened = co_await added.open(std::move(kv), *host_, raft::GroupId{id},
                                    std::move(configuration), genesis);
  co_return opened;
}

Task<Status> Master::drop_group(u64 id) {
  const auto found = groups_.find(id);
  if (found == groups_.end()) {
    co_return ok_status();
  }
  std::unique_ptr<HostedGroup> hosted = std::move(found->second);
  groups_.erase(found);
  hosted->close();
  auto removed = co_await host_->remove_group(raft::GroupId{id});
  co_await hosted->stop();
  hosted.reset();
  CO_TRY_VOID(std::move(removed));
  LOG_INFO("this master has no member of group {} any more", id);
  if (options_.store == StoreKind::memory) {
    co_return reactor_.env().files().remove(
        fmt::format("{}/kv/image-{}", options_.directory, id));
  }
  auto work = [this, id] { return rocks_->remove_group(id); };
  auto emptied = co_await run_in_background(work);
  co_return emptied;
}

Task<void> Master::hand_over(Instant deadline) {
  if (host_) {
    co_await host_->hand_over(deadline);
  }
}

Task<void> Master::stop() {
  closing_ = true;
  closing_list_.wake_all();
  server_news_.wake_all();
  for (const auto& [id, hosted] : groups_) {
    hosted->close();
  }
  if (peers_) {
    co_await peers_->stop();
  }
  if (host_) {
    co_await host_->stop();
  }
  co_await gate_.close();
  for (const auto& [id, hosted] : groups_) {
    co_await hosted->stop();
  }
  groups_.clear();
  rocks_.reset();
  lock_.reset();
}

// ---- requests ----

bool Master::leads(u64 group) const {
  const auto found = groups_.find(group);
  return found != groups_.end() && found->second->group().check_leader().ok();
}

Task<Result<std::string>> Master::serve(u64 group, wire::Method method, std::string body,
                                        Instant deadline) {
  const auto found = groups_.find(group);
  if (found == groups_.end()) {
    co_return Error(Code::kStale, fmt::format("master {} has no member of group {}",
                                              node().number, group));
  }
  auto answer = co_await found->second->serve(method, std::move(body), deadline);
  co_return answer;
}

pb::PartitionMap Master::described_map() {
  pb::PartitionMap map = map_.get();
  for (pb::GroupInfo& info : *map.mutable_groups()) {
    if (Group* group = this->group(info.group())) {
      info.set_leader(group->replica().leader().number);
    }
  }
  return map;
}

Task<Result<std::string>> Master::serve_process(wire::Method method, std::string body) {
  if (method == wire::Method::get_partition_map) {
    pb::GetPartitionMapReply reply;
    *reply.mutable_map() = described_map();
    co_return reply.SerializeAsString();
  }
  pb::HostGroupRequest request;
  if (!request.ParseFromString(body)) {
    co_return Error(Code::kInvalidArgument, "the request does not parse");
  }
  auto answer = co_await host_group(std::move(request));
  co_return answer;
}

Task<Result<std::string>> Master::host_group(pb::HostGroupRequest request) {
  const u64 id = request.group();
  if (map_.find(id) == nullptr) {
    co_return Error(Code::kInvalidArgument, fmt::format("the cluster has no group {}", id));
  }
  for (const pb::MasterNode& master : request.masters()) {
    auto address = env::parse_address(master.address());
    CO_TRY(parsed, std::move(address));
    host_->set_address(raft::NodeId{master.node()}, parsed);
  }
  co_await hosting_.take(1);
  Status done;
  if (request.drop()) {
    done = co_await drop_group(id);
  } else if (!groups_.contains(id)) {
    REACHED("master: a member of a group is added to this process");
    done = co_await open_group(id, {});
  }
  hosting_.give(1);
  CO_TRY_VOID(std::move(done));
  co_return pb::HostGroupReply().SerializeAsString();
}

}  // namespace pangu::master
