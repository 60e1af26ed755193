#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/prng.h"
#include "env/sim/disk.h"
#include "env/sim/event_queue.h"
#include "env/sim/net.h"
#include "env/sim/node.h"

// A simulated world: nodes with clocks, disks and a network between them, on one thread, driven
// from one seed. The same seed and the same calls give the same events in the same order on every
// machine; trace_hash() is the proof.
//
// Invariants
// 1. Simulated time moves only between events, never while code of a node runs (but see
//    WorldOptions::stall_rate). Code of a node runs only inside step(), or inside Env::poll and
//    Env::wait of that node.
// 2. All randomness is drawn from prng() (and from streams seeded by it) in the order of events.
// 3. What the kernel of a node does (disks, sockets) goes on while the node's process is paused;
// the
//    process sees it when it is resumed.
namespace pangu::env::sim {

struct WorldOptions {
  // Each node's monotonic clock starts at a draw below this, and runs up to this much too fast or
  // slow.
  Duration clock_offset_max = seconds(100'000);
  i64 clock_drift_ppm_max = 200;
  // The wall clocks of two nodes differ by up to twice this.
  Duration wall_clock_error_max = seconds(5);
  // Chance, each time code reads its clock, that the thread was taken off its core meanwhile, for a
  // draw below stall_max: time then jumps inside a task, as it does in life.
  double stall_rate = 0;
  Duration stall_max = milliseconds(20);
  // A background operation starts this late.
  Duration background_delay_max = microseconds(200);
  NetOptions net;
  DiskOptions disk;
};

class World {
 public:
  explicit World(u64 seed, const WorldOptions& options = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // A host that is up, with one disk mounted at the root. Lives as long as the world.
  Node& add_node(std::string_view name);
  const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }

  Instant now() const { return now_; }
  u64 seed() const { return seed_; }
  Prng& prng() { return prng_; }
  Network& net() { return net_; }
  WorldOptions& options() { return options_; }

  // Fires the next event and gives each node it touched its turn; false if there is none.
  bool step();
  // Steps until `predicate` holds (true) or simulated time `deadline` is reached (false). The
  // predicate is asked after every event and must not change anything.
  template <class Predicate>
  bool run_until(Predicate predicate, Instant deadline) {
    look_at_all_nodes();
    while (!predicate()) {
      if (!step_before(deadline)) {
        return predicate();
      }
    }
    return true;
  }
  // Steps until simulated time has advanced by `duration`.
  void run_for(Duration duration);
  // Calls `what` from outside every node at that time: for fault injectors and scripts.
  void at(Instant when, std::function<void()> what);

  // A running hash of the kind, time, node and outcome of every event so far.
  u64 trace_hash() const { return trace_; }
  u64 events() const { return events_; }
  // Mixes something into the trace hash (results that a workload saw).
  void trace(u64 value) { trace_ = hash_combine(trace_, value); }

  // The node whose code is running, or nullptr.
  Node* current_node() const { return current_; }

  // From here on: for the parts of env/sim only.
  Event& schedule(Instant when, EventKind kind, Event::Fire fire) {
    return queue_.push(when < now_ ? now_ : when, kind, fire);
  }
  PagePool& pages() { return pages_; }
  // The node gets its turn at the end of this event.
  void touch(SimEnv& env);
  // Lets time pass until something completes on `env`, or until `deadline`; for Env::wait.
  void drive(SimEnv& env, Instant deadline);
  // Lets a moment pass; for Env::poll.
  void drive_a_moment(SimEnv& env);

 private:
  // False, with the time set to `deadline`, if no event is left before it.
  bool step_before(Instant deadline);
  void fire_next();
  void give_turns();
  void look_at_all_nodes();

  u64 seed_;
  WorldOptions options_;
  Prng prng_;
  Instant now_ = {1'000'000'000};
  u64 trace_;
  u64 events_ = 0;
  bool stepping_ = false;
  EventQueue queue_;
  PagePool pages_;
  Network net_;
  std::vector<SimEnv*> touched_;
  Node* current_ = nullptr;
  friend class SimEnv;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// While it lives, every log line goes to `sink` with the simulated time and the node in front:
// "12.000123456 chunk-3 info: text".
class WorldLog {
 public:
  using Sink = void (*)(void* context, std::string_view line);
  // Without a sink: to stderr.
  explicit WorldLog(World& world, Sink sink = nullptr, void* context = nullptr);
  ~WorldLog();
  WorldLog(const WorldLog&) = delete;
  WorldLog& operator=(const WorldLog&) = delete;

 private:
  static void write(void* self, LogLevel level, std::string_view text);
  World& world_;
  Sink sink_;
  void* context_;
};

}  // namespace pangu::env::sim
