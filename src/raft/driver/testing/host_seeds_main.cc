#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>

#include "base/reached.h"
#include "raft/driver/testing/storm.h"

// raft_host_seeds FIRST COUNT [--verbose]: runs so many seeds of storms over Raft hosts. --verbose
// prints their log (for one failing seed); without it, a line for each failure and the sums.
namespace {

using namespace pangu;
using namespace pangu::raft::testing;

void print_mark(void*, const ReachedMark& mark) {
  if (std::strncmp(mark.name, "raft", 4) == 0) {
    std::printf("%12llu %s\n", static_cast<unsigned long long>(*mark.count), mark.name);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: raft_host_seeds FIRST COUNT [--verbose]\n");
    return 2;
  }
  const u64 first = std::strtoull(argv[1], nullptr, 10);
  const u64 count = std::strtoull(argv[2], nullptr, 10);
  const bool verbose = argc > 3 && std::strcmp(argv[3], "--verbose") == 0;
  StormReport sum;
  u64 failures = 0;
  for (u64 seed = first; seed < first + count; ++seed) {
    const std::string context = fmt::format("raft_host_seeds {} 1", seed);
    set_check_context(context.c_str());
    StormOptions options;
    options.seed = seed;
    options.log_to_stderr = verbose;
    const StormReport report = Storm(options).run();
    sum.appends += report.appends;
    sum.reads += report.reads;
    sum.unknown += report.unknown;
    sum.crashes += report.crashes;
    sum.elections += report.elections;
    sum.snapshots += report.snapshots;
    sum.changes += report.changes;
    sum.events += report.events;
    if (!report.failure.empty()) {
      ++failures;
      std::printf("seed %llu FAILED: %s\n  %s\n", static_cast<unsigned long long>(seed),
                  report.failure.c_str(), report.scenario.c_str());
      std::fflush(stdout);
    }
    if (verbose) {
      std::printf("seed %llu: %s\n  trace %016llx\n", static_cast<unsigned long long>(seed),
                  report.scenario.c_str(), static_cast<unsigned long long>(report.trace_hash));
    }
  }
  set_check_context(nullptr);
  if (count > 1) {
    for_each_reached_mark(print_mark, nullptr);
  }
  const std::string line = fmt::format(
      "{} seeds from {} on: {} failed; {} events, {} appends ({} of unknown outcome), {} reads, {} "
      "crashes, {} terms, {} snapshots installed, {} changes of members",
      count, first, failures, sum.events, sum.appends, sum.unknown, sum.reads, sum.crashes,
      sum.elections, sum.snapshots, sum.changes);
  std::printf("%s\n", line.c_str());
  return failures == 0 ? 0 : 1;
}
