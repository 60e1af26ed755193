#pragma once
#include <fmt/core.h>

#include "runtime/await.h"
#include "sim/cluster.h"
#include "sim/judge.h"
#include "sim/swarm.h"

// What the parts of a run share.
namespace pangu::sim {

struct Stage {
  env::sim::World& world;
  Judge& judge;
  const Swarm& swarm;
  bool winding_down = false;  // workloads end what they are doing and start nothing new
  u64 bytes_written = 0;
  u64 bytes_read = 0;

  bool tired() const {
    return bytes_written > swarm.written_bytes_soft || bytes_read > swarm.read_bytes_soft;
  }
};

// One task of a workload on a client host; it lives as long as the process it runs in.
struct Actor {
  Stage& stage;
  ClientHost& host;
  client::Client& client;
  Prng prng;

  bool done() const { return stage.winding_down || stage.judge.failed(); }
  Judge& judge() { return stage.judge; }
  Instant now() { return host.reactor().now(); }
  // A pause between operations.
  Task<void> think() {
    const Duration longest = stage.tired() ? milliseconds(300) : stage.swarm.think_max;
    const u64 most = static_cast<u64>(longest.ns);
    co_await sleep_for(nanoseconds(static_cast<i64>(prng.below(most) + 1)));
  }
};

// Checks that an operation ends by its deadline. Time across a pause of the process proves nothing.
class Stopwatch {
 public:
  explicit Stopwatch(Actor& actor)
      : actor_(actor), start_(actor.now()), interruptions_(actor.host.interruptions()) {}
  void check(Duration limit, std::string_view what) const {
    const Duration took = actor_.now() - start_;
    if (actor_.host.interruptions() == interruptions_ && took > limit + kSlack) {
      actor_.judge().fail(fmt::format("{} {} took {} ms; it must end within {} ms",
                                      actor_.host.name(), what, took.ms(), limit.ms()));
    }
  }

 private:
  // The reactor may have had other work, or been stalled.
  static constexpr Duration kSlack = milliseconds(600);
  Actor& actor_;
  Instant start_;
  u64 interruptions_;
};

}  // namespace pangu::sim
