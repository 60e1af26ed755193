#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "raft/driver/testing/rig.h"

// Hosts under an adversary drawn from one seed: processes die and hosts lose power, links are cut
// one way or both, hang, are slow and reset connections, processes stand still, disks are slow, full
// and forget what was not flushed, members come and go, leadership is handed over, logs are cut and
// snapshots pulled, groups sleep. Clients append and read everywhere meanwhile; the Oracle decides
// whether what they saw was linearizable. Then the adversary rests and the group must become one
// again: a leader, every member with the same state, no acknowledged command missing.
namespace pangu::raft::testing {

struct StormReport {
  std::string failure;  // empty: everything held
  std::string scenario;
  u64 appends = 0;
  u64 reads = 0;
  u64 unknown = 0;
  u64 crashes = 0;
  u64 elections = 0;
  u64 snapshots = 0;
  u64 changes = 0;
  u64 events = 0;
  u64 trace_hash = 0;
};

struct StormOptions {
  u64 seed = 0;
  Duration chaos = milliseconds(4000);
  bool log_to_stderr = false;
};

class Storm {
 public:
  explicit Storm(const StormOptions& options);
  ~Storm();
  StormReport run();

 private:
  // What the adversary of this seed likes.
  struct Manner {
    Duration pause;  // between two deeds, at most
    u64 crash = 0;
    u64 cut = 0;
    u64 stand_still = 0;
    u64 slow = 0;
    u64 full = 0;
    u64 change = 0;
    u64 transfer = 0;
    u64 flush = 0;
    u64 reset = 0;
    double large = 0;  // chance that a command is large
    u32 clients = 0;   // on each process
    Duration think;    // of a client, at most
  };

  static RigOptions draw_options(Prng& prng);
  static env::sim::WorldOptions draw_world(Prng& prng);
  void draw_manner();
  void schedule_deed();
  void deed();
  void crash(Process& process);
  void cut();
  void stand_still(Process& process);
  void slow(Process& process);
  void full(Process& process);
  void change(Process& process);
  void calm_down();
  std::string recover();
  std::string not_recovered(Index index);
  void start_clients(Process& process);
  Task<void> client(Process& process);
  Task<void> change_task(Process& process, ConfigurationChange change);
  Task<void> transfer_task(Process& process, NodeId to);
  Process& any() { return *rig_->processes[prng_.below(rig_->processes.size())]; }
  void count(Process& process);

  StormOptions options_;
  Prng prng_;
  u32 processes_;
  std::unique_ptr<Rig> rig_;
  Manner manner_;
  bool calm_ = false;
  StormReport report_;
};

}  // namespace pangu::raft::testing
