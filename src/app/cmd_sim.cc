#include <fmt/format.h>

#include "app/command.h"
#include "app/output.h"
#include "app/report.h"
#include "sim/runner.h"

namespace pangu::app {

namespace {

std::string describe(u64 seed, const sim::Report& report) {
  return fmt::format(
      "seed {} {}: {}\n  {} of {} operations ok, {} checks, {} faults, {:.1f} simulated s, "
      "{} events, trace {:016x}\n{}",
      seed, report.ok ? "ok" : "FAILED", report.scenario, report.operations_ok, report.operations,
      report.checks, report.faults, report.simulated_seconds, report.events, report.trace_hash,
      report.ok ? "" : report.failure + "\n");
}

Status run_sim(Invocation& invocation) {
  const u64 first = invocation.args.count("seed");
  const u64 count = invocation.args.count("seeds");
  u64 failed = 0;
  for (u64 seed = first; seed < first + count; ++seed) {
    sim::Report report;
    const sim::SimOptions options{.seed = seed, .length = {}, .verbose = invocation.verbose()};
    failed += sim::run_seed(options, report) == 0 ? 0 : 1;
    TRY_VOID(print(describe(seed, report)));
  }
  for (const sim::ReachedCount& mark : sim::reached_counts()) {
    TRY_VOID(print(fmt::format("reached {:8} {}\n", mark.count, mark.name)));
  }
  invocation.exit_code = failed == 0 ? 0 : 1;
  return print(fmt::format("{} seeds from {} on: {} failed\n", count, first, failed));
}

constexpr Flag kFlags[] = {
    {.name = "seed", .kind = ValueKind::count, .value_name = "N", .help = "the first seed",
     .fallback = "1"},
    {.name = "seeds", .kind = ValueKind::count, .value_name = "K",
     .help = "how many, one after the other", .fallback = "1"},
};

}  // namespace

extern const Command kSim;
const Command kSim = {
    .name = "sim",
    .group = CommandGroup::measuring,
    .summary = "Simulates a whole cluster under faults drawn from a seed, and checks it",
    .flags = kFlags,
    .details = "Masters, chunkservers and clients run in this thread on simulated time, network "
               "and disks. The same seed gives the same run. Exit code 1: a promise was broken.",
    .examples = "pangu sim --seed 7\npangu sim --seed 1 --seeds 100",
    .run = run_sim,
};

}  // namespace pangu::app
