#include <fmt/format.h>

#include "app/report.h"
#include "app/transfer.h"
#include "base/units.h"

namespace pangu::app {

namespace {
struct PutJob {
  std::string source;  // "-" for standard input
  std::string path;
  bool directory = false;
  u64 bytes = 0;
};
// What the workers of one put share.
struct PutWork {
  std::vector<PutJob> jobs;
  size_t next = 0;
  u64 files = 0;
  u64 bytes = 0;
  bool replace = false;
  client::FileOptions options;
  std::optional<Error> error;
};
constexpr size_t kWorkers = 8;

// The files and directories that `source` stands for, with their places below `target`.
Status plan(const std::string& source, const std::string& target, bool recursive,
            std::vector<PutJob>& jobs) {
  if (source == "-" || !is_local_directory(source)) {
    jobs.push_back({source, target});
    return {};
  }
  if (!recursive) {
    return Error(Code::kIsDirectory, source);
  }
  std::vector<std::string> skipped;
  TRY(entries, walk(source, skipped));
  for (const LocalEntry& entry : entries) {
    jobs.push_back({entry.path, join_path(target, entry.relative), entry.directory, entry.size});
  }
  for (const std::string& path : skipped) {
    print_warning(fmt::format("{} is neither a file nor a directory: left out", path));
  }
  return {};
}

Task<Result<std::vector<PutJob>>> plan_all(Session session) {
  const std::vector<std::string>& words = session.args().arguments();
  const std::string target = words.back();
  const size_t sources = words.size() - 1;
  auto into = co_await is_directory(session, target);
  if (!into.ok()) {
    co_return std::move(into).error();
  }
  if (sources > 1 && !*into) {
    co_return Error(Code::kNotDirectory,
                    fmt::format("{}; hint: several sources need a directory: `pangu mkdir {}`",
                                target, target));
  }
  std::vector<PutJob> jobs;
  for (size_t i = 0; i < sources; ++i) {
    if (words[i] == "-" && *into) {
      co_return Error(Code::kIsDirectory,
                      fmt::format("{}; hint: standard input needs the name of a file", target));
    }
    const std::string path = *into ? join_path(target, base_name(words[i])) : target;
    CO_TRY_VOID(plan(words[i], path, session.args().toggle("recursive"), jobs));
  }
  co_return std::move(jobs);
}

Task<Status> put_one(Session session, PutWork& work, PutJob job, Progress& progress) {
  if (job.directory) {
    const auto made = co_await session.client.make_directory(job.path, true);
    co_return made.ok() ? ok_status() : Status(made.error());
  }
  CO_TRY(source, LocalSource::open(job.source));
  if (work.replace) {
    const auto removed = co_await session.client.remove(job.path);
    if (!removed.ok() && removed.code() != Code::kNotFound) {
      co_return removed.error();
    }
  }
  auto stored = co_await put_file(session, source, job.path, work.options, progress);
  if (!stored.ok()) {
    Error error = std::move(stored).error();
    if (error.code() == Code::kAlreadyExists) {
      error = Error(Code::kAlreadyExists,
                    fmt::format("{}; hint: --force replaces it, `pangu append` adds to it",
                                job.path));
    }
    co_return std::move(error);
  }
  ++work.files;
  work.bytes += *stored;
  co_return ok_status();
}

Task<void> put_worker(Session session, PutWork& work, Progress& progress) {
  while (work.next < work.jobs.size() && !work.error) {
    PutJob job = work.jobs[work.next++];
    Status status = co_await put_one(session, work, std::move(job), progress);
    if (!status.ok() && !work.error) {
      work.error = std::move(status).error();
    }
  }
}

Task<Status> put(Session session) {
  auto jobs = co_await plan_all(session);
  if (!jobs.ok()) {
    co_return std::move(jobs).error();
  }
  PutWork work;
  // Directories first, in order: what stands in them needs them.
  for (const bool directories : {true, false}) {
    std::copy_if(jobs->begin(), jobs->end(), std::back_inserter(work.jobs),
                 [&](const PutJob& job) { return job.directory == directories; });
  }
  work.replace = session.args().toggle("force");
  work.options = file_options(session.invocation.config);
  std::optional<u64> total = 0;
  for (const PutJob& job : work.jobs) {
    *total += job.bytes;
  }
  if (work.jobs.size() == 1) {
    const auto source = LocalSource::open(work.jobs[0].source);
    total = source.ok() ? source->size() : std::nullopt;
  }
  const std::string label = work.jobs.size() == 1 ? base_name(work.jobs[0].path)
                                                  : fmt::format("{} files", work.jobs.size());
  Progress progress(label, total, session.world.now());
  while (work.next < work.jobs.size() && work.jobs[work.next].directory && !work.error) {
    PutJob job = work.jobs[work.next++];
    Status made = co_await put_one(session, work, std::move(job), progress);
    CO_TRY_VOID(std::move(made));
  }
  Gate gate;
  for (size_t i = 0; i < std::min(kWorkers, work.jobs.size()); ++i) {
    gate.spawn(session.world.reactor(), "put", TaskClass::foreground,
               put_worker(session, work, progress));
  }
  co_await gate.close();
  if (work.error) {
    co_return std::move(*work.error);
  }
  progress.finish(session.world.now());
  if (session.invocation.verbose()) {
    co_return print(fmt::format("{} files, {}\n", work.files, format_size(work.bytes)));
  }
  co_return ok_status();
}

Status run_put(Invocation& invocation) { return run_with_client(invocation, put); }

constexpr Flag kFlags[] = {
    {.name = "recursive", .help = "directories with everything in them", .letter = 'r'},
    {.name = "force", .help = "replace files that are there", .letter = 'f'},
    {.name = "copies", .kind = ValueKind::count, .value_name = "N",
     .help = "replicas to keep", .config = "client.copies_max"},
    {.name = "min-copies", .kind = ValueKind::count, .value_name = "N",
     .help = "replicas that must be durable before a byte counts as stored",
     .config = "client.copies_min"},
    {.name = "chunk-size", .kind = ValueKind::size, .value_name = "SIZE",
     .help = "payload of a chunk", .config = "client.chunk_size"},
};
}  // namespace

extern const Command kPut;
const Command kPut = {
    .name = "put",
    .group = CommandGroup::files,
    .summary = "Stores local files",
    .arguments = "SOURCE... PATH",
    .arguments_min = 2,
    .arguments_max = 10000,
    .flags = kFlags,
    .details = "SOURCE - is standard input. If PATH is a directory the files go into it. When the\n"
               "command ends with 0, every byte is durable on --min-copies servers.",
    .examples = "pangu put README.md /hello\n"
                "tar c . | pangu put - /backup.tar\n"
                "pangu put -r src docs /project",
    .run = run_put,
};

}  // namespace pangu::app
