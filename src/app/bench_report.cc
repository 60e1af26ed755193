#include "app/bench_report.h"

#include <fmt/format.h>

#include "app/output.h"
#include "base/units.h"

namespace pangu::app {

namespace {
struct Figures {
  double iops, mib_per_s, p50, p99, p999, max, cpu_us, amplification;
};

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

Figures figures_of(const BenchReport& report) {
  const double seconds = report.elapsed.seconds();
  const double ops = static_cast<double>(report.latency_ns.count());
  const double bytes = static_cast<double>(report.payload_bytes);
  const auto us = [](u64 ns) { return static_cast<double>(ns) / 1000; };
  const Histogram& h = report.latency_ns;
  return {ratio(ops, seconds),
          ratio(bytes / static_cast<double>(kMiB), seconds),
          us(h.percentile(0.5)),
          us(h.percentile(0.99)),
          us(h.percentile(0.999)),
          us(h.max()),
          ratio(static_cast<double>(report.client_cpu.ns) / 1000, ops),
          ratio(static_cast<double>(report.device_bytes), bytes)};
}
}  // namespace

std::string bench_json(const BenchReport& report) {
  const Figures f = figures_of(report);
  JsonWriter json;
  json.begin_object().field("ops", report.latency_ns.count()).field("iops", f.iops);
  json.field("mib_per_s", f.mib_per_s).field("p50_us", f.p50).field("p99_us", f.p99);
  json.field("p999_us", f.p999).field("max_us", f.max).field("errors", report.errors);
  json.field("client_cpu_us_per_op", f.cpu_us);
  json.field("device_bytes_per_payload_byte", f.amplification);
  return json.field("wait_mode", report.wait_mode).end_object().text();
}

std::string bench_text(const BenchReport& report, std::string_view what) {
  const Figures f = figures_of(report);
  std::string out = fmt::format("{}; {}; wait {}\n", what, format_duration(report.elapsed),
                                report.wait_mode);
  Table table({">OPS", ">OPS/S", ">MIB/S", ">P50", ">P99", ">P99.9", ">MAX", ">ERRORS"});
  const auto us = [](double value) { return fmt::format("{:.0f} us", value); };
  table.add({fmt::format("{}", report.latency_ns.count()), fmt::format("{:.0f}", f.iops),
             fmt::format("{:.1f}", f.mib_per_s), us(f.p50), us(f.p99), us(f.p999), us(f.max),
             fmt::format("{}", report.errors)});
  out += table.text();
  out += fmt::format("client processor time {:.1f} us an operation; {:.2f} device bytes a byte\n",
                     f.cpu_us, f.amplification);
  return out;
}

}  // namespace pangu::app
