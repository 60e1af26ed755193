#include <fmt/format.h>

#include "app/command.h"
#include "app/local_cluster.h"
#include "app/output.h"
#include "app/report.h"
#include "base/units.h"

namespace pangu::app {

namespace {
constexpr Flag kDirFlag = {.name = "dir", .kind = ValueKind::text, .value_name = "DIR",
                           .help = "the cluster's directory", .fallback = "pangu-cluster"};
constexpr Flag kDirOnly[] = {kDirFlag};

std::string state_of(const RoleProcess& role) {
  return is_running(role.process) ? "running" : "dead";
}

std::string age_text(i64 started_us, i64 now_us) {
  return format_duration(microseconds(std::max<i64>(0, now_us - started_us)));
}

std::string processes_text(World& world, const ClusterFile& file) {
  Table table({"NAME", ">PID", "STATE", "ADDRESS", ">AGE", "LOG"});
  for (const RoleProcess& role : file.roles) {
    const bool running = is_running(role.process);
    table.add({role.name, fmt::format("{}", role.process.pid), state_of(role), role.address,
               running ? age_text(role.started_us, world.env().wall_clock_us()) : "-",
               role.log_path});
  }
  return table.text();
}

std::string processes_json(const ClusterFile& file) {
  JsonWriter json;
  json.begin_object().field("directory", file.directory).field("masters", file.masters());
  json.key("processes").begin_array();
  for (const RoleProcess& role : file.roles) {
    json.begin_object().field("name", role.name).field("pid", role.process.pid);
    json.field("state", state_of(role)).field("address", role.address);
    json.field("log", role.log_path).field("started_us", role.started_us).end_object();
  }
  return json.end_array().end_object().text();
}

Status show(Invocation& invocation, World& world, const ClusterFile& file) {
  return print(invocation.json() ? processes_json(file) : processes_text(world, file));
}

Result<LocalClusterOptions> options_of(const Invocation& invocation) {
  const Args& args = invocation.args;
  LocalClusterOptions options;
  options.directory = args.text("dir");
  options.chunkservers = args.count("chunkservers");
  options.racks = args.count("racks");
  options.namespace_groups = args.count("namespace-groups");
  options.stream_groups = args.count("stream-groups");
  options.memory = args.toggle("memory");
  options.device_bytes = args.size("device-size");
  options.masters = args.count("masters");
  if (options.masters == 0 || options.masters > 9) {
    return Error(Code::kInvalidArgument, "--masters is 1 to 9");
  }
  const u64 port = args.count("master-port");
  if (port > 65535 || options.chunkservers == 0 || options.chunkservers > 1000) {
    return Error(Code::kInvalidArgument,
                 "--master-port is 0 to 65535 and --chunkservers 1 to 1000");
  }
  options.master_port = static_cast<u16>(port);
  for (const char* flag : {"config", "spin", "io", "key-file"}) {
    if (args.given(flag)) {
      options.common_words.push_back(fmt::format("--{}={}", flag, args.text(flag)));
    }
  }
  return options;
}

Status run_start(Invocation& invocation) {
  TRY(options, options_of(invocation));
  TRY(world, World::create(invocation.config));
  TRY(cluster, LocalCluster::start(*world, options));
  if (invocation.json()) {
    return print(processes_json(cluster.file()));
  }
  const std::string& directory = invocation.args.text("dir");
  const std::string program = own_program_name();
  return print(fmt::format("{0}\n"
                           "export PANGU_CLUSTER={1}\n"
                           "{2} put FILE /file\n"
                           "{2} cluster kill chunkserver-1 --dir {3}\n"
                           "{2} cluster stop --dir {3}\n",
                           processes_text(*world, cluster.file()), cluster.file().masters(),
                           program, directory));
}

Status run_status(Invocation& invocation) {
  TRY(world, World::create(invocation.config));
  TRY(cluster, LocalCluster::open(*world, invocation.args.text("dir")));
  return show(invocation, *world, cluster.file());
}

Status run_stop(Invocation& invocation) {
  TRY(world, World::create(invocation.config));
  TRY(cluster, LocalCluster::open(*world, invocation.args.text("dir")));
  return cluster.stop(invocation.args.duration("patience"));
}

Status run_restart(Invocation& invocation) {
  TRY(world, World::create(invocation.config));
  TRY(cluster, LocalCluster::open(*world, invocation.args.text("dir")));
  TRY_VOID(cluster.restart(invocation.args.arguments()[0]));
  return show(invocation, *world, cluster.file());
}

Status run_signal(Invocation& invocation, Signal signal) {
  TRY(world, World::create(invocation.config));
  TRY(cluster, LocalCluster::open(*world, invocation.args.text("dir")));
  const std::string& name = invocation.args.arguments()[0];
  TRY_VOID(signal == Signal::kill ? cluster.kill(name) : cluster.signal(name, signal));
  return show(invocation, *world, cluster.file());
}
Status run_kill(Invocation& invocation) { return run_signal(invocation, Signal::kill); }
Status run_pause(Invocation& invocation) { return run_signal(invocation, Signal::stop); }
Status run_resume(Invocation& invocation) { return run_signal(invocation, Signal::resume); }

constexpr Flag kStartFlags[] = {
    kDirFlag,
    {.name = "chunkservers", .kind = ValueKind::count, .value_name = "N",
     .help = "how many chunkservers", .fallback = "3"},
    {.name = "masters", .kind = ValueKind::count, .value_name = "N", .help = "how many masters",
     .fallback = "3"},
    {.name = "racks", .kind = ValueKind::count, .value_name = "N",
     .help = "spread the chunkservers over this many racks; 0: each its own", .fallback = "0"},
    {.name = "namespace-groups", .kind = ValueKind::count, .value_name = "N",
     .help = "among how many groups of a new cluster names are divided", .fallback = "2"},
    {.name = "stream-groups", .kind = ValueKind::count, .value_name = "N",
     .help = "among how many groups of a new cluster chunks are divided", .fallback = "2"},
    {.name = "memory", .help = "keep the data in memory: fast, and gone with the process"},
    {.name = "device-size", .kind = ValueKind::size, .value_name = "SIZE",
     .help = "capacity of each chunkserver; files are sparse", .fallback = "16G"},
    {.name = "master-port", .kind = ValueKind::count, .value_name = "PORT",
     .help = "port of the first master; 0: any free one", .fallback = "7100"},
    {.name = "spin", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "servers poll this long before sleeping", .config = "runtime.spin"},
    {.name = "io", .kind = ValueKind::text, .value_name = "HOW",
     .help = "how servers reach the kernel", .choices = "auto|io_uring|epoll",
     .config = "runtime.io"},
};
constexpr Flag kStopFlags[] = {
    kDirFlag,
    {.name = "patience", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "kill what still runs after this long", .fallback = "10s"},
};
}  // namespace

extern const Command kClusterStart;
const Command kClusterStart = {
    .name = "cluster start",
    .group = CommandGroup::cluster,
    .summary = "Starts a cluster with a process for each role on this machine",
    .flags = kStartFlags,
    .details = "Every process listens on loopback. Data, logs and cluster.json are kept below\n"
               "DIR; starting again in the same DIR continues with the same data.",
    .examples = "pangu cluster start --dir /tmp/pg\n"
                "pangu cluster start --dir /tmp/pg --chunkservers 6 --racks 3 --memory",
    .run = run_start,
};

extern const Command kClusterStatus;
const Command kClusterStatus = {
    .name = "cluster status",
    .group = CommandGroup::cluster,
    .summary = "Lists the processes of a local cluster",
    .flags = kDirOnly,
    .examples = "pangu cluster status --dir /tmp/pg",
    .run = run_status,
};

extern const Command kClusterStop;
const Command kClusterStop = {
    .name = "cluster stop",
    .group = CommandGroup::cluster,
    .summary = "Stops a local cluster in order; its data stays",
    .flags = kStopFlags,
    .examples = "pangu cluster stop --dir /tmp/pg",
    .run = run_stop,
};

extern const Command kClusterKill;
const Command kClusterKill = {
    .name = "cluster kill",
    .group = CommandGroup::cluster,
    .summary = "Kills one process of a local cluster (SIGKILL)",
    .arguments = "NAME",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kDirOnly,
    .examples = "pangu cluster kill chunkserver-1 --dir /tmp/pg",
    .run = run_kill,
};

extern const Command kClusterRestart;
const Command kClusterRestart = {
    .name = "cluster restart",
    .group = CommandGroup::cluster,
    .summary = "Starts a process of a local cluster that does not run",
    .arguments = "NAME",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kDirOnly,
    .examples = "pangu cluster restart chunkserver-1 --dir /tmp/pg",
    .run = run_restart,
};

extern const Command kClusterPause;
const Command kClusterPause = {
    .name = "cluster pause",
    .group = CommandGroup::cluster,
    .summary = "Freezes one process of a local cluster (SIGSTOP)",
    .arguments = "NAME",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kDirOnly,
    .examples = "pangu cluster pause chunkserver-1 --dir /tmp/pg",
    .run = run_pause,
};

extern const Command kClusterResume;
const Command kClusterResume = {
    .name = "cluster resume",
    .group = CommandGroup::cluster,
    .summary = "Lets a frozen process go on (SIGCONT)",
    .arguments = "NAME",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kDirOnly,
    .examples = "pangu cluster resume chunkserver-1 --dir /tmp/pg",
    .run = run_resume,
};

}  // namespace pangu::app
