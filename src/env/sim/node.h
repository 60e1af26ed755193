#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "env/env.h"
#include "env/sim/disk.h"

namespace pangu {
class Reactor;
}

namespace pangu::env::sim {

class World;
class SimEnv;
struct Event;

// A host: a clock, disks, a network address, and at most one process (a SimEnv) at a time.
//
// Life of a process: start (add_node or restart) -> env() -> attach a Reactor -> crash() -> the
// owner calls reactor.abandon() and destroys its objects -> restart() gives a fresh env() over the
// same disks.
class Node {
 public:
  Node(World& world, u32 index, std::string_view name);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const std::string& name() const { return name_; }
  u32 index() const { return index_; }
  World& world() { return world_; }
  // Its own address on the simulated network with this port.
  Address address(u16 port = 0) const;

  bool up() const { return env_ != nullptr; }
  bool powered() const { return powered_; }
  bool paused() const { return paused_; }
  // The process's Env. REQUIRES: up(). A dead process's Env stays valid, inert, as long as the
  // world: what is started on it never completes.
  SimEnv& env();

  // Drops every operation in flight without calling its `done`, closes the sockets, and does to the
  // disks what env/sim/disk.h says. REQUIRES: up(); no code of this node is on the stack.
  void crash(Crash how);
  // A new process. REQUIRES: !up().
  void restart();
  // SIGSTOP and SIGCONT: the process stands still, the host does not.
  void pause();
  void resume();

  // Disk 0 is mounted at the root; a path belongs to the disk with the longest mount point in
  // front.
  Disk& disk(size_t index = 0) { return *disks_[index]; }
  size_t disks() const { return disks_.size(); }
  Disk& add_disk(std::string_view mount, const DiskOptions& options);
  // The disk and the path that a path of this node names. `path` is normalised.
  Disk& disk_of(std::string_view path);

  // The node's monotonic clock at a moment of world time, and the first moment at which it shows
  // `local` or more.
  Instant local_time(Instant world_time) const;
  Instant world_time(Instant local) const;
  i64 wall_clock_us(Instant world_time) const;
  // Replaces the clock that the seed drew. Call before the process reads it.
  void set_clock(Duration offset, i64 drift_ppm);

 private:
  void draw_clock();

  World& world_;
  u32 index_;
  std::string name_;
  bool powered_ = true;
  bool paused_ = false;
  i64 clock_offset_ns_ = 0;
  i64 drift_ppm_ = 0;
  i64 wall_error_us_ = 0;
  u64 lives_ = 0;
  std::vector<std::unique_ptr<Disk>> disks_;
  std::unique_ptr<SimEnv> env_;
  std::vector<std::unique_ptr<SimEnv>> dead_;  // objects of a dead process may still point at them
};

// The Env of one process. A Reactor that is attached is driven by the world: it gets its turn after
// every completion, wake-up and due timer. Without one, or inside run_blocking, completions wait
// for poll() or wait(), and these let simulated time pass.
class SimEnv final : public Env {
 public:
  SimEnv(Node& node, u64 life);
  ~SimEnv() override;

  // `reactor` runs on this Env and must be detached before it is destroyed (a crash detaches it).
  void attach(Reactor& reactor);
  void detach();
  Node& node() { return node_; }
  bool alive() const { return alive_; }

  Instant now() override;
  i64 wall_clock_us() override;
  u64 random() override { return random_.next(); }
  u64 preemptions() override { return preemptions_; }
  FileSystem& files() override;
  Result<std::unique_ptr<Listener>> listen(const Address& address) override;
  void connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) override;
  void run_in_background(BackgroundOperation& op) override;
  size_t poll() override;
  size_t wait(Instant deadline) override;
  void wake() override;
  i32 register_memory(std::byte* base, size_t size) override;
  std::string_view name() const override { return "sim"; }

  // From here on: for the parts of env/sim only.
  // Queues `done(result)`; it is called at the process's next chance. Ignored if the process is
  // dead.
  void complete(Operation& op, i64 result);
  // complete(), now or a little later: as a kernel that is done at once, or not quite.
  void complete_soon(Operation& op, i64 result);
  // World time at which what the running code starts really starts.
  Instant start_time() const;
  void die();
  // Gives the process its turn if it may run.
  void take_turn();
  // Makes sure that it gets a turn at world time `when`.
  void arm(Instant when);
  // Arms whatever the attached reactor has ready or due.
  void look();
  bool has_completions() const { return first_ != nullptr; }

 private:
  friend class World;
  static void fire_turn(World& world, Event& event);
  static void fire_background(World& world, Event& event);
  static void fire_completion(World& world, Event& event);
  size_t run_completions();
  bool may_run() const;
  void draw_next_stall();

  World& world_;
  Node& node_;
  Prng random_;
  std::unique_ptr<FileSystem> files_;
  Reactor* reactor_ = nullptr;
  bool alive_ = true;
  bool driven_ = false;   // inside poll() or wait(): the caller takes the completions
  bool touched_ = false;  // in World::touched_
  bool woken_ = false;
  bool running_ = false;  // its code is on the stack
  Operation* first_ = nullptr;
  Operation* last_ = nullptr;
  Instant armed_ = Instant::never();
  Instant busy_until_;  // stalled: no turn before
  Duration ahead_;      // how far the running code was stalled within this turn
  Instant last_now_;
  u64 clock_reads_to_stall_ = 0;
  u64 preemptions_ = 0;
};

}  // namespace pangu::env::sim
