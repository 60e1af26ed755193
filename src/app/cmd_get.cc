#include <fmt/format.h>

#include "app/report.h"
#include "app/transfer.h"

namespace pangu::app {

namespace {
struct GetJob {
  std::string path;
  std::string target;
  bool directory = false;
};

// Everything below a directory of the cluster, parents first.
Task<Result<std::vector<GetJob>>> plan_tree(Session session, std::string path,
                                            std::string target) {
  std::vector<GetJob> jobs = {{path, target, true}};
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (!jobs[i].directory) {
      continue;
    }
    const GetJob parent = jobs[i];
    std::string after;
    for (;;) {
      auto page = co_await session.client.list(parent.path, after);
      if (!page.ok()) {
        co_return std::move(page).error();
      }
      for (const client::Entry& entry : page->entries) {
        jobs.push_back({join_path(parent.path, entry.name), join_path(parent.target, entry.name),
                        entry.type == client::EntryType::directory});
        after = entry.name;
      }
      if (!page->more) {
        break;
      }
    }
  }
  co_return std::move(jobs);
}

Task<Status> get_one(Session session, GetJob job) {
  if (job.directory) {
    co_return make_local_directory(job.target);
  }
  CO_TRY(sink, LocalSink::create(job.target));
  Progress progress(base_name(job.path), std::nullopt, session.world.now());
  auto got = co_await get_file(session, job.path, Range{}, sink, progress);
  if (!got.ok()) {
    co_return std::move(got).error();
  }
  Status committed = co_await sink.commit();
  CO_TRY_VOID(std::move(committed));
  if (job.target != "-") {
    progress.finish(session.world.now());
  }
  co_return ok_status();
}

Task<Status> get(Session session) {
  const std::vector<std::string>& words = session.args().arguments();
  const std::string target = words.back();
  const bool into = is_local_directory(target);
  const size_t sources = words.size() - 1;
  if (sources > 1 && !into && target != "-") {
    co_return Error(Code::kNotDirectory,
                    fmt::format("{}; hint: several files need an existing directory", target));
  }
  for (size_t i = 0; i < sources; ++i) {
    const std::string path = words[i];
    const std::string place = into ? join_path(target, base_name(path)) : target;
    std::vector<GetJob> jobs = {{path, place, false}};
    auto directory = co_await is_directory(session, path);
    if (!directory.ok()) {
      co_return std::move(directory).error();
    }
    if (*directory) {
      if (!session.args().toggle("recursive") || target == "-") {
        co_return Error(Code::kIsDirectory, path);
      }
      auto tree = co_await plan_tree(session, path, place);
      if (!tree.ok()) {
        co_return std::move(tree).error();
      }
      jobs = std::move(*tree);
    }
    for (size_t job = 0; job < jobs.size(); ++job) {
      Status status = co_await get_one(session, jobs[job]);
      CO_TRY_VOID(std::move(status));
    }
  }
  co_return ok_status();
}

Status run_get(Invocation& invocation) { return run_with_client(invocation, get); }

Task<Status> cat(Session session) {
  const std::vector<std::string>& paths = session.args().arguments();
  Range range;
  range.offset = session.args().size("offset");
  if (session.args().given("length")) {
    range.length = session.args().size("length");
  }
  CO_TRY(sink, LocalSink::create("-"));
  for (size_t i = 0; i < paths.size(); ++i) {
    Progress silent = Progress::silent();
    auto got = co_await get_file(session, paths[i], range, sink, silent);
    if (!got.ok()) {
      co_return std::move(got).error();
    }
  }
  co_return ok_status();
}

Status run_cat(Invocation& invocation) { return run_with_client(invocation, cat); }

constexpr Flag kGetFlags[] = {
    {.name = "recursive", .help = "directories with everything in them", .letter = 'r'},
};
constexpr Flag kCatFlags[] = {
    {.name = "offset", .kind = ValueKind::size, .value_name = "SIZE", .help = "start here",
     .fallback = "0"},
    {.name = "length", .kind = ValueKind::size, .value_name = "SIZE", .help = "at most this much"},
};
}  // namespace

extern const Command kGet;
const Command kGet = {
    .name = "get",
    .group = CommandGroup::files,
    .summary = "Fetches files to this machine",
    .arguments = "PATH... TARGET",
    .arguments_min = 2,
    .arguments_max = 10000,
    .flags = kGetFlags,
    .details = "TARGET - is standard output. A local file appears under its name only when all of\n"
               "it has come, every unit checked.",
    .examples = "pangu get /hello hello.txt\n"
                "pangu get /backup.tar - | tar t\n"
                "pangu get -r /project .",
    .run = run_get,
};

extern const Command kCat;
const Command kCat = {
    .name = "cat",
    .group = CommandGroup::files,
    .summary = "Prints files",
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = 10000,
    .flags = kCatFlags,
    .examples = "pangu cat /hello\npangu cat /log --offset 1M --length 4k",
    .run = run_cat,
};

}  // namespace pangu::app
