#include "env/conformance.h"

#include "env/sim/world.h"

// The simulated Env against the suite that every Env must pass: once with both ends on one node,
// once with a network between them, and with everything that may delay and split turned up.
namespace pangu::env::sim {
namespace {

class SimConformanceWorld final : public conformance::World {
 public:
  SimConformanceWorld(u64 seed, const WorldOptions& options, bool two_nodes)
      : world_(seed, options),
        near_(world_.add_node("near")),
        far_(two_nodes ? world_.add_node("far") : near_) {
    CHECK(near_.env().files().make_directories("/scratch").ok());
  }
  Env& env() override { return near_.env(); }
  Env& peer() override { return far_.env(); }
  bool run_until(const std::function<bool()>& condition) override {
    const Instant end = world_.now() + seconds(10);
    while (!condition()) {
      if (world_.now() >= end) {
        return false;
      }
      near_.env().poll();
      far_.env().poll();
      world_.run_for(microseconds(2));
    }
    return true;
  }
  void run_for(Duration duration) override {
    const Instant end = world_.now() + duration;
    static_cast<void>(run_until([&] { return world_.now() >= end; }));
  }
  std::string scratch_dir() override { return "/scratch"; }
  Address listen_address() override { return near_.address(0); }
  bool has_threads() override { return false; }

 private:
  sim::World world_;
  Node& near_;
  Node& far_;
};

std::unique_ptr<conformance::World> one_node() {
  return std::make_unique<SimConformanceWorld>(1, WorldOptions{}, false);
}

std::unique_ptr<conformance::World> two_nodes() {
  return std::make_unique<SimConformanceWorld>(2, WorldOptions{}, true);
}

std::unique_ptr<conformance::World> rough() {
  WorldOptions options;
  options.net.split_rate = 0.9;
  options.net.partial_rate = 0.9;
  options.net.slow_rate = 0.2;
  options.net.slow_max = milliseconds(3);
  options.net.window_min = 5000;
  options.net.window_max = 9000;
  options.disk.slow_rate = 0.2;
  return std::make_unique<SimConformanceWorld>(3, options, true);
}

}  // namespace
}  // namespace pangu::env::sim

namespace pangu::env::conformance {
INSTANTIATE_TEST_SUITE_P(Sim, Conformance,
                         testing::Values(WorldMaker{"one_node", sim::one_node},
                                         WorldMaker{"two_nodes", sim::two_nodes},
                                         WorldMaker{"rough", sim::rough}),
                         world_name);
}  // namespace pangu::env::conformance
