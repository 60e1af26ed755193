#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sim/runner.h"

// sim_seeds FIRST COUNT [--verbose]: runs so many seeds, one after the other; for the test run and
// for working on the simulation. `pangu sim` is the command for people.
int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: sim_seeds FIRST COUNT [--verbose]\n");
    return 2;
  }
  const pangu::u64 first = std::strtoull(argv[1], nullptr, 10);
  const pangu::u64 count = std::strtoull(argv[2], nullptr, 10);
  const bool verbose = argc > 3 && std::strcmp(argv[3], "--verbose") == 0;
  pangu::u64 failures = 0;
  for (pangu::u64 seed = first; seed < first + count; ++seed) {
    pangu::sim::Report report;
    failures += static_cast<pangu::u64>(
        pangu::sim::run_seed({.seed = seed, .length = {}, .verbose = verbose}, report));
    if (!report.ok || verbose) {
      std::printf(
          "seed %llu %s\n  %s\n  %llu of %llu operations ok, %llu checks, %llu KiB written, "
          "%llu KiB read, %llu faults, %.1f s, %llu events, trace %016llx\n%s\n",
          static_cast<unsigned long long>(seed), report.ok ? "ok" : "FAILED",
          report.scenario.c_str(), static_cast<unsigned long long>(report.operations_ok),
          static_cast<unsigned long long>(report.operations),
          static_cast<unsigned long long>(report.checks),
          static_cast<unsigned long long>(report.bytes_acknowledged / 1024),
          static_cast<unsigned long long>(report.bytes_read / 1024),
          static_cast<unsigned long long>(report.faults), report.simulated_seconds,
          static_cast<unsigned long long>(report.events),
          static_cast<unsigned long long>(report.trace_hash), report.failure.c_str());
      std::fflush(stdout);
    }
  }
  std::printf("%llu seeds from %llu on: %llu failed\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(first), static_cast<unsigned long long>(failures));
  return failures == 0 ? 0 : 1;
}
