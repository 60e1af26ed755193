#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>

#include "base/reached.h"
#include "raft/testing/fuzz.h"

// raft_seeds FIRST COUNT [--verbose]: runs so many seeds of the Raft fuzzer. --verbose prints every
// event of every seed (for one failing seed); without it, a line for each failure and the sums.
namespace {

using namespace pangu;
using namespace pangu::raft::testing;

void print_line(const std::string& line) {
  std::printf("%s\n", line.c_str());
}

void print_mark(void*, const ReachedMark& mark) {
  if (std::strncmp(mark.name, "raft:", 5) == 0) {
    std::printf("%12llu %s\n", static_cast<unsigned long long>(*mark.count), mark.name);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: raft_seeds FIRST COUNT [--verbose]\n");
    return 2;
  }
  const u64 first = std::strtoull(argv[1], nullptr, 10);
  const u64 count = std::strtoull(argv[2], nullptr, 10);
  const bool verbose = argc > 3 && std::strcmp(argv[3], "--verbose") == 0;
  FuzzReport sum;
  u64 failures = 0;
  for (u64 seed = first; seed < first + count; ++seed) {
    const std::string context = fmt::format("raft_seeds {} 1", seed);
    set_check_context(context.c_str());
    FuzzOptions options;
    options.seed = seed;
    options.print = verbose ? print_line : nullptr;
    const FuzzReport report = Fuzz(options).run();
    sum.events += report.events;
    sum.committed += report.committed;
    sum.elections += report.elections;
    sum.reads += report.reads;
    sum.crashes += report.crashes;
    sum.changes += report.changes;
    if (!report.failure.empty()) {
      ++failures;
      print_line(fmt::format("seed {} FAILED: {}\n  {}", seed, report.failure, report.scenario));
      std::fflush(stdout);
    }
  }
  set_check_context(nullptr);
  if (verbose || count > 1) {
    for_each_reached_mark(print_mark, nullptr);
  }
  print_line(
      fmt::format("{} seeds from {} on: {} failed; {} events, {} entries committed, {} "
                  "elections, {} reads, {} crashes, {} changes of members",
                  count, first, failures, sum.events, sum.committed, sum.elections, sum.reads,
                  sum.crashes, sum.changes));
  return failures == 0 ? 0 : 1;
}
