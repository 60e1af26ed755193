#include <fmt/format.h>

#include "app/client_session.h"
#include "app/report.h"

namespace pangu::app {

namespace {
Task<Status> make_directories(Session session) {
  const std::vector<std::string>& paths = session.args().arguments();
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto made =
        co_await session.client.make_directory(paths[i], session.args().toggle("parents"));
    if (!made.ok()) {
      co_return made.error();
    }
  }
  co_return ok_status();
}
Status run_mkdir(Invocation& invocation) { return run_with_client(invocation, make_directories); }

Task<Status> move(Session session) {
  const std::vector<std::string>& words = session.args().arguments();
  Status moved = co_await session.client.rename(words[0], words[1]);
  co_return moved;
}
Status run_mv(Invocation& invocation) { return run_with_client(invocation, move); }

Task<Status> remove(Session session) {
  const std::vector<std::string>& paths = session.args().arguments();
  u64 files = 0, directories = 0, trees = 0;
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto removed =
        co_await session.client.remove(paths[i], session.args().toggle("recursive"));
    if (!removed.ok() &&
        !(removed.code() == Code::kNotFound && session.args().toggle("force"))) {
      co_return removed.error();
    }
    if (removed.ok()) {
      files += *removed == client::Removed::file ? 1 : 0;
      directories += *removed == client::Removed::empty_directory ? 1 : 0;
      trees += *removed == client::Removed::tree ? 1 : 0;
    }
  }
  if (session.invocation.verbose()) {
    co_return print(fmt::format("{} files, {} empty directories, {} directories with what was in "
                                "them\n",
                                files, directories, trees));
  }
  co_return ok_status();
}
Status run_rm(Invocation& invocation) { return run_with_client(invocation, remove); }

Task<Status> seal(Session session) {
  const std::vector<std::string>& paths = session.args().arguments();
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto length = co_await session.client.seal(paths[i]);
    if (!length.ok()) {
      co_return length.error();
    }
    CO_TRY_VOID(print(fmt::format("{} {}\n", paths[i], *length)));
  }
  co_return ok_status();
}
Status run_seal(Invocation& invocation) { return run_with_client(invocation, seal); }

constexpr Flag kMkdirFlags[] = {
    {.name = "parents", .help = "also what is missing above it; no error if it is there",
     .letter = 'p'},
};
constexpr Flag kRmFlags[] = {
    {.name = "recursive", .help = "directories with everything in them", .letter = 'r'},
    {.name = "force", .help = "no error if nothing is there", .letter = 'f'},
};
}  // namespace

extern const Command kMkdir;
const Command kMkdir = {
    .name = "mkdir",
    .group = CommandGroup::files,
    .summary = "Makes directories",
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = 10000,
    .flags = kMkdirFlags,
    .examples = "pangu mkdir -p /logs/2026/11",
    .run = run_mkdir,
};

extern const Command kMv;
const Command kMv = {
    .name = "mv",
    .group = CommandGroup::files,
    .summary = "Renames a file or directory",
    .arguments = "FROM TO",
    .arguments_min = 2,
    .arguments_max = 2,
    .examples = "pangu mv /logs/today /logs/2026-11-22",
    .run = run_mv,
};

extern const Command kRm;
const Command kRm = {
    .name = "rm",
    .group = CommandGroup::files,
    .summary = "Removes files and directories",
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = 10000,
    .flags = kRmFlags,
    .examples = "pangu rm /hello\npangu rm -r /project",
    .run = run_rm,
};

extern const Command kSeal;
const Command kSeal = {
    .name = "seal",
    .group = CommandGroup::files,
    .summary = "Makes files immutable; prints their lengths",
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = 10000,
    .examples = "pangu seal /backup.tar",
    .run = run_seal,
};

}  // namespace pangu::app
