#include "sim/fault_injector.h"

#include <numeric>

#include "base/log.h"

namespace pangu::sim {

using env::sim::Crash;
using env::sim::Disk;
using env::sim::Node;

FaultInjector::FaultInjector(env::sim::World& world, Cluster& cluster, const Swarm& swarm, u64 seed)
    : world_(world), cluster_(cluster), swarm_(swarm), prng_(hash_combine(seed, 0xfa)) {}

void FaultInjector::begin() {
  active_ = std::accumulate(swarm_.weights.begin(), swarm_.weights.end(), 0u) > 0;
  if (active_) {
    plan_next();
  }
}

void FaultInjector::plan_next() {
  const u64 gap = prng_.below(2 * static_cast<u64>(swarm_.fault_gap.ns));
  world_.at(world_.now() + nanoseconds(static_cast<i64>(gap)), [this] {
    if (active_) {
      inject(choose());
      plan_next();
    }
  });
}

Fault FaultInjector::choose() {
  const u32 sum = std::accumulate(swarm_.weights.begin(), swarm_.weights.end(), 0u);
  u64 ticket = prng_.below(sum);
  size_t i = 0;
  while (ticket >= swarm_.weights[i]) {
    ticket -= swarm_.weights[i++];
  }
  return static_cast<Fault>(i);
}

// Mostly short, sometimes as long as allowed.
Duration FaultInjector::draw_outage() {
  const u64 most = static_cast<u64>(swarm_.outage_max.ns);
  return nanoseconds(static_cast<i64>(prng_.below(prng_.chance(0.3) ? most : most / 8 + 1)));
}

void FaultInjector::later(std::function<void()> mend) {
  world_.at(world_.now() + draw_outage(), [this, mend = std::move(mend)] {
    if (active_) {
      mend();
    }
  });
}

ChunkHost& FaultInjector::some_chunkserver() {
  auto& all = cluster_.chunkservers();
  return *all[prng_.below(all.size())];
}
// Most often the one that matters.
MasterHost& FaultInjector::some_master() {
  auto& all = cluster_.masters();
  MasterHost* const leader = cluster_.leader();
  if (leader != nullptr && prng_.chance(0.6)) {
    return *leader;
  }
  return *all[prng_.below(all.size())];
}
ClientHost& FaultInjector::some_client() {
  auto& all = cluster_.clients();
  return *all[prng_.below(all.size())];
}
Host& FaultInjector::some_host() {
  const u64 servers = cluster_.chunkservers().size();
  const u64 masters = cluster_.masters().size();
  const u64 ticket = prng_.below(servers + masters + cluster_.clients().size());
  if (ticket < servers) {
    return *cluster_.chunkservers()[ticket];
  }
  if (ticket < servers + masters) {
    return *cluster_.masters()[ticket - servers];
  }
  return *cluster_.clients()[ticket - servers - masters];
}

void FaultInjector::crash_for_a_while(Host& host, Crash how) {
  if (!host.running()) {
    return;
  }
  LOG_INFO("FAULT: {} {}", host.name(), how == Crash::power ? "loses power" : "dies");
  host.crash(how);
  later([&host] {
    if (!host.running()) {
      LOG_INFO("MENDED: {} is started again", host.name());
      host.start();
    }
  });
}

void FaultInjector::pause_for_a_while(Host& host) {
  if (!host.running() || host.node().paused()) {
    return;
  }
  LOG_INFO("FAULT: {} is paused", host.name());
  host.pause();
  later([&host] {
    if (host.node().paused()) {
      LOG_INFO("MENDED: {} goes on", host.name());
      host.resume();
    }
  });
}

void FaultInjector::power_cut() {
  for (const auto& host : cluster_.chunkservers()) {
    crash_for_a_while(*host, Crash::power);
  }
  for (const auto& host : cluster_.masters()) {
    crash_for_a_while(*host, Crash::power);
  }
}

void FaultInjector::break_link(Fault fault) {
  Node& a = some_host().node();
  Node& b = some_host().node();
  if (a.index() == b.index()) {
    return;
  }
  LOG_INFO("FAULT: {} between {} and {}", to_string(fault), a.name(), b.name());
  auto& net = world_.net();
  switch (fault) {
    case Fault::reset:
      net.reset_connections(a, b);
      return;
    case Fault::cut:
      net.cut_both(a, b);
      break;
    case Fault::cut_one_way:
      net.cut(a, b);
      break;
    case Fault::hang:
      net.hang(a, b);
      break;
    case Fault::slow_link:
      net.slow_down(a, b, milliseconds(static_cast<i64>(prng_.between(1, 300))));
      break;
    default:
      net.isolate(a);
      later([&net, &a] { net.reconnect(a); });
      return;
  }
  later([&net, &a, &b] { net.heal_both(a, b); });
}

void FaultInjector::break_disk(Fault fault, Disk& disk) {
  LOG_INFO("FAULT: {}", to_string(fault));
  if (fault == Fault::slow_disk) {
    disk.slow_down(static_cast<u32>(prng_.between(5, 300)));
    later([&disk] { disk.slow_down(1); });
  } else if (fault == Fault::stuck_disk) {
    disk.set_stuck(true);
    later([&disk] { disk.set_stuck(false); });
  } else {
    disk.options().capacity = std::max<u64>(disk.used() + prng_.below(kMiB), 1);
    later([&disk] { disk.options().capacity = 0; });
  }
}

void FaultInjector::inject(Fault fault) {
  ++injected_;
  switch (fault) {
    case Fault::chunk_crash:
      return crash_for_a_while(some_chunkserver(), Crash::process);
    case Fault::chunk_power:
      return crash_for_a_while(some_chunkserver(), Crash::power);
    case Fault::power_cut:
      return power_cut();
    case Fault::master_crash:
      return crash_for_a_while(some_master(), Crash::process);
    case Fault::master_power:
      return crash_for_a_while(some_master(), Crash::power);
    case Fault::client_crash:
      return crash_for_a_while(some_client(), Crash::process);
    case Fault::client_pause:
      return pause_for_a_while(some_client());
    case Fault::chunk_pause:
      return pause_for_a_while(some_chunkserver());
    case Fault::master_pause:
      return pause_for_a_while(some_master());
    case Fault::reset:
    case Fault::cut:
    case Fault::cut_one_way:
    case Fault::hang:
    case Fault::isolate:
    case Fault::slow_link:
      return break_link(fault);
    case Fault::slow_disk:
    case Fault::stuck_disk:
      return break_disk(fault, prng_.chance(0.15) ? some_master().node().disk()
                                                  : some_chunkserver().node().disk());
    case Fault::full_disk:  // chunkservers have a small device instead (Swarm)
      return break_disk(fault, some_master().node().disk());
  }
}

void FaultInjector::mend_everything() {
  active_ = false;
  LOG_INFO("MENDED: everything");
  world_.net().heal_all();
  const auto mend = [](Host& host) {
    host.node().disk().slow_down(1);
    host.node().disk().set_stuck(false);
    host.node().disk().options().capacity = 0;
    if (!host.running()) {
      host.start();
    } else if (host.node().paused()) {
      host.resume();
    }
  };
  for (const auto& host : cluster_.masters()) {
    mend(*host);
  }
  for (const auto& host : cluster_.chunkservers()) {
    mend(*host);
  }
  for (const auto& host : cluster_.clients()) {
    mend(*host);
  }
}

}  // namespace pangu::sim
