#pragma once
#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "runtime/reactor.h"

// Looks after reactors from outside: one that stays inside a single resumption cannot report
// itself. The thread that calls look() is the program's (env/linux/periodic_thread.h).
namespace pangu {

// Decides from samples of one reactor's heartbeat whether it is stuck. Pure: the caller gives the
// time.
class StuckDetector {
 public:
  explicit StuckDetector(Duration limit) : limit_(limit) {}
  struct Report {
    bool stuck = false;  // false: it has moved on after a report
    Duration since;      // how long it was seen in the same resumption
  };
  // Something worth telling: after `limit` in one resumption, then each time the wait has doubled,
  // and once it is over.
  std::optional<Report> observe(u64 heartbeat, Instant now);

 private:
  Duration limit_;
  u64 heartbeat_ = 0;
  Instant seen_first_;
  Duration tell_after_;
  bool told_ = false;
};

// Logs a warning with the task's name when a watched reactor is stuck.
class Watchdog {
 public:
  explicit Watchdog(Duration stuck_after = seconds(1)) : stuck_after_(stuck_after) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // `label` names the reactor for people. REQUIRES: look() is not called yet, and no more after the
  // first reactor is gone.
  void watch(const Reactor& reactor, std::string label);
  // One round, every 100 ms or so. One thread, which need not be a reactor's.
  void look(Instant now);
  // How often any reactor was found stuck. Any thread.
  u64 stuck_seen() const { return stuck_seen_.load(std::memory_order_relaxed); }

 private:
  struct Watched {
    const Reactor* reactor;
    std::string label;
    StuckDetector detector;
  };
  const Duration stuck_after_;
  std::atomic<u64> stuck_seen_{0};
  std::vector<Watched> watched_;
};

// A table for people of the task names that held the reactor too long, worst first. On the
// reactor's own thread.
std::string describe_slices(const Reactor& reactor);

}  // namespace pangu
