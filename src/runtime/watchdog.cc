#include "runtime/watchdog.h"

#include <fmt/format.h>

#include "base/log.h"

namespace pangu {

std::optional<StuckDetector::Report> StuckDetector::observe(u64 heartbeat, Instant now) {
  const bool running = heartbeat % 2 == 1;
  if (heartbeat != heartbeat_ || !running) {
    const Report over{.stuck = false, .since = now - seen_first_};
    heartbeat_ = heartbeat;
    seen_first_ = now;
    tell_after_ = limit_;
    return std::exchange(told_, false) ? std::optional(over) : std::nullopt;
  }
  const Duration since = now - seen_first_;
  if (since < tell_after_) {
    return std::nullopt;
  }
  told_ = true;
  tell_after_ = since * 2;
  return Report{.stuck = true, .since = since};
}

void Watchdog::watch(const Reactor& reactor, std::string label) {
  watched_.push_back(Watched{&reactor, std::move(label), StuckDetector(stuck_after_)});
}

void Watchdog::look(Instant now) {
  for (Watched& each : watched_) {
    const u64 heartbeat = each.reactor->heartbeat();
    const char* const name = each.reactor->running_name();
    const auto report = each.detector.observe(heartbeat, now);
    if (!report) {
      continue;
    }
    if (report->stuck) {
      stuck_seen_.fetch_add(1, std::memory_order_relaxed);
      LOG_WARN("reactor {} has been inside task {} for {} ms: nothing else on it is served",
               each.label, name, report->since.ms());
    } else {
      LOG_WARN("reactor {} goes on after {} ms", each.label, report->since.ms());
    }
  }
}

std::string describe_slices(const Reactor& reactor) {
  std::vector<SliceReport> reports = reactor.slice_reports();
  std::sort(reports.begin(), reports.end(), [](const SliceReport& a, const SliceReport& b) {
    return std::pair(b.over_limit, std::string_view(a.name)) <
           std::pair(a.over_limit, std::string_view(b.name));
  });
  std::string out = "task                      over limit  over alarm  stolen  longest us\n";
  for (const SliceReport& each : reports) {
    out += fmt::format("{:<24}  {:>10}  {:>10}  {:>6}  {:>10}\n", each.name, each.over_limit,
                       each.over_alarm, each.stolen, each.longest.us());
  }
  return out;
}

}  // namespace pangu
