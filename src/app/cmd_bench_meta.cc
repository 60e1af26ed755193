#include <fmt/format.h>

#include "app/client_session.h"
#include "app/cluster_file.h"
#include "app/local_file.h"
#include "app/meta_load.h"
#include "app/output.h"
#include "app/process.h"
#include "app/report.h"
#include "app/value.h"
#include "base/units.h"

namespace pangu::app {

namespace {
constexpr u64 kCallersMax = 65'536;
constexpr u64 kDepthMax = 1024;
constexpr u64 kFilesMax = 100'000'000;
// Callers that share one client, if nobody says otherwise: as the threads of a server would.
constexpr u64 kCallersPerClient = 16;
constexpr u64 kClientsMax = 16;

MetaOperation operation_of(std::string_view name) {
  return name == "mkdir"    ? MetaOperation::make_directory
         : name == "stat"   ? MetaOperation::stat
         : name == "list"   ? MetaOperation::list
         : name == "remove" ? MetaOperation::remove
                            : MetaOperation::create;
}

bool needs_files(MetaOperation operation) {
  switch (operation) {
    case MetaOperation::stat:
    case MetaOperation::list:
    case MetaOperation::remove:
      return true;
    case MetaOperation::create:
    case MetaOperation::make_directory:
      return false;
  }
  return false;
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }
double us(Duration duration) { return static_cast<double>(duration.ns) / 1000; }
double us(u64 ns) { return static_cast<double>(ns) / 1000; }

std::string meta_json(const MetaLoadReport& report) {
  const Histogram& h = report.latency_ns;
  const auto ops = static_cast<double>(h.count());
  JsonWriter json;
  json.begin_object().field("ops", h.count());
  json.field("ops_per_s", ratio(ops, report.elapsed.seconds()));
  json.field("p50_us", us(h.percentile(0.5))).field("p99_us", us(h.percentile(0.99)));
  json.field("p999_us", us(h.percentile(0.999))).field("max_us", us(h.max()));
  json.field("errors", report.errors).key("errors_by_code").begin_object();
  for (const auto& [code, count] : report.errors_by_code) {
    json.field(code, count);
  }
  json.end_object().field("longest_gap_us", us(report.longest_gap));
  json.field("longest_client_gap_us", us(report.longest_caller_gap));
  json.field("client_cpu_us_per_op", ratio(us(report.client_cpu), ops));
  if (report.servers_measured) {
    json.field("server_cpu_us_per_op", ratio(us(report.server_cpu), ops));
  }
  return json.field("seconds", report.elapsed.seconds()).end_object().text();
}

std::string meta_text(const MetaLoadReport& report, std::string_view what) {
  const Histogram& h = report.latency_ns;
  const auto ops = static_cast<double>(h.count());
  std::string out = fmt::format("{}; {}\n", what, format_duration(report.elapsed));
  Table table({">OPS", ">OPS/S", ">P50", ">P99", ">P99.9", ">MAX", ">ERRORS", ">LONGEST GAP",
               ">OF ONE CLIENT"});
  const auto text = [](double value) { return fmt::format("{:.0f} us", value); };
  table.add({fmt::format("{}", h.count()),
             fmt::format("{:.0f}", ratio(ops, report.elapsed.seconds())),
             text(us(h.percentile(0.5))), text(us(h.percentile(0.99))),
             text(us(h.percentile(0.999))), text(us(h.max())), fmt::format("{}", report.errors),
             format_duration(report.longest_gap), format_duration(report.longest_caller_gap)});
  out += table.text();
  out += fmt::format("processor time of an operation: client {:.1f} us",
                     ratio(us(report.client_cpu), ops));
  if (report.servers_measured) {
    out += fmt::format(", servers {:.1f} us", ratio(us(report.server_cpu), ops));
  }
  return out + "\n";
}

// The servers whose processor time counts.
Result<std::vector<i32>> processes_of(World& world, const Args& args) {
  std::vector<i32> out;
  for (const std::string& word : split(args.text("pids"), ',')) {
    if (word.empty()) {
      continue;
    }
    const auto pid = parse_count(word);
    if (!pid.ok() || *pid == 0 || *pid > 1u << 30 ||
        !processor_time_of(static_cast<i32>(*pid))) {
      return Error(Code::kInvalidArgument, fmt::format("--pids: no process '{}'", word));
    }
    out.push_back(static_cast<i32>(*pid));
  }
  if (args.given("cluster-dir")) {
    TRY(file, load_cluster_file(world.env().files(), args.text("cluster-dir")));
    for (const RoleProcess& role : file.roles) {
      out.push_back(role.process.pid);
    }
  }
  return out;
}

Result<MetaLoadOptions> options_of(const Args& args) {
  MetaLoadOptions options;
  options.operation = operation_of(args.text("op"));
  options.callers = args.count("clients");
  options.depth = args.count("depth");
  options.directories = args.count("dirs") == 0 ? options.callers : args.count("dirs");
  options.files = needs_files(options.operation) ? args.count("files") : 0;
  options.warm_up = args.duration("warm-up");
  options.duration = seconds(static_cast<i64>(std::min<u64>(args.count("seconds"), 86'400)));
  options.keep_names = args.given("acks");
  const bool files_fit = !needs_files(options.operation) ||
                         (options.files > 0 && options.files <= kFilesMax);
  if (options.callers == 0 || options.callers > kCallersMax || options.depth == 0 ||
      options.depth > kDepthMax || options.directories > kCallersMax || !files_fit ||
      args.count("objects") > kCallersMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("--clients, --dirs and --objects are at most {}, --depth 1 to {}, "
                             "--files 1 to {}",
                             kCallersMax, kDepthMax, kFilesMax));
  }
  return options;
}

using Clients = std::vector<std::unique_ptr<client::Client>>;

Task<Status> open_clients(Session session, client::ClientOptions options, u64 count,
                          Clients& clients) {
  for (u64 i = 0; i < count; ++i) {
    auto client = co_await client::Client::open(session.world.reactor(), options);
    if (!client.ok()) {
      co_return std::move(client).error();
    }
    clients.push_back(std::move(*client));
  }
  co_return ok_status();
}

Task<Status> measure(Session session, MetaLoadOptions options, const Clients& clients,
                     std::vector<i32> processes) {
  std::vector<client::Client*> pointers;
  for (const auto& client : clients) {
    pointers.push_back(client.get());
  }
  MetaLoad load(session.world, std::move(pointers), std::move(processes), options);
  CO_TRY_VOID(co_await load.prepare());
  co_await load.run();
  const MetaLoadReport& report = load.report();
  if (report.first_error) {
    print_warning(fmt::format("the first of {} errors: {}", report.errors,
                              report.first_error->message()));
    session.invocation.exit_code = 1;
  }
  if (session.args().given("acks")) {
    std::string text;
    for (const std::string& path : report.acknowledged) {
      text += path + "\n";
    }
    CO_TRY_VOID(session.world.env().files().replace_file(session.args().text("acks"), text));
  }
  const std::string title =
      fmt::format("{}: {} clients, {} in flight each, {} directories",
                  session.args().text("op"), options.callers, options.depth, options.directories);
  co_return print(session.invocation.json() ? meta_json(report) : meta_text(report, title));
}

Task<Status> bench_meta(Session session) {
  const Args& args = session.args();
  CO_TRY(options, options_of(args));
  CO_TRY(processes, processes_of(session.world, args));
  CO_TRY(client_settings, client_options(session.invocation.config));
  options.directory =
      fmt::format("{}/bench-{:016x}", args.text("dir"), session.world.env().random());
  const auto made = co_await session.client.make_directory(options.directory, true);
  CO_TRY_VOID(made);
  Clients clients;
  const u64 fitting = std::min(kClientsMax,
                               (options.callers + kCallersPerClient - 1) / kCallersPerClient);
  const u64 count = args.count("objects") == 0 ? fitting : args.count("objects");
  Status status = co_await open_clients(session, client_settings, count, clients);
  if (status.ok()) {
    status = co_await measure(session, options, clients, processes);
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    co_await clients[i]->stop();
  }
  CO_TRY_VOID(status);
  if (!args.toggle("keep")) {
    const auto removed = co_await session.client.remove(options.directory, true);
    if (!removed.ok()) {
      print_warning(fmt::format("{} could not be removed: {}", options.directory,
                                removed.error().message()));
    }
  }
  co_return ok_status();
}

Status run_bench_meta(Invocation& invocation) {
  const auto checked = options_of(invocation.args);
  TRY_VOID(checked);
  return run_with_client(invocation, bench_meta);
}

constexpr Flag kFlags[] = {
    {.name = "op", .kind = ValueKind::text, .value_name = "WHAT", .help = "what is measured",
     .fallback = "create", .choices = "create|mkdir|stat|list|remove"},
    {.name = "clients", .kind = ValueKind::count, .value_name = "N",
     .help = "callers at the same time", .fallback = "64"},
    {.name = "depth", .kind = ValueKind::count, .value_name = "N",
     .help = "operations in flight of each", .fallback = "1"},
    {.name = "objects", .kind = ValueKind::count, .value_name = "N",
     .help = "client objects that the callers share; 0: one for 16 of them, at most 16",
     .fallback = "0"},
    {.name = "dirs", .kind = ValueKind::count, .value_name = "N",
     .help = "directories that the callers share; 0: each its own", .fallback = "0"},
    {.name = "files", .kind = ValueKind::count, .value_name = "N",
     .help = "files made first, for stat, list and remove", .fallback = "10000"},
    {.name = "seconds", .kind = ValueKind::count, .value_name = "N",
     .help = "how long to measure", .fallback = "5"},
    {.name = "warm-up", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "the same before that, not counted", .fallback = "1s"},
    {.name = "pids", .kind = ValueKind::text, .value_name = "PID[,...]",
     .help = "processes of this machine whose processor time counts as the servers'",
     .fallback = ""},
    {.name = "cluster-dir", .kind = ValueKind::text, .value_name = "DIR",
     .help = "those of the cluster that `pangu cluster` started there"},
    {.name = "dir", .kind = ValueKind::text, .value_name = "PATH",
     .help = "directory of the cluster to work in", .fallback = ""},
    {.name = "acks", .kind = ValueKind::text, .value_name = "FILE",
     .help = "write the path of each operation that succeeded to FILE"},
    {.name = "keep", .help = "leave what was made"},
    {.name = "spin", .kind = ValueKind::duration, .value_name = "TIME",
     .help = "this client polls so long before sleeping", .config = "runtime.spin"},
};
}  // namespace

extern const Command kBenchMeta;
const Command kBenchMeta = {
    .name = "bench meta",
    .group = CommandGroup::measuring,
    .summary = "Measures operations on names",
    .flags = kFlags,
    .details =
        "All callers are in this process. Each operation counts when it is acknowledged: a create\n"
        "or remove is durable on a majority of a group's masters then. Works in a fresh directory\n"
        "and removes it. The longest gap is the longest time in which no operation succeeded.",
    .examples = "pangu bench meta --clients 64 --seconds 10\n"
                "pangu bench meta --op stat --clients 256 --files 100000 --json\n"
                "pangu bench meta --op create --cluster-dir pangu-cluster    with servers' CPU",
    .run = run_bench_meta,
};

}  // namespace pangu::app
