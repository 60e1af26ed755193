#include <fmt/format.h>

#include "app/command.h"
#include "app/limit.h"
#include "app/output.h"
#include "app/report.h"

namespace pangu::app {

namespace {
double us(u64 ns) { return static_cast<double>(ns) / 1000; }

std::string limit_json(const LimitReport& report, World& world) {
  const double disk = us(report.disk_ns.percentile(0.5));
  const double tcp = us(report.tcp_ns.percentile(0.5));
  JsonWriter json;
  json.begin_object();
  json.field("disk_p50_us", disk).field("disk_p99_us", us(report.disk_ns.percentile(0.99)));
  json.field("disk_rounds", report.disk_ns.count());
  json.field("tcp_p50_us", tcp).field("tcp_p99_us", us(report.tcp_ns.percentile(0.99)));
  json.field("tcp_rounds", report.tcp_ns.count());
  json.field("limit_p50_us", disk + tcp);
  json.field("wait_mode", world.wait_mode()).field("io", world.env().name());
  return json.end_object().text();
}

std::string limit_text(const LimitReport& report, World& world) {
  Table table({"PART", ">P50", ">P99", ">MAX", ">ROUNDS"});
  const auto row = [&](const char* name, const Histogram& h) {
    table.add({name, fmt::format("{:.1f} us", us(h.percentile(0.5))),
               fmt::format("{:.1f} us", us(h.percentile(0.99))),
               fmt::format("{:.1f} us", us(h.max())), fmt::format("{}", h.count())});
  };
  row("disk: second of three durable 8 KiB overwrites", report.disk_ns);
  row("network: TCP loopback round trip, 8 KiB and 64 B", report.tcp_ns);
  return fmt::format(
      "{}limit of a durable 4 KiB three-replica append here: {:.1f} us (sum of the medians; "
      "wait {}, {})\n",
      table.text(), us(report.disk_ns.percentile(0.5) + report.tcp_ns.percentile(0.5)),
      world.wait_mode(), world.env().name());
}

Status run_bench_limit(Invocation& invocation) {
  TRY(world, World::create(invocation.config));
  LimitOptions options;
  options.directory = invocation.args.text("dir");
  const u64 asked = std::min<u64>(invocation.args.count("seconds"), 86400);
  options.duration = seconds(static_cast<i64>(asked));
  options.pause = invocation.args.duration("pause");
  TRY(report, world->run(measure_limit(*world, options)));
  return print(invocation.json() ? limit_json(report, *world) : limit_text(report, *world));
}

constexpr Flag kFlags[] = {
    {.name = "dir", .kind = ValueKind::text, .value_name = "DIR",
     .help = "a directory on the disk to measure", .fallback = "."},
    {.name = "seconds", .kind = ValueKind::count, .value_name = "N",
     .help = "how long to measure", .fallback = "4"},
    {.name = "pause", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "idle so long before each round", .fallback = "0s"},
    {.name = "spin", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "poll this long before sleeping", .config = "runtime.spin"},
};
}  // namespace

extern const Command kBenchLimit;
const Command kBenchLimit = {
    .name = "bench limit",
    .group = CommandGroup::measuring,
    .summary = "The floor that disk and network set under a replicated append",
    .flags = kFlags,
    .details =
        "The median of the second to finish of three concurrent durable 8 KiB overwrites of three\n"
        "prewritten files, plus one bare TCP round trip over loopback, waiting in the same way as\n"
        "the servers do. Compare `pangu bench append` with it. Needs no cluster.",
    .examples = "pangu bench limit --dir /var/lib/pangu\npangu bench limit --seconds 10 --json",
    .run = run_bench_limit,
};

}  // namespace pangu::app
