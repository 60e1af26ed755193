#include <fmt/format.h>

#include "app/command.h"
#include "app/exit_code.h"
#include "app/report.h"
#include "app/server_command.h"
#include "app/settings.h"
#include "app/world.h"
#include "base/units.h"
#include "chunk/server/identity.h"
#include "chunk/store/chunk_store.h"

namespace pangu::app {

namespace {
Result<std::unique_ptr<env::File>> open_device(World& world, const std::string& path,
                                               const env::OpenOptions& options) {
  auto file = world.env().files().open(path, options);
  if (!file.ok() && file.code() == Code::kInUse) {
    return Error(Code::kInUse, fmt::format("{}; hint: stop the chunkserver that serves it", path));
  }
  return file;
}

Status run_format(Invocation& invocation) {
  TRY(spec, parse_device(invocation.args.arguments()[0]));
  TRY(data, required(invocation.config, "server.data", "--data DIR"));
  TRY(world, World::create(invocation.config));
  if (!world->env().files().exists(data + "/identity.toml")) {
    return Error(Code::kNotFound,
                 fmt::format("{}/identity.toml; hint: the data directory of a chunkserver that has "
                             "joined its cluster is needed",
                             data));
  }
  TRY(directory, chunk::open_data_directory(world->env(), data));
  if (!directory.identity.known()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("the chunkserver of {} has not joined a cluster; hint: start it once, "
                             "or let it format its devices with --format-if-blank",
                             data));
  }
  TRY(file, open_device(*world, spec.path,
                        {.create = spec.size > 0, .direct = true, .lock = true}));
  const chunk::FormatOptions options{
      .cluster = directory.identity.cluster,
      .server = directory.identity.server,
      .device = {.high = world->env().random(), .low = world->env().random()},
      .capacity = spec.size,
      .prewrite = !file->is_block_device(),
      .overwrite = invocation.args.toggle("overwrite")};
  const Status formatted = world->run(chunk::format_device(*file, options));
  if (!formatted.ok()) {
    Error error = formatted.error();
    if (error.code() == Code::kAlreadyExists) {
      return Error(Code::kAlreadyExists,
                   fmt::format("{}: {}; hint: --overwrite destroys what is on it", spec.path,
                               error.context()));
    }
    return std::move(error).within(spec.path);
  }
  return print(fmt::format("{}: device {} of server {}, {}\n", spec.path,
                           to_string(options.device), options.server.number,
                           format_size(file->size())));
}

// Both reports go on where they can: a damaged device is when they are needed.
Status report_device(Invocation& invocation, Task<Result<std::string>> (*report)(env::File&)) {
  TRY(world, World::create(invocation.config));
  const std::string& path = invocation.args.arguments()[0];
  TRY(file, open_device(*world, path, {.read_only = true, .direct = true}));
  auto text = world->run(report(*file));
  if (!text.ok()) {
    return std::move(text).error().within(path);
  }
  return print(*text);
}
Status run_inspect(Invocation& invocation) {
  return report_device(invocation, chunk::inspect_device);
}
Status run_verify(Invocation& invocation) {
  return report_device(invocation, chunk::verify_device);
}

const Flag kFormatFlags[] = {
    kDataFlag,
    {.name = "overwrite", .help = "also if it carries data, which is destroyed"},
};
}  // namespace

extern const Command kChunkFormat;
const Command kChunkFormat = {
    .name = "chunk format",
    .group = CommandGroup::devices,
    .summary = "Prepares a device for a chunkserver",
    .arguments = "DEVICE[,size=SIZE]",
    .arguments_min = 1,
    .arguments_max = 1,
    .flags = kFormatFlags,
    .details = "The chunkserver whose data directory is named must be stopped: the device gets\n"
               "its identity. A device that is not blank is refused without --overwrite.",
    .examples = "pangu chunk format /dev/nvme1n1 --data /var/lib/pangu/cs1\n"
                "pangu chunk format disk2.img,size=64G --data /var/lib/pangu/cs1",
    .run = run_format,
};

extern const Command kChunkInspect;
const Command kChunkInspect = {
    .name = "chunk inspect",
    .group = CommandGroup::devices,
    .summary = "Shows whose a device is and what is on it",
    .arguments = "DEVICE",
    .arguments_min = 1,
    .arguments_max = 1,
    .details = "Changes nothing and needs no cluster; also of a damaged device.",
    .examples = "pangu chunk inspect /dev/nvme1n1",
    .run = run_inspect,
};

extern const Command kChunkVerify;
const Command kChunkVerify = {
    .name = "chunk verify",
    .group = CommandGroup::devices,
    .summary = "Reads and checks every unit on a device",
    .arguments = "DEVICE",
    .arguments_min = 1,
    .arguments_max = 1,
    .details = "Changes nothing and needs no cluster. A chunkserver that serves the device\n"
               "meanwhile may show as unfinished writes.",
    .examples = "pangu chunk verify /var/lib/pangu/cs1/disk.img",
    .run = run_verify,
};

}  // namespace pangu::app
