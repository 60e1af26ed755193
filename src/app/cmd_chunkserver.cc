#include <fmt/format.h>

#include "app/report.h"
#include "app/chunkserver_options.h"
#include "app/server_command.h"
#include "base/log.h"

namespace pangu::app {

namespace {
Task<Result<std::unique_ptr<chunk::Chunkserver>>> start(World& world,
                                                        chunk::ChunkserverOptions options) {
  auto server = co_await chunk::Chunkserver::start(world.reactor(), std::move(options));
  if (!server.ok()) {
    co_return std::move(server).error();
  }
  const bool known = co_await (*server)->wait_registered(world.now() + seconds(20));
  if (!known) {
    LOG_WARN("no master has answered yet: registering goes on");
  }
  co_return std::move(server);
}

Status run_chunkserver(Invocation& invocation) {
  TRY(options, chunkserver_options(invocation.config));
  TRY(world, World::create(invocation.config));
  TRY(server, world->run(start(*world, std::move(options))));
  announce(invocation, fmt::format("chunkserver {}", server->server().number),
           env::to_string(server->address()));
  world->run_until_interrupted();
  LOG_INFO("stopping");
  world->run_stop(server->stop(), kStopPatience);
  return {};
}

const Flag kFlags[] = {
    {.name = "join", .kind = ValueKind::text, .value_name = "HOST:PORT[,...]",
     .help = "masters of the cluster", .config = "cluster.masters"},
    kDataFlag,
    kListenFlag,
    {.name = "device", .kind = ValueKind::text, .value_name = "PATH[,size=SIZE]",
     .help = "a file or block device to keep chunks on; repeated for more",
     .config = "device.paths", .repeated = true},
    {.name = "memory", .kind = ValueKind::size, .value_name = "SIZE",
     .help = "a device in memory: lost with the process", .config = "device.memory"},
    {.name = "format-if-blank", .help = "prepare devices that carry no data",
     .config = "device.format_if_blank"},
    {.name = "rack", .kind = ValueKind::text, .value_name = "NAME",
     .help = "failure domain: replicas of a chunk go to different ones", .config = "server.rack"},
    kSpinFlag,
    kIoFlag,
    kReadyFdFlag,
};
}  // namespace

extern const Command kChunkserver;
const Command kChunkserver = {
    .name = "chunkserver",
    .group = CommandGroup::cluster,
    .summary = "Runs a chunkserver: it keeps the data",
    .flags = kFlags,
    .details = "Joins the cluster at its first start; its identity stays in the data directory\n"
               "and on each device. SIGTERM and Ctrl-C stop it in order, a second one at once.",
    .examples = "pangu chunkserver --join 127.0.0.1:7100 --data /var/lib/pangu/cs1 \\\n"
                "    --device /var/lib/pangu/cs1/disk.img,size=64G --format-if-blank\n"
                "pangu chunkserver --join m1:7100 --data /var/lib/pangu/cs --device /dev/nvme0n1 "
                "--listen 10.0.0.5:7200 --rack r1 --key-file /etc/pangu/cluster.key",
    .run = run_chunkserver,
    .server = true,
};

}  // namespace pangu::app
