#include <fmt/format.h>

#include "app/dev_cluster.h"
#include "app/local_file.h"
#include "app/process.h"
#include "app/report.h"
#include "app/server_command.h"
#include "app/settings.h"
#include "app/world.h"
#include "base/units.h"

namespace pangu::app {

namespace {
Result<DevOptions> options_of(const Invocation& invocation, const std::string& directory) {
  const Args& args = invocation.args;
  DevOptions options;
  options.directory = directory;
  options.chunkservers = args.count("chunkservers");
  options.racks = args.count("racks");
  options.namespace_groups = args.count("namespace-groups");
  options.stream_groups = args.count("stream-groups");
  options.memory = args.toggle("memory");
  options.device_bytes = args.size("device-size");
  const u64 port = args.count("master-port");
  if (port > 65535 || options.chunkservers == 0 || options.chunkservers > 100) {
    return Error(Code::kInvalidArgument,
                 "--master-port is 0 to 65535 and --chunkservers 1 to 100");
  }
  options.master_port = static_cast<u16>(port);
  TRY(key, cluster_key(invocation.config));
  options.key = key;
  return options;
}

std::string welcome(const DevOptions& options, const std::string& master, Duration took,
                    bool kept) {
  const std::string program = own_program_name();
  return fmt::format(
      "pangu dev: a master and {0} chunkservers in this process, ready in {1}\n"
      "data in {2}{3}\n\n"
      "In another terminal:\n\n"
      "  export PANGU_CLUSTER={4}\n"
      "  echo hello | {5} put - /hello\n"
      "  {5} cat /hello\n"
      "  {5} stat /hello\n"
      "  {5} status\n"
      "  {5} bench append --size 4k --streams 8\n\n"
      "Ctrl-C stops it.\n",
      options.chunkservers, format_duration(took), options.directory,
      kept ? "" : ", removed at the end (--dir DIR keeps it)", master, program);
}

Status run_in(Invocation& invocation, const std::string& directory, bool kept) {
  TRY(options, options_of(invocation, directory));
  TRY(world, World::create(invocation.config));
  if (!kept) {
    world->push_cleanup([directory] {
      const Status removed = remove_tree(directory);
      static_cast<void>(removed);
    });
  }
  const Instant start = world->now();
  TRY(cluster, world->run(DevCluster::start(world->reactor(), options)));
  const std::string master = env::to_string(cluster->master_address());
  TRY_VOID(print(welcome(options, master, world->now() - start, kept)));
  if (invocation.args.given("ready-fd")) {
    announce_ready(static_cast<int>(invocation.args.count("ready-fd")), master);
  }
  world->run_until_interrupted();
  world->run_stop(cluster->stop(), kStopPatience);
  return {};
}

Status run_dev(Invocation& invocation) {
  if (invocation.args.given("dir")) {
    const std::string directory = invocation.args.text("dir");
    return run_in(invocation, directory, true);
  }
  TRY(directory, make_temporary_directory("pangu-dev"));
  const Status status = run_in(invocation, directory, false);
  TRY_VOID(remove_tree(directory));
  return status;
}

const Flag kFlags[] = {
    {.name = "dir", .kind = ValueKind::text, .value_name = "DIR",
     .help = "keep the data there for the next start; without it nothing is kept"},
    {.name = "chunkservers", .kind = ValueKind::count, .value_name = "N",
     .help = "how many chunkservers", .fallback = "3"},
    {.name = "racks", .kind = ValueKind::count, .value_name = "N",
     .help = "spread them over this many racks; 0: each its own", .fallback = "0"},
    {.name = "namespace-groups", .kind = ValueKind::count, .value_name = "N",
     .help = "among how many groups of a new cluster names are divided", .fallback = "2"},
    {.name = "stream-groups", .kind = ValueKind::count, .value_name = "N",
     .help = "among how many groups of a new cluster chunks are divided", .fallback = "2"},
    {.name = "memory", .help = "keep the data in memory: fast, and gone at the end"},
    {.name = "device-size", .kind = ValueKind::size, .value_name = "SIZE",
     .help = "capacity of each chunkserver; files are sparse", .fallback = "16G"},
    {.name = "master-port", .kind = ValueKind::count, .value_name = "PORT",
     .help = "port of the master; 0: any free one", .fallback = "7100"},
    kSpinFlag,
    kIoFlag,
    kReadyFdFlag,
};
}  // namespace

extern const Command kDev;
const Command kDev = {
    .name = "dev",
    .group = CommandGroup::cluster,
    .summary = "Runs a whole cluster in this process, to try and to develop against",
    .flags = kFlags,
    .details = "The same master and chunkservers as in processes of their own, on real loopback\n"
               "connections. Needs no root and no configuration. Ctrl-C stops it.",
    .examples = "pangu dev\npangu dev --dir ~/pangu-data --chunkservers 6",
    .run = run_dev,
};

}  // namespace pangu::app
