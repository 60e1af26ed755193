#pragma once
#include <array>
#include <string>

#include "base/prng.h"
#include "env/sim/world.h"
#include "sim/cluster.h"

// What one seed's run is like. Each seed draws which faults happen at all and how often, how the
// cluster is laid out and how the clients are set ("swarm testing"): a run in which everything goes
// wrong at once finds less than many that each overdo something else.
namespace pangu::sim {

enum class Fault : u8 {
  chunk_crash,  // a chunkserver's process dies, and is started again
  chunk_power,  // its host loses power
  power_cut,    // all chunkservers and masters lose power at once
  master_crash,
  master_power,
  client_crash,
  client_pause,  // SIGSTOP, and later SIGCONT: the writer comes back as a zombie
  chunk_pause,
  master_pause,
  reset,  // the connections between two hosts
  cut,    // both ways
  cut_one_way,
  hang,     // one way, without anybody noticing
  isolate,  // a host from all others
  slow_link,
  slow_disk,
  stuck_disk,
  full_disk,
};
inline constexpr size_t kFaults = 18;
std::string_view to_string(Fault fault);

struct Swarm {
  ClusterOptions cluster;
  env::sim::WorldOptions world;
  Duration length;  // of the part with faults, in simulated time

  std::array<u32, kFaults> weights{};  // 0: this fault does not happen
  Duration fault_gap;                  // between faults, on average
  Duration outage_max;                 // until what a fault broke is whole again

  u32 files = 3;
  client::FileOptions file;
  u32 stream_actors = 2;     // on each client host
  u32 namespace_actors = 1;  // likewise
  u32 shared_tree_actors = 1;
  u32 write_weight = 3, tail_weight = 2, read_weight = 2;
  u32 append_bytes_max = 100'000;
  u32 pipeline_max = 8;
  // Once the workloads have written or read so much they go slowly: a seed stays cheap.
  u64 written_bytes_soft = 16 * kMiB;
  u64 read_bytes_soft = 48 * kMiB;
  Duration think_max;         // between a workload's operations
  double idle_rate = 0.2;     // of writers that fall asleep in the middle
  double abandon_rate = 0.3;  // of writers that go without close()
  double seal_rate = 0;       // of writers that seal their file
  double remove_rate = 0;     // of operations on mortal files that remove it
};

Swarm draw_swarm(u64 seed);
// One line for people.
std::string describe(const Swarm& swarm);

}  // namespace pangu::sim
