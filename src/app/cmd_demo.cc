#include <fmt/format.h>

#include "app/demo.h"
#include "app/process.h"
#include "app/report.h"
#include "base/units.h"

namespace pangu::app {

namespace {
Status run_in(Invocation& invocation, World& world, const std::string& directory) {
  DemoOptions options;
  options.directory = directory + "/cluster";
  options.chunkservers = invocation.args.count("chunkservers");
  if (invocation.args.arguments().empty()) {
    TRY(input, make_demo_input(directory, invocation.args.size("bytes")));
    options.file = input;
  } else {
    options.file = invocation.args.arguments()[0];
  }
  return run_demo_in(invocation, world, options);
}

Status run_demo(Invocation& invocation) {
  TRY(world, World::create(invocation.config));
  TRY(directory, make_temporary_directory("pangu-demo"));
  TRY_VOID(print(fmt::format("pangu demo in {}\n", directory)));
  const std::string place = directory;
  world->push_cleanup([place] {
    const Status removed = remove_tree(place);
    static_cast<void>(removed);
  });
  const Status shown = run_in(invocation, *world, directory);
  world->pop_cleanup();
  if (invocation.args.toggle("keep")) {
    TRY_VOID(print(fmt::format("kept: {}\n", directory)));
  } else {
    TRY_VOID(remove_tree(directory));
  }
  TRY_VOID(shown);
  return print("  OK        every byte came back, with one server killed\n");
}

constexpr Flag kFlags[] = {
    {.name = "bytes", .kind = ValueKind::size, .value_name = "SIZE",
     .help = "how much of /usr/share to store if no FILE is named", .fallback = "100M"},
    {.name = "chunkservers", .kind = ValueKind::count, .value_name = "N",
     .help = "how many chunkservers; one of them dies", .fallback = "3"},
    {.name = "keep", .help = "leave the cluster's directory behind"},
};
}  // namespace

extern const Command kDemo;
const Command kDemo = {
    .name = "demo",
    .group = CommandGroup::cluster,
    .summary = "Stores real files, kills a server meanwhile, reads the same bytes back",
    .arguments = "[FILE]",
    .arguments_max = 1,
    .flags = kFlags,
    .details = "Runs a cluster of processes in a temporary directory and removes it. Fails if a\n"
               "single byte comes back different.",
    .examples = "pangu demo\npangu demo /boot/vmlinuz",
    .run = run_demo,
};

}  // namespace pangu::app
