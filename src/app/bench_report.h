#pragma once
#include <string>
#include <string_view>

#include "base/histogram.h"
#include "base/time.h"

// What `pangu bench append|read` found. The keys of the JSON form are an interface: scripts compare
// runs by them.
namespace pangu::app {

struct BenchReport {
  Histogram latency_ns;  // of the operations that succeeded
  u64 errors = 0;
  u64 payload_bytes = 0;
  Duration elapsed;
  Duration client_cpu;
  u64 device_bytes = 0;  // written (append) or read (read) by all chunkservers meanwhile
  std::string wait_mode;
};

std::string bench_json(const BenchReport& report);
std::string bench_text(const BenchReport& report, std::string_view what);

}  // namespace pangu::app
