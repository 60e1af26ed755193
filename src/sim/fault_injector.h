#pragma once
#include "sim/cluster.h"
#include "sim/swarm.h"

namespace pangu::sim {

// Breaks things from outside, as the swarm says, and mends each after a while.
class FaultInjector {
 public:
  FaultInjector(env::sim::World& world, Cluster& cluster, const Swarm& swarm, u64 seed);

  void begin();
  // No more faults, and everything that is broken is whole again when this returns; processes that
  // were down have been started.
  void mend_everything();
  u64 injected() const { return injected_; }

 private:
  void plan_next();
  void inject(Fault fault);
  void crash_for_a_while(Host& host, env::sim::Crash how);
  void pause_for_a_while(Host& host);
  void power_cut();
  void break_link(Fault fault);
  void break_disk(Fault fault, env::sim::Disk& disk);
  Fault choose();
  Duration draw_outage();
  // Calls `mend` after an outage, unless everything was mended before.
  void later(std::function<void()> mend);
  ChunkHost& some_chunkserver();
  MasterHost& some_master();
  ClientHost& some_client();
  Host& some_host();

  env::sim::World& world_;
  Cluster& cluster_;
  const Swarm& swarm_;
  Prng prng_;
  bool active_ = false;
  u64 injected_ = 0;
};

}  // namespace pangu::sim
