#pragma once
#include <string>
#include <vector>

#include "base/time.h"
#include "base/types.h"

// Runs one seed: a whole cluster of the real code, workloads, faults and checks, on simulated time,
// network and disks, in the calling thread.
namespace pangu::sim {

struct SimOptions {
  u64 seed = 1;
  Duration length;       // of the part with faults; 0: the seed draws it
  bool verbose = false;  // every log line, with simulated time and node, to stderr
};

struct Report {
  bool ok = false;
  std::string failure;   // the first broken promise, and the command that replays it
  std::string scenario;  // what the seed drew
  u64 operations = 0;    // of the workloads
  u64 operations_ok = 0;
  u64 checks = 0;  // promises looked at
  u64 bytes_acknowledged = 0;
  u64 bytes_read = 0;
  u64 faults = 0;
  double simulated_seconds = 0;
  u64 events = 0;
  u64 trace_hash = 0;  // equal for equal seeds of one build
};

// Returns 0 if every promise was kept, 1 if not. A failed CHECK aborts the process; the seed is
// then part of its message.
int run_seed(const SimOptions& options, Report& report);

struct ReachedCount {
  std::string name;
  u64 count = 0;
};
// How often each rare path of this binary was taken so far, by name.
std::vector<ReachedCount> reached_counts();

}  // namespace pangu::sim
