#include <fmt/format.h>

#include "app/admin.h"
#include "app/master_server.h"
#include "app/report.h"
#include "app/server_command.h"
#include "app/settings.h"
#include "app/value.h"
#include "base/log.h"
#include "wire/proto.h"

namespace pangu::app {

namespace {
constexpr const char* kFoundingFlags[] = {"cluster-id", "node", "members", "join",
                                          "namespace-groups", "stream-groups"};

// NODE=HOST:PORT[,...]
Result<std::vector<master::Member>> members_of(const std::string& text) {
  std::vector<master::Member> out;
  for (const std::string& part : split(text, ',')) {
    const size_t equals = part.find('=');
    const auto node = parse_count(part.substr(0, equals));
    if (equals == part.npos || !node.ok() || *node == 0) {
      return Error(Code::kInvalidArgument,
                   fmt::format("--members: '{}' is not NODE=HOST:PORT, as in 1=127.0.0.1:7101", part));
    }
    auto found = addresses(part.substr(equals + 1));
    if (!found.ok()) {
      return std::move(found).error().within("--members");
    }
    out.push_back({.node = raft::NodeId{*node}, .address = found->front()});
  }
  return out;
}

Result<master::Founding> founding_of(const Args& args) {
  master::Founding out;
  for (const char* flag : kFoundingFlags) {
    if (args.given(flag) && !args.toggle("init")) {
      return Error(Code::kInvalidArgument,
                   fmt::format("--{} goes with --init only: the data directory remembers it", flag));
    }
  }
  if (args.given("cluster-id")) {
    TRY(cluster, parse_uuid(args.text("cluster-id")));
    out.cluster = cluster;
  }
  out.node = raft::NodeId{args.count("node")};
  out.namespace_groups = static_cast<u32>(std::min<u64>(args.count("namespace-groups"), ~u32{0}));
  out.stream_groups = static_cast<u32>(std::min<u64>(args.count("stream-groups"), ~u32{0}));
  if (args.given("members")) {
    TRY(members, members_of(args.text("members")));
    out.members = std::move(members);
  }
  return out;
}

Task<Result<pb::PartitionMap>> ask_map(Admin& admin) {
  auto map = co_await admin.partition_map();
  co_await admin.stop();
  co_return map;
}

// A master that joins takes over what the cluster says of itself.
Status ask_cluster(World& world, const Args& args, const Config& config,
                   master::Founding& founding) {
  if (args.given("members") || args.given("cluster-id") || args.given("namespace-groups") ||
      args.given("stream-groups")) {
    return Error(Code::kInvalidArgument,
                 "--join asks the cluster for its id, members and groups: leave the other flags "
                 "out");
  }
  TRY(admin, Admin::create(world, config, args.text("join")));
  TRY(map, world.run(ask_map(*admin)));
  founding.begins = false;
  founding.cluster = wire::get(map.cluster());
  founding.namespace_groups = 0;
  founding.stream_groups = 0;
  for (const pb::GroupInfo& group : map.groups()) {
    founding.namespace_groups += group.kind() == pb::GROUP_NAMESPACE ? 1 : 0;
    founding.stream_groups += group.kind() == pb::GROUP_STREAM ? 1 : 0;
  }
  for (const pb::MasterNode& master : map.masters()) {
    TRY(address, env::parse_address(master.address()));
    if (master.node() == founding.node.number) {
      return Error(Code::kAlreadyExists,
                   fmt::format("the cluster has a master {} already, at {}; choose another --node",
                               master.node(), master.address()));
    }
    founding.members.push_back({.node = raft::NodeId{master.node()}, .address = address});
  }
  return {};
}

Status run_master(Invocation& invocation) {
  TRY(options, master_server_options(invocation.config));
  options.init = invocation.args.toggle("init");
  TRY(founding, founding_of(invocation.args));
  options.founding = std::move(founding);
  TRY(world, World::create(invocation.config));
  if (invocation.args.given("join")) {
    TRY_VOID(ask_cluster(*world, invocation.args, invocation.config, options.founding));
  }
  TRY(server, world->run(MasterServer::start(world->reactor(), std::move(options))));
  announce(invocation, "master", env::to_string(server->address()));
  world->run_until_interrupted();
  LOG_INFO("stopping");
  world->run_stop(server->stop(), kStopPatience);
  return {};
}

const Flag kFlags[] = {
    {.name = "init", .help = "make a new cluster in the data directory first"},
    {.name = "node", .kind = ValueKind::count, .value_name = "N",
     .help = "with --init: the number of this master, never used again for another",
     .fallback = "1"},
    {.name = "members", .kind = ValueKind::text, .value_name = "NODE=HOST:PORT,...",
     .help = "with --init: all masters that begin the cluster, this one too", .fallback = ""},
    {.name = "cluster-id", .kind = ValueKind::text, .value_name = "UUID",
     .help = "with --init: 32 hexadecimal digits, the same for all of them", .fallback = ""},
    {.name = "namespace-groups", .kind = ValueKind::count, .value_name = "N",
     .help = "with --init: among how many groups names are divided, for ever", .fallback = "2"},
    {.name = "stream-groups", .kind = ValueKind::count, .value_name = "N",
     .help = "with --init: among how many groups chunks are divided, for ever", .fallback = "2"},
    {.name = "join", .kind = ValueKind::text, .value_name = "HOST:PORT[,...]",
     .help = "with --init: masters of the cluster that this one joins", .fallback = ""},
    kDataFlag,
    kListenFlag,
    kSpinFlag,
    kIoFlag,
    kReadyFdFlag,
};
}  // namespace

extern const Command kMaster;
const Command kMaster = {
    .name = "master",
    .group = CommandGroup::cluster,
    .summary = "Runs a master: it keeps names, streams and servers",
    .flags = kFlags,
    .details = "--init is needed once, and refused where a master's data is already. SIGTERM and\n"
               "Ctrl-C stop it in order, a second one at once.",
    .examples = "pangu master --init --data /var/lib/pangu/master --listen 127.0.0.1:7100\n"
                "pangu master --data /var/lib/pangu/master\n"
                "pangu master --init --node 1 --members 1=10.0.0.1:7100,2=10.0.0.2:7100,"
                "3=10.0.0.3:7100 --cluster-id $(uuidgen | tr -d -) --data D --listen 10.0.0.1:7100\n"
                "pangu master --init --node 4 --join 10.0.0.1:7100 --data D --listen 10.0.0.4:7100",
    .run = run_master,
    .server = true,
};

}  // namespace pangu::app
