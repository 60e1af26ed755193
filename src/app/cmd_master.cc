#include "app/report.h"
#include "app/master_server.h"
#include "app/server_command.h"
#include "base/log.h"

namespace pangu::app {

namespace {
Status run_master(Invocation& invocation) {
  TRY(options, master_server_options(invocation.config));
  options.init = invocation.args.toggle("init");
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
                "pangu master --data /var/lib/pangu/master",
    .run = run_master,
    .server = true,
};

}  // namespace pangu::app
