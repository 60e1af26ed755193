#include "app/demo.h"

#include <fmt/format.h>

#include <deque>

#include "app/admin.h"
#include "app/health.h"
#include "app/report.h"
#include "app/sha256.h"
#include "app/transfer.h"
#include "base/units.h"

namespace pangu::app {

namespace {
constexpr std::string_view kVictim = "chunkserver-2";
constexpr const char* kPath = "/demo/data";
constexpr u64 kSmallAppends = 1000;
constexpr u64 kSmallBytes = 4096;

void step(std::string_view title, const std::string& text) {
  (void)print(fmt::format("  {:<9} {}\n", title, text));
}

double mib_per_s(u64 bytes, Duration took) {
  return static_cast<double>(bytes) / static_cast<double>(kMiB) / std::max(took.seconds(), 1e-6);
}

struct Demo {
  Session session;
  LocalCluster& cluster;
  const DemoOptions& options;
  std::string digest;
  u64 bytes = 0;
};

// One at a time, each durable before the next: the latency that a log writer sees.
Task<Result<Histogram>> small_appends(Session session, std::string path) {
  client::OpenOptions options;
  options.create = true;
  auto writer = co_await session.client.open_for_append(path, options);
  if (!writer.ok()) {
    co_return std::move(writer).error();
  }
  Histogram us;
  const Slice data = Slice::allocate(kSmallBytes);
  for (u64 i = 0; i < kSmallAppends; ++i) {
    const Instant start = session.world.now();
    const auto offset = co_await (*writer)->append(data.bytes());
    if (!offset.ok()) {
      co_return offset.error();
    }
    us.add(static_cast<u64>((session.world.now() - start).us()));
  }
  Status closed = co_await (*writer)->close();
  CO_TRY_VOID(std::move(closed));
  co_return us;
}

Task<Status> show_latency(Session session, std::string path, std::string when) {
  const auto us = co_await small_appends(session, path);
  if (!us.ok()) {
    co_return us.error();
  }
  step("latency", fmt::format("{} durable 4 KiB appends{}: p50 {} us, p99 {} us, longest {}",
                              us->count(), when, us->percentile(0.5), us->percentile(0.99),
                              format_duration(microseconds(static_cast<i64>(us->max())))));
  co_return ok_status();
}

// Stores the file and kills a chunkserver half way.
Task<Status> store(Demo& demo, LocalSource& source, client::Writer& writer) {
  World& world = demo.session.world;
  Sha256 digest;
  bool killed = false;
  Progress progress("  storing  ", source.size(), world.now());
  for (;;) {
    const Slice block = Slice::allocate(kTransferBlock);
    auto got = co_await source.read(block.mutable_bytes(), false);
    CO_TRY_VOID(std::move(got));
    digest.add(block.bytes().first(*got));
    if (*got > 0) {
      Status queued = co_await writer.enqueue(block.part(0, *got));
      CO_TRY_VOID(std::move(queued));
      demo.bytes += *got;
      progress.add(*got, world.now());
    }
    if (!killed && demo.bytes >= source.size().value_or(0) / 2) {
      CO_TRY_VOID(demo.cluster.kill(kVictim));
      killed = true;
      progress.note(fmt::format("  kill -9   {} at {}, while it is being written to", kVictim,
                                format_size(demo.bytes)));
    }
    if (*got < block.size()) {
      break;
    }
  }
  Status closed = co_await writer.close();
  CO_TRY_VOID(std::move(closed));
  progress.finish(world.now());
  const Duration took = progress.elapsed(world.now());
  demo.digest = digest.digits();
  const client::ClientCounters& counters = demo.session.client.counters();
  const Duration longest = microseconds(static_cast<i64>(counters.switch_us.max()));
  step("stored", fmt::format("{} in {}, {:.0f} MiB/s, every byte on two servers at least; the "
                             "writer changed chunks {} times, {} at most",
                             format_size(demo.bytes), format_duration(took),
                             mib_per_s(demo.bytes, took), counters.switches,
                             format_duration(longest)));
  co_return ok_status();
}

Task<Status> put(Demo& demo) {
  Session& session = demo.session;
  CO_TRY(source, LocalSource::open(demo.options.file));
  if (!source.size()) {
    co_return Error(Code::kInvalidArgument,
                    fmt::format("{} is no regular file", demo.options.file));
  }
  client::OpenOptions options;
  options.create = true;
  auto writer = co_await session.client.open_for_append(kPath, options);
  if (!writer.ok()) {
    co_return std::move(writer).error();
  }
  Status stored = co_await store(demo, source, **writer);
  co_return stored;
}

// What is missing now, as the masters and the process table see it.
Task<Status> show_loss(Demo& demo) {
  CO_TRY(admin, Admin::create(demo.session.world, demo.session.invocation.config));
  const auto entry = co_await demo.session.client.stat(kPath);
  const auto info = co_await admin->cluster_info();
  if (!entry.ok() || !info.ok()) {
    co_await admin->stop();
    co_return entry.ok() ? info.error() : entry.error();
  }
  const auto stream = co_await admin->stream(entry->entry.id);
  co_await admin->stop();
  if (!stream.ok()) {
    co_return stream.error();
  }
  u32 victim = 0;
  for (const RoleProcess& role : demo.cluster.file().roles) {
    for (const pb::ServerInfo& server : info->servers()) {
      if (role.name == kVictim && server.address() == role.address) {
        victim = server.server();
      }
    }
  }
  u64 replicas = 0;
  u64 unreachable = 0;
  for (const pb::ChunkInfo& chunk : stream->chunks()) {
    for (const pb::Replica& replica : chunk.replicas()) {
      ++replicas;
      unreachable += replica.server() == victim ? 1 : 0;
    }
  }
  step("lost", fmt::format("{} of {} replicas of {} chunks stand on the dead server; bytes "
                           "without a copy: looking at every one of them next",
                           unreachable, replicas, stream->chunks_size()));
  const HealthReport report = judge(*info, 3, 2);
  for (const std::string& reason : report.reasons) {
    step("status", fmt::format("{}: {}", to_string(report.health), reason));
  }
  co_return ok_status();
}

// Reads everything back through fresh reads and compares it with the local file.
Task<Status> compare(Demo& demo) {
  World& world = demo.session.world;
  CO_TRY(source, LocalSource::open(demo.options.file));
  auto reader = co_await demo.session.client.open_for_read(kPath);
  if (!reader.ok()) {
    co_return std::move(reader).error();
  }
  const Slice ours = Slice::allocate(4 * kTransferBlock);
  const Slice theirs = Slice::allocate(ours.size());
  Sha256 digest;
  u64 at = 0;
  Progress progress("  reading  ", demo.bytes, world.now());
  for (;;) {
    auto wanted = co_await source.read(ours.mutable_bytes(), false);
    CO_TRY_VOID(std::move(wanted));
    auto got = co_await (*reader)->read(at, theirs.mutable_bytes());
    CO_TRY_VOID(std::move(got));
    const auto [mine, other] = std::mismatch(ours.data(), ours.data() + *wanted, theirs.data());
    const u64 same = static_cast<u64>(mine - ours.data());
    if (*got != *wanted || same != *wanted) {
      co_return Error(Code::kCorrupt, fmt::format("{} differs from {} at byte {}", kPath,
                                                  demo.options.file, at + same));
    }
    digest.add(theirs.bytes().first(*got));
    at += *got;
    progress.add(*got, world.now());
    if (*got < ours.size()) {
      break;
    }
  }
  progress.finish(world.now());
  const Duration took = progress.elapsed(world.now());
  const std::string digits = digest.digits();
  step("read", fmt::format("{} in {}, {:.0f} MiB/s, from the servers that are left",
                           format_size(at), format_duration(took), mib_per_s(at, took)));
  step("sha256", fmt::format("{} before", demo.digest));
  step("sha256", fmt::format("{} after: {}", digits,
                             digits == demo.digest ? "the same" : "DIFFERENT"));
  co_return digits == demo.digest
      ? ok_status()
      : Status(Error(Code::kCorrupt, "the bytes that came back differ"));
}

Task<Status> show(Demo& demo) {
  const auto made = co_await demo.session.client.make_directory("/demo", true);
  if (!made.ok()) {
    co_return made.error();
  }
  Status before = co_await show_latency(demo.session, "/demo/log-1", "");
  CO_TRY_VOID(std::move(before));
  Status stored = co_await put(demo);
  CO_TRY_VOID(std::move(stored));
  Status lost = co_await show_loss(demo);
  CO_TRY_VOID(std::move(lost));
  Status compared = co_await compare(demo);
  CO_TRY_VOID(std::move(compared));
  Status after = co_await show_latency(demo.session, "/demo/log-2", " with a server missing");
  co_return after;
}

Task<Status> connect_and_show(Invocation& invocation, World& world, LocalCluster& cluster,
                              const DemoOptions& options, client::ClientOptions client_opts) {
  auto client = co_await client::Client::open(world.reactor(), std::move(client_opts));
  if (!client.ok()) {
    co_return std::move(client).error();
  }
  Demo demo{Session{invocation, world, **client}, cluster, options, "", 0};
  Status status = co_await show(demo);
  co_await (*client)->stop();
  co_return status;
}
}  // namespace

Status run_demo_in(Invocation& invocation, World& world, const DemoOptions& options) {
  LocalClusterOptions cluster_options;
  cluster_options.directory = options.directory;
  cluster_options.chunkservers = options.chunkservers;
  cluster_options.device_bytes = 16 * kGiB;
  const Instant start = world.now();
  TRY(cluster, LocalCluster::start(world, cluster_options));
  step("cluster", fmt::format("{} masters and {} chunkservers, each a process, started in {}",
                              cluster_options.masters, options.chunkservers,
                              format_duration(world.now() - start)));
  for (const RoleProcess& role : cluster.file().roles) {
    step("", fmt::format("{:<14} {:<18} pid {}", role.name, role.address, role.process.pid));
  }
  invocation.config.override_masters(cluster.file().masters());
  LocalCluster* const running = &cluster;
  world.push_cleanup([running] {
    const Status stopped = running->stop(seconds(2));
    static_cast<void>(stopped);
  });
  auto client = client_options(invocation.config);
  Status shown = client.ok()
                     ? world.run(connect_and_show(invocation, world, cluster, options,
                                                  std::move(*client)))
                     : Status(std::move(client).error());
  world.pop_cleanup();
  const Instant stopping = world.now();
  const Status stopped = cluster.stop(seconds(10));
  step("stopped", fmt::format("in {}", format_duration(world.now() - stopping)));
  TRY_VOID(std::move(shown));
  return stopped;
}

}  // namespace pangu::app
