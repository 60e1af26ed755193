#include <fmt/format.h>

#include "app/admin.h"
#include "app/bench_report.h"
#include "app/client_session.h"
#include "app/process.h"
#include "app/report.h"
#include "app/transfer.h"
#include "base/prng.h"
#include "base/units.h"
#include "runtime/await.h"

namespace pangu::app {

namespace {
// What all streams of a benchmark share.
struct BenchWork {
  u64 size = 0;
  u64 depth = 0;
  Duration pause;  // before each operation
  Instant end;
  BenchReport report;
  std::optional<Error> first_error;
  u64 errors_in_a_row = 0;

  void succeeded(Duration took) {
    report.latency_ns.add(static_cast<u64>(took.ns));
    report.payload_bytes += size;
    errors_in_a_row = 0;
  }
  void failed(const Error& error) {
    ++report.errors;
    ++errors_in_a_row;
    if (!first_error) {
      first_error = error;
    }
  }
  // A cluster that only fails is not worth measuring to the end.
  bool over(Instant now) const { return now >= end || errors_in_a_row > 1000; }
};

constexpr u64 kStreamsMax = 4096;
constexpr u64 kDepthMax = 4096;

std::string bench_path(const std::string& directory, u64 stream) {
  return fmt::format("{}/stream-{}", directory, stream);
}

Slice random_bytes(u64 size, u64 seed) {
  const Slice out = Slice::allocate(size);
  Prng prng(seed);
  for (u64 at = 0; at + 8 <= size; at += 8) {
    store_le(out.data() + at, prng.next());
  }
  return out;
}

Task<void> append_loop(World& world, BenchWork& work, client::Writer& writer, Slice data) {
  while (!work.over(world.now())) {
    if (work.pause.ns > 0) {
      co_await sleep_for(work.pause);
    }
    const Instant start = world.now();
    const auto offset = co_await writer.append(data.bytes());
    if (offset.ok()) {
      work.succeeded(world.now() - start);
    } else {
      work.failed(offset.error());
    }
  }
}

Task<void> read_loop(World& world, BenchWork& work, client::Reader& reader, u64 length, u64 seed) {
  const Slice into = Slice::allocate(work.size);
  const u64 places = length / work.size;
  Prng prng(seed);
  while (!work.over(world.now())) {
    const u64 offset = prng.below(places) * work.size;
    const Instant start = world.now();
    const auto got = co_await reader.read(offset, into.mutable_bytes());
    if (got.ok() && *got == work.size) {
      work.succeeded(world.now() - start);
    } else {
      work.failed(got.ok() ? Error(Code::kShort, fmt::format("offset {}", offset)) : got.error());
    }
  }
}

// Runs `loops` between two looks at the clocks and the servers' counters.
struct Window {
  Instant start;
  Duration cpu;
  std::map<std::string, u64> counters;
};

u64 device_bytes(const std::map<std::string, u64>& counters, std::string_view ending) {
  u64 sum = 0;
  for (const auto& [name, value] : counters) {
    if (name.starts_with("store_") && name.ends_with(ending)) {
      sum += value;
    }
  }
  return sum;
}

Task<Window> open_window(Session session, Admin& admin, BenchWork& work) {
  Window window;
  window.counters = co_await admin.server_counters();
  window.start = session.world.now();
  window.cpu = processor_time();
  const u64 asked = std::min<u64>(session.args().count("seconds"), 86400);
  work.end = window.start + seconds(static_cast<i64>(asked));
  co_return window;
}

Task<void> close_window(Session session, Admin& admin, BenchWork& work, Window window,
                        std::string_view ending) {
  work.report.elapsed = session.world.now() - window.start;
  work.report.client_cpu = processor_time() - window.cpu;
  const auto after = co_await admin.server_counters();
  const u64 before_bytes = device_bytes(window.counters, ending);
  const u64 after_bytes = device_bytes(after, ending);
  // A server that was restarted meanwhile counts from zero.
  work.report.device_bytes = after_bytes > before_bytes ? after_bytes - before_bytes : 0;
}

Task<Status> open_writers(Session session, std::string directory, u64 streams,
                          std::vector<std::unique_ptr<client::Writer>>& writers) {
  client::OpenOptions options;
  options.create = true;
  options.file = file_options(session.invocation.config);
  for (u64 i = 0; i < streams; ++i) {
    auto writer = co_await session.client.open_for_append(bench_path(directory, i), options);
    if (!writer.ok()) {
      co_return std::move(writer).error();
    }
    writers.push_back(std::move(*writer));
  }
  co_return ok_status();
}

Task<Status> close_writers(std::vector<std::unique_ptr<client::Writer>>& writers) {
  Status first;
  for (size_t i = 0; i < writers.size(); ++i) {
    Status closed = co_await writers[i]->close();
    if (first.ok()) {
      first = std::move(closed);
    }
  }
  co_return first;
}

Task<Status> measure_appends(Session session, Admin& admin, std::string directory,
                             BenchWork& work) {
  std::vector<std::unique_ptr<client::Writer>> writers;
  Status opened = co_await open_writers(session, directory, session.args().count("streams"),
                                        writers);
  CO_TRY_VOID(std::move(opened));
  const Slice data = random_bytes(work.size, 1);
  work.pause = session.args().duration("pause");
  Window window = co_await open_window(session, admin, work);
  Gate gate;
  for (auto& writer : writers) {
    for (u64 i = 0; i < work.depth; ++i) {
      gate.spawn(session.world.reactor(), "bench append", TaskClass::foreground,
                 append_loop(session.world, work, *writer, data));
    }
  }
  co_await gate.close();
  co_await close_window(session, admin, work, std::move(window), "_bytes_written");
  Status closed = co_await close_writers(writers);
  co_return work.first_error ? ok_status() : std::move(closed);
}

// What `bench read` reads: --total bytes spread over the streams, settled.
Task<Result<u64>> prepare_files(Session session, std::string directory, u64 size) {
  const u64 streams = session.args().count("streams");
  const u64 each = std::max(session.args().size("total") / streams, size) / size * size;
  std::vector<std::unique_ptr<client::Writer>> writers;
  Status opened = co_await open_writers(session, directory, streams, writers);
  CO_TRY_VOID(std::move(opened));
  const Slice data = random_bytes(std::max<u64>(kMiB / size, 1) * size, 2);
  Progress progress("preparing", each * streams, session.world.now());
  for (size_t i = 0; i < writers.size(); ++i) {
    for (u64 done = 0; done < each;) {
      const u64 piece = std::min<u64>(data.size(), each - done);
      Status queued = co_await writers[i]->enqueue(data.part(0, piece));
      CO_TRY_VOID(std::move(queued));
      done += piece;
      progress.add(piece, session.world.now());
    }
  }
  Status closed = co_await close_writers(writers);
  CO_TRY_VOID(std::move(closed));
  co_return each;
}

Task<Status> measure_reads(Session session, Admin& admin, std::string directory,
                           BenchWork& work) {
  auto length = co_await prepare_files(session, directory, work.size);
  if (!length.ok()) {
    co_return std::move(length).error();
  }
  std::vector<std::unique_ptr<client::Reader>> readers;
  for (u64 i = 0; i < session.args().count("streams"); ++i) {
    auto reader = co_await session.client.open_for_read(bench_path(directory, i));
    if (!reader.ok()) {
      co_return std::move(reader).error();
    }
    readers.push_back(std::move(*reader));
  }
  Window window = co_await open_window(session, admin, work);
  Gate gate;
  u64 seed = 0;
  for (auto& reader : readers) {
    for (u64 i = 0; i < work.depth; ++i) {
      gate.spawn(session.world.reactor(), "bench read", TaskClass::foreground,
                 read_loop(session.world, work, *reader, *length, ++seed));
    }
  }
  co_await gate.close();
  co_await close_window(session, admin, work, std::move(window), "_device_read_bytes");
  co_return ok_status();
}

using Measure = Task<Status> (*)(Session, Admin&, std::string, BenchWork&);

Task<Status> bench(Session session, Measure measure, std::string_view what) {
  CO_TRY(admin, Admin::create(session.world, session.invocation.config));
  BenchWork work;
  work.size = session.args().size("size");
  work.depth = session.args().count("depth");
  work.report.wait_mode = session.world.wait_mode();
  const std::string directory =
      fmt::format("{}/bench-{:016x}", session.args().text("dir"), session.world.env().random());
  const auto made = co_await session.client.make_directory(directory, true);
  if (!made.ok()) {
    co_await admin->stop();
    co_return made.error();
  }
  Status measured = co_await measure(session, *admin, directory, work);
  const auto removed = co_await session.client.remove(directory, true);
  co_await admin->stop();
  CO_TRY_VOID(std::move(measured));
  if (!removed.ok()) {
    print_warning(fmt::format("{} could not be removed: {}", directory,
                              removed.error().message()));
  }
  if (work.first_error) {
    print_warning(fmt::format("the first of {} errors: {}", work.report.errors,
                              work.first_error->message()));
    session.invocation.exit_code = 1;
  }
  const std::string title = fmt::format(
      "{} of {}, {} streams, {} in flight each", what, format_size(work.size),
      session.args().count("streams"), work.depth);
  co_return print(session.invocation.json() ? bench_json(work.report)
                                            : bench_text(work.report, title));
}

Task<Status> bench_append(Session session) {
  Status status = co_await bench(session, measure_appends, "append");
  co_return status;
}
Task<Status> bench_read(Session session) {
  Status status = co_await bench(session, measure_reads, "read");
  co_return status;
}

Status check(const Args& args) {
  const u64 streams = args.count("streams");
  const u64 depth = args.count("depth");
  const u64 size = args.size("size");
  if (streams == 0 || streams > kStreamsMax || depth == 0 || depth > kDepthMax || size == 0 ||
      size > kGiB) {
    return Error(Code::kInvalidArgument,
                 fmt::format("--streams is 1 to {}, --depth 1 to {}, --size 1 to 1G", kStreamsMax,
                             kDepthMax));
  }
  return {};
}
Status run_bench_append(Invocation& invocation) {
  TRY_VOID(check(invocation.args));
  return run_with_client(invocation, bench_append);
}
Status run_bench_read(Invocation& invocation) {
  TRY_VOID(check(invocation.args));
  return run_with_client(invocation, bench_read);
}

constexpr Flag kSize = {.name = "size", .kind = ValueKind::size, .value_name = "SIZE",
                        .help = "bytes of one operation", .fallback = "4k"};
constexpr Flag kDepth = {.name = "depth", .kind = ValueKind::count, .value_name = "N",
                         .help = "operations in flight on each stream", .fallback = "1"};
constexpr Flag kStreams = {.name = "streams", .kind = ValueKind::count, .value_name = "N",
                           .help = "files used at once", .fallback = "1"};
constexpr Flag kSeconds = {.name = "seconds", .kind = ValueKind::count, .value_name = "N",
                           .help = "how long to measure", .fallback = "5"};
constexpr Flag kDir = {.name = "dir", .kind = ValueKind::text, .value_name = "PATH",
                       .help = "directory of the cluster to work in", .fallback = ""};
constexpr Flag kSpin = {.name = "spin", .kind = ValueKind::duration, .value_name = "TIME",
                        .help = "this client polls so long before sleeping",
                        .config = "runtime.spin"};
constexpr Flag kCopies = {.name = "copies", .kind = ValueKind::count, .value_name = "N",
                          .help = "replicas to keep", .config = "client.copies_max"};
constexpr Flag kMinCopies = {.name = "min-copies", .kind = ValueKind::count, .value_name = "N",
                             .help = "replicas that must be durable",
                             .config = "client.copies_min"};
constexpr Flag kTotal = {.name = "total", .kind = ValueKind::size, .value_name = "SIZE",
                         .help = "bytes to write first and to read from", .fallback = "64M"};
constexpr Flag kPause = {.name = "pause", .kind = ValueKind::duration, .value_name = "TIME",
                         .help = "idle so long before each append", .fallback = "0s"};
constexpr Flag kAppendFlags[] = {kSize, kDepth, kStreams, kSeconds, kPause, kDir, kSpin, kCopies,
                                 kMinCopies};
constexpr Flag kReadFlags[] = {kSize, kDepth, kStreams, kSeconds, kTotal, kDir, kSpin, kCopies,
                               kMinCopies};
}  // namespace

extern const Command kBenchAppend;
const Command kBenchAppend = {
    .name = "bench append",
    .group = CommandGroup::measuring,
    .summary = "Measures durable appends",
    .flags = kAppendFlags,
    .details = "Each append counts when it is durable on --min-copies servers. Works in a fresh\n"
               "directory and removes it. `pangu bench limit` is what the disk allows.",
    .examples = "pangu bench append --size 4k --streams 16 --seconds 10\n"
                "pangu bench append --size 1M --depth 4 --json\n"
                "pangu bench append --pause 5s --seconds 100    after being idle",
    .run = run_bench_append,
};

extern const Command kBenchRead;
const Command kBenchRead = {
    .name = "bench read",
    .group = CommandGroup::measuring,
    .summary = "Measures reads at random places",
    .flags = kReadFlags,
    .details = "Writes --total bytes, settles the files, then reads whole operations at random\n"
               "multiples of --size. Works in a fresh directory and removes it.",
    .examples = "pangu bench read --size 4k --depth 8 --seconds 10",
    .run = run_bench_read,
};

}  // namespace pangu::app
