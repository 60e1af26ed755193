#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sim/regression_seeds.h"
#include "sim/runner.h"

// Runs whole-cluster seeds, one after the other; for the test run and for working on the simulation.
// `pangu sim` is the command for people.
namespace {

using pangu::u64;

constexpr const char* kUsage =
    "usage: sim_seeds FIRST COUNT [--verbose]   so many seeds from FIRST on\n"
    "       sim_seeds regressions               the seeds that once found a bug\n"
    "       sim_seeds twice FIRST COUNT         each seed two times: the same story to the event\n";

unsigned long long wide(u64 value) {
  return value;
}

void print(u64 seed, const pangu::sim::Report& report) {
  std::printf(
      "seed %llu %s\n  %s\n  %llu of %llu operations ok, %llu checks, %llu KiB written, "
      "%llu KiB read, %llu faults, %.1f s, %llu events, trace %016llx\n%s\n",
      wide(seed), report.ok ? "ok" : "FAILED", report.scenario.c_str(), wide(report.operations_ok),
      wide(report.operations), wide(report.checks), wide(report.bytes_acknowledged / 1024),
      wide(report.bytes_read / 1024), wide(report.faults), report.simulated_seconds,
      wide(report.events), wide(report.trace_hash), report.failure.c_str());
  std::fflush(stdout);
}

// Returns how many promises were broken: 0 or 1.
u64 run(u64 seed, bool verbose) {
  pangu::sim::Report report;
  const int broken =
      pangu::sim::run_seed({.seed = seed, .length = {}, .verbose = verbose}, report);
  if (broken != 0 || verbose) {
    print(seed, report);
  }
  return static_cast<u64>(broken);
}

u64 run_range(u64 first, u64 count, bool verbose) {
  u64 failures = 0;
  for (u64 seed = first; seed < first + count; ++seed) {
    failures += run(seed, verbose);
  }
  std::printf("%llu seeds from %llu on: %llu failed\n", wide(count), wide(first), wide(failures));
  return failures;
}

u64 run_regressions() {
  u64 failures = 0;
  for (const pangu::sim::RegressionSeed& each : pangu::sim::kRegressionSeeds) {
    const u64 failed = run(each.seed, false);
    if (failed != 0) {
      std::printf("seed %llu once found: %s\n", wide(each.seed), each.found);
    }
    failures += failed;
  }
  std::printf("%zu seeds that once found a bug: %llu failed\n",
              std::size(pangu::sim::kRegressionSeeds), wide(failures));
  return failures;
}

u64 run_twice(u64 first, u64 count) {
  u64 differences = 0;
  for (u64 seed = first; seed < first + count; ++seed) {
    pangu::sim::Report once;
    pangu::sim::Report again;
    pangu::sim::run_seed({.seed = seed, .length = {}, .verbose = false}, once);
    pangu::sim::run_seed({.seed = seed, .length = {}, .verbose = false}, again);
    if (once.trace_hash != again.trace_hash || once.events != again.events || once.events == 0) {
      ++differences;
      print(seed, once);
      print(seed, again);
    }
  }
  std::printf("%llu seeds from %llu on, each twice: %llu told two stories\n", wide(count),
              wide(first), wide(differences));
  return differences;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int at) { return std::strtoull(argv[at], nullptr, 10); };
  if (argc == 2 && std::strcmp(argv[1], "regressions") == 0) {
    return run_regressions() == 0 ? 0 : 1;
  }
  if (argc == 4 && std::strcmp(argv[1], "twice") == 0) {
    return run_twice(number(2), number(3)) == 0 ? 0 : 1;
  }
  const bool verbose = argc == 4 && std::strcmp(argv[3], "--verbose") == 0;
  if ((argc == 3 || verbose) && number(2) > 0) {
    return run_range(number(1), number(2), verbose) == 0 ? 0 : 1;
  }
  std::fputs(kUsage, stderr);
  return 2;
}
