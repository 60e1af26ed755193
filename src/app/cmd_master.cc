#include <fmt/format.h>

#include "app/master_server.h"
#include "app/report.h"
#include "app/server_command.h"
#include "app/settings.h"
#include "app/value.h"
#include "base/log.h"

namespace pangu::app {

namespace {
constexpr const char* kFoundingFlags[] = {"cluster-id", "node", "members"};

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
  if (args.given("members")) {
    TRY(members, members_of(args.text("members")));
    out.members = std::move(members);
  }
  return out;
}

Status run_master(Invocation& invocation) {
  TRY(options, master_server_options(invocation.config));
  options.init = invocation.args.toggle("init");
  TRY(founding, founding_of(invocation.args));
  options.founding = std::move(founding);
  TRY(world, World::create(invocation.config));
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
                "3=10.0.0.3:7100 --cluster-id $(uuidgen | tr -d -) --data D --listen 10.0.0.1:7100",
    .run = run_master,
    .server = true,
};

}  // namespace pangu::app
