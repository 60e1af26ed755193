#include "master/server/master.h"

#include <algorithm>
#include <charconv>
#include <fmt/core.h>
#include <set>

#include "base/key_values.h"
#include "base/log.h"
#include "master/state/memory_kv.h"

namespace pangu::master {
namespace {

constexpr std::string_view kFormatVersion = "1";
constexpr std::string_view kRole = "master";
// How long the log may take to be applied again at a start.
constexpr Duration kReplayPatience = seconds(600);
// The group of everything, for now.
constexpr raft::GroupId kRootGroup{1};

std::string identity_path(const std::string& directory) { return directory + "/identity.toml"; }

Result<std::unique_ptr<env::File>> take_lock(env::Env& env, const std::string& directory) {
  const env::OpenOptions options{.create = true, .lock = true};
  auto lock = env.files().open(directory + "/lock", options);
  if (lock.code() == Code::kInUse) {
    return Error(Code::kInUse,
                 fmt::format("{}: another process is the master of this folder", directory));
  }
  return lock;
}

// "1=127.0.0.1:7101,2=127.0.0.1:7102"
std::string format_members(const std::vector<Member>& members) {
  std::string out;
  for (const Member& member : members) {
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", member.node.number,
                       env::to_string(member.address));
  }
  return out;
}

Result<u64> parse_node(const std::string& path, std::string_view text) {
  u64 number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: '{}' is no node id: a number from 1 on", path, text));
  }
  return number;
}

Result<std::vector<Member>> parse_members(const std::string& path, std::string_view text) {
  std::vector<Member> out;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals == part.npos) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{}: member '{}' is not NODE=HOST:PORT", path, part));
    }
    TRY(node, parse_node(path, part.substr(0, equals)));
    TRY(address, env::parse_address(part.substr(equals + 1)));
    out.push_back({.node = raft::NodeId{node}, .address = address});
  }
  return out;
}

Status check_founding(const Founding& founding) {
  std::set<u64> nodes;
  std::set<env::Address> addresses;
  for (const Member& member : founding.members) {
    if (!nodes.insert(member.node.number).second || member.node.number == 0) {
      return Error(Code::kInvalidArgument,
                   fmt::format("two masters cannot both be node {}", member.node.number));
    }
    if (!addresses.insert(member.address).second) {
      return Error(Code::kInvalidArgument, fmt::format("two masters cannot both be at {}",
                                                       env::to_string(member.address)));
    }
  }
  if (founding.members.size() > raft::kMembersMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} masters; a group has {} at most", founding.members.size(),
                             raft::kMembersMax));
  }
  if (!founding.members.empty() && !nodes.contains(founding.node.number)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("node {} is not among the members {}", founding.node.number,
                             format_members(founding.members)));
  }
  if (founding.members.size() > 1 && founding.cluster.is_zero()) {
    return Error(Code::kInvalidArgument,
                 "several masters that begin a cluster need one cluster id, given to all of them");
  }
  return ok_status();
}

Result<Founding> read_identity(env::Env& env, const std::string& directory) {
  const std::string path = identity_path(directory);
  if (!env.files().exists(path)) {
    return Error(Code::kNotFound,
                 fmt::format("{} is not there: this folder holds no master; a new cluster is made "
                             "with 'pangu master --init'",
                             path));
  }
  TRY(text, env.files().read_file(path));
  TRY(values, parse_key_values(path, text));
  TRY(role, required_value(path, values, "role"));
  if (role != kRole) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: this is the folder of a {}, not of a master", path, role));
  }
  TRY(version, required_value(path, values, "format_version"));
  if (version != kFormatVersion) {
    return Error(Code::kWrongVersion, fmt::format("{} has format version {}, this program reads {}",
                                                  path, version, kFormatVersion));
  }
  Founding out;
  TRY(cluster_text, required_value(path, values, "cluster"));
  TRY(cluster, parse_uuid(cluster_text));
  out.cluster = cluster;
  if (cluster.is_zero()) {
    return Error(Code::kInvalidArgument, fmt::format("{}: the cluster id is zero", path));
  }
  TRY(node_text, required_value(path, values, "node"));
  TRY(node, parse_node(path, node_text));
  out.node = raft::NodeId{node};
  TRY(members_text, required_value(path, values, "members"));
  TRY(members, parse_members(path, members_text));
  out.members = std::move(members);
  TRY_VOID(check_founding(out));
  return out;
}

}  // namespace

// Hands each request to its operation.
class Master::Dispatcher final : public rpc::Service {
 public:
  Dispatcher(Reactor& reactor, raft::Host& host, ops::Context& context, Duration request_timeout)
      : reactor_(reactor), host_(host), context_(context), request_timeout_(request_timeout) {}

  Result<rpc::Placement> place(const wire::FrameHeader&, Bytes) override {
    return Error(Code::kInvalidArgument, "a master takes no payload");
  }

  Task<rpc::Reply> handle(rpc::Request request) override {
    if (raft::Host::handles(request.method)) {
      auto answer = co_await host_.handle(std::move(request));
      co_return answer;
    }
    const ops::Operation* const operation = ops::find(request.method);
    if (operation == nullptr) {
      co_return rpc::Reply(Error(Code::kUnknownMethod,
                                 fmt::format("{} is no method of a master",
                                             wire::to_string(request.method))));
    }
    const Instant deadline =
        std::min(request.deadline, reactor_.now() + request_timeout_);
    Status ready = context_.group.check_leader();
    if (ready.ok() && operation->reads) {
      ready = co_await context_.group.read_barrier(deadline);
    }
    if (!ready.ok()) {
      co_return rpc::Reply(ready.error());
    }
    std::string body(as_text(request.body.bytes()));
    auto answer = co_await operation->run(context_, std::move(body), deadline);
    if (!answer.ok()) {
      co_return rpc::Reply(answer.error());
    }
    rpc::Reply reply;
    reply.body = std::move(*answer);
    co_return reply;
  }

 private:
  Reactor& reactor_;
  raft::Host& host_;
  ops::Context& context_;
  Duration request_timeout_;
};

Result<Uuid> Master::init(env::Env& env, const std::string& directory, const Founding& founding) {
  TRY_VOID(check_founding(founding));
  TRY_VOID(env.files().make_directories(directory));
  // Held until this returns.
  const auto lock = take_lock(env, directory);
  if (!lock.ok()) {
    return lock.error();
  }
  const std::string path = identity_path(directory);
  if (env.files().exists(path)) {
    return Error(Code::kAlreadyExists,
                 fmt::format("{} is there: this folder is a master's already; leave out --init to "
                             "start it",
                             path));
  }
  TRY(names, env.files().list(directory));
  for (const std::string& name : names) {
    if (name == "log" || name == "kv") {
      return Error(Code::kAlreadyExists,
                   fmt::format("{}/{} is there without an identity.toml: restore that file, or "
                               "choose an empty folder",
                               directory, name));
    }
  }
  Uuid cluster = founding.cluster;
  if (cluster.is_zero()) {
    cluster = {.high = env.random(), .low = env.random()};
  }
  const KeyValues values = {{"format_version", std::string(kFormatVersion)},
                            {"role", std::string(kRole)},
                            {"cluster", to_string(cluster)},
                            {"node", std::to_string(founding.node.number)},
                            {"members", format_members(founding.members)}};
  TRY_VOID(env.files().replace_file(
      path, format_key_values("Who this master is. Do not copy or edit.", values)));
  return cluster;
}

Master::Master(Reactor& reactor, BufferPool& pool, MasterOptions options)
    : reactor_(reactor), pool_(pool), options_(std::move(options)) {}

Master::~Master() = default;

rpc::Service& Master::service() {
  CHECK(dispatcher_ != nullptr);
  return *dispatcher_;
}

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

Task<Result<std::unique_ptr<Kv>>> Master::open_store() {
  const std::string folder = options_.directory + "/kv";
  if (options_.store == StoreKind::memory) {
    co_return MemoryKv::open(reactor_.env().files(), folder + "/image");
  }
  auto work = [this, &folder] { return open_rocks_kv(folder, options_.rocks); };
  auto opened = co_await run_in_background(work);
  co_return opened;
}

Task<Status> Master::open() {
  CO_TRY_VOID(open_folder());
  auto opened_store = co_await open_store();
  CO_TRY(kv, std::move(opened_store));
  auto hosted = co_await open_host();
  CO_TRY_VOID(std::move(hosted));
  group_ = std::make_unique<Group>(reactor_, options_.group, options_.liveness,
                                   options_.directory + "/snapshots/1");
  raft::Configuration founders;
  for (const Member& member : founding_.members) {
    founders.voters.push_back(member.node);
  }
  if (founders.voters.empty()) {
    founders.voters.push_back(founding_.node);
  }
  std::sort(founders.voters.begin(), founders.voters.end());
  auto opened = co_await group_->open(std::move(kv), *host_, kRootGroup, std::move(founders),
                                      founding_.cluster);
  CO_TRY_VOID(std::move(opened));
  if (founding_.members.size() <= 1) {
    // Alone it leads at once, and has applied everything, before anybody can ask.
    auto caught_up = co_await group_->read_barrier(reactor_.now() + kReplayPatience);
    CO_TRY_VOID(std::move(caught_up));
  }
  context_ = std::make_unique<ops::Context>(
      ops::Context{.group = *group_, .cluster = cluster(), .version = options_.version});
  dispatcher_ =
      std::make_unique<Dispatcher>(reactor_, *host_, *context_, options_.request_timeout);
  LOG_INFO("master {} of cluster {} opened at command {}", node().number, to_string(cluster()),
           group_->applied_index());
  co_return ok_status();
}

Task<Status> Master::open_host() {
  const rpc::Identity identity{.cluster = cluster(), .key = options_.key};
  peers_ = std::make_unique<raft::ChannelPeers>(reactor_, pool_, identity);
  raft::SharedLogOptions log_options = options_.log;
  log_options.directory = options_.directory + "/log";
  log_options.log = {.high = cluster().high, .low = cluster().low ^ node().number};
  auto log = std::make_unique<raft::SharedLog>(reactor_, log_options);
  raft::HostOptions host_options = options_.raft;
  host_options.self = node();
  host_options.cluster = cluster();
  host_options.directory = options_.directory + "/snapshots";
  host_ = std::make_unique<raft::Host>(reactor_, host_options, std::move(log), *peers_);
  for (const Member& member : founding_.members) {
    host_->set_address(member.node, member.address);
  }
  auto opened = co_await host_->open();
  co_return opened;
}

Task<void> Master::hand_over(Instant deadline) {
  if (host_ && group_) {
    co_await host_->hand_over(deadline);
  }
}

Task<void> Master::stop() {
  if (group_) {
    group_->close();
  }
  if (host_) {
    co_await host_->stop();
  }
  if (group_) {
    co_await group_->stop();
  }
  lock_.reset();
}

}  // namespace pangu::master
