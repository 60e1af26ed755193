#include "sim/swarm.h"

#include <fmt/format.h>

namespace pangu::sim {

namespace {

Duration between(Prng& prng, Duration low, Duration high) {
  return nanoseconds(
      static_cast<i64>(prng.between(static_cast<u64>(low.ns), static_cast<u64>(high.ns))));
}

template <class T, size_t n>
T one_of(Prng& prng, const T (&choices)[n]) {
  return choices[prng.below(n)];
}

void draw_cluster(Prng& prng, Swarm& swarm) {
  ClusterOptions& cluster = swarm.cluster;
  cluster.masters = one_of(prng, {1u, 3u, 3u, 3u, 5u});
  cluster.master_log_keep = one_of<u64>(prng, {0, 20, 10'000});
  cluster.chunkservers = static_cast<u32>(prng.between(3, 6));
  cluster.racks = static_cast<u32>(prng.between(3, cluster.chunkservers));
  cluster.clients = static_cast<u32>(prng.between(2, 4));
  cluster.device_bytes = prng.chance(0.1) ? 24 * kMiB : 160 * kMiB;
  cluster.devices = prng.chance(0.2) ? 2 : 1;
  cluster.master_flush_interval = between(prng, milliseconds(300), seconds(8));
  cluster.master_segment_bytes = one_of(prng, {16 * kKiB, 64 * kKiB, 1 * kMiB});

  client::ClientOptions& client = cluster.client;
  client.op_timeout = between(prng, seconds(2), seconds(8));
  client.append_timeout = between(prng, milliseconds(150), seconds(1));
  client.read_timeout = between(prng, milliseconds(150), seconds(1));
  client.fence_timeout = between(prng, milliseconds(150), seconds(1));
  client.master_timeout = between(prng, milliseconds(300), seconds(2));
  client.suspect_time = between(prng, milliseconds(200), seconds(5));
  client.committed_delay = one_of(prng, {microseconds(100), milliseconds(1), milliseconds(20)});
  client.window_bytes = one_of(prng, {200 * kKiB, 1 * kMiB, 32 * kMiB});
  client.retained_bytes = one_of(prng, {300 * kKiB, 4 * kMiB, 64 * kMiB});
  client.runs_in_flight = one_of(prng, {1u, 2u, 8u});
  client.gather_bytes = one_of(prng, {4096u, 65536u});
  client.spare_chunks = static_cast<u32>(prng.below(3));
  client.cached_streams = one_of(prng, {2u, 1024u});
}

void draw_file(Prng& prng, Swarm& swarm) {
  swarm.file.chunk_bytes = prng.chance(0.8) ? 1 * kMiB : 2 * kMiB;
  switch (prng.below(10)) {
    case 0:
      swarm.file.copies_max = 1;
      swarm.file.copies_min = 1;
      break;
    case 1:
      swarm.file.copies_max = 2;
      swarm.file.copies_min = 2;
      break;
    case 2:
      swarm.file.copies_max = 3;
      swarm.file.copies_min = 3;
      break;
    case 3:
      swarm.file.copies_max = swarm.cluster.racks >= 5 ? 5 : 3;
      swarm.file.copies_min = swarm.file.copies_max / 2 + 1;
      break;
    default:
      swarm.file.copies_max = 3;
      swarm.file.copies_min = 2;
      break;
  }
}

void draw_environment(Prng& prng, env::sim::WorldOptions& world) {
  if (prng.chance(0.2)) {
    world.stall_rate = 1e-4;
  }
  if (prng.chance(0.3)) {
    world.net.slow_rate = 0.01;
  }
  if (prng.chance(0.2)) {
    world.net.reset_rate = 0.0003;
  }
  if (prng.chance(0.3)) {
    world.net.bytes_per_second = 30 * kMiB;
  }
  if (prng.chance(0.3)) {
    world.disk.slow_rate = 0.005;
  }
  if (prng.chance(0.1)) {
    world.disk.volatile_cache = false;
  }
  world.net.window_min = 16 * kKiB;
}

void draw_faults(Prng& prng, Swarm& swarm) {
  if (prng.chance(0.05)) {
    swarm.fault_gap = seconds(1000);
    return;  // fair weather
  }
  const double share = 0.15 + 0.5 * prng.unit();
  for (u32& weight : swarm.weights) {
    weight = prng.chance(share) ? static_cast<u32>(prng.between(1, 10)) : 0;
  }
  u32& cut = swarm.weights[static_cast<size_t>(Fault::power_cut)];
  cut = cut > 0 ? 1 : 0;
  swarm.fault_gap = between(prng, milliseconds(60), milliseconds(1500));
  swarm.outage_max = between(prng, milliseconds(300), seconds(6));
}

void draw_workload(Prng& prng, Swarm& swarm) {
  swarm.files = static_cast<u32>(prng.between(1, 4));
  swarm.stream_actors = static_cast<u32>(prng.between(1, 3));
  swarm.namespace_actors = prng.chance(0.6) ? 1 : 0;
  swarm.write_weight = static_cast<u32>(prng.between(1, 6));
  swarm.tail_weight = static_cast<u32>(prng.below(5));
  swarm.read_weight = static_cast<u32>(prng.below(5));
  swarm.append_bytes_max = one_of(prng, {300u, 5000u, 30'000u, 100'000u});
  swarm.pipeline_max = one_of(prng, {1u, 4u, 12u});
  swarm.think_max = one_of(prng, {milliseconds(4), milliseconds(20), milliseconds(80)});
  swarm.idle_rate = prng.chance(0.5) ? 0.3 : 0;
  swarm.abandon_rate = prng.unit() * 0.8;
  swarm.seal_rate = prng.chance(0.3) ? 0.1 : 0;
  swarm.remove_rate = prng.chance(0.4) ? 0.05 : 0;
}

void draw_partitions(Prng& prng, Swarm& swarm) {
  swarm.cluster.namespace_groups = one_of(prng, {1u, 2u, 2u, 3u, 4u});
  swarm.cluster.stream_groups = one_of(prng, {1u, 2u, 3u});
  swarm.shared_tree_actors = one_of(prng, {0u, 1u, 1u, 2u, 3u});
}

}  // namespace

std::string_view to_string(Fault fault) {
  static constexpr std::string_view kNames[kFaults] = {
      "chunk_crash",  "chunk_power", "power_cut",    "master_crash", "master_power", "client_crash",
      "client_pause", "chunk_pause", "master_pause", "reset",        "cut",          "cut_one_way",
      "hang",         "isolate",     "slow_link",    "slow_disk",    "stuck_disk",   "full_disk"};
  return kNames[static_cast<size_t>(fault)];
}

Swarm draw_swarm(u64 seed) {
  Prng prng(hash_combine(seed, 0x5a));
  Swarm swarm;
  swarm.length = between(prng, seconds(3), seconds(10));
  draw_cluster(prng, swarm);
  draw_file(prng, swarm);
  draw_environment(prng, swarm.world);
  draw_faults(prng, swarm);
  draw_workload(prng, swarm);
  draw_partitions(prng, swarm);
  return swarm;
}

std::string describe(const Swarm& swarm) {
  std::string faults;
  for (size_t i = 0; i < kFaults; ++i) {
    if (swarm.weights[i] > 0) {
      faults += fmt::format(" {}:{}", to_string(static_cast<Fault>(i)), swarm.weights[i]);
    }
  }
  return fmt::format(
      "{} masters with {}+{} groups, {} chunkservers in {} racks, {} clients, {} on one tree, "
      "{} files of {}/{} copies, {:.1f} s; faults each {} ms:{}",
      swarm.cluster.masters, swarm.cluster.namespace_groups, swarm.cluster.stream_groups,
      swarm.cluster.chunkservers, swarm.cluster.racks, swarm.cluster.clients,
      swarm.cluster.clients * swarm.shared_tree_actors, swarm.files, swarm.file.copies_max,
      swarm.file.copies_min, swarm.length.seconds(), swarm.fault_gap.ms(),
      faults.empty() ? " none" : faults);
}

}  // namespace pangu::sim
