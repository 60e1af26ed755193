#include "env/sim/node.h"

#include "env/sim/world.h"

namespace pangu::env::sim {

namespace {
constexpr i64 kWallClockStart_us = 1'700'000'000'000'000;
constexpr i64 kMillion = 1'000'000;
__extension__ using Wide = __int128;
}  // namespace

Node::Node(World& world, u32 index, std::string_view name)
    : world_(world), index_(index), name_(name) {
  draw_clock();
  disks_.push_back(std::make_unique<Disk>(world_, *this, "", world_.options().disk));
  env_ = std::make_unique<SimEnv>(*this, ++lives_);
}

Node::~Node() {
  if (env_ != nullptr) {
    env_->die();
  }
}

void Node::draw_clock() {
  Prng& prng = world_.prng();
  const WorldOptions& options = world_.options();
  clock_offset_ns_ =
      static_cast<i64>(prng.below(static_cast<u64>(std::max<i64>(options.clock_offset_max.ns, 1))));
  const u64 drift = static_cast<u64>(options.clock_drift_ppm_max);
  drift_ppm_ = static_cast<i64>(prng.between(0, 2 * drift)) - options.clock_drift_ppm_max;
  const u64 error = static_cast<u64>(options.wall_clock_error_max.us());
  wall_error_us_ = static_cast<i64>(prng.between(0, 2 * error)) - options.wall_clock_error_max.us();
}

void Node::set_clock(Duration offset, i64 drift_ppm) {
  clock_offset_ns_ = offset.ns;
  drift_ppm_ = drift_ppm;
}

Address Node::address(u16 port) const {
  Address address;
  address.ip = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0};
  address.ip[14] = static_cast<u8>((index_ + 1) >> 8);
  address.ip[15] = static_cast<u8>(index_ + 1);
  address.port = port;
  return address;
}

SimEnv& Node::env() {
  CHECK_NOTE(env_ != nullptr, "the node is down");
  return *env_;
}

void Node::crash(Crash how) {
  CHECK_NOTE(env_ != nullptr, "the node is down already");
  CHECK_NOTE(world_.current_node() != this, "a node cannot be crashed by its own code");
  env_->die();
  powered_ = how == Crash::process;
  paused_ = false;
  world_.net().process_died(*env_, how);
  for (const auto& disk : disks_) {
    disk->process_died(*env_, how);
  }
  dead_.push_back(std::move(env_));
}

void Node::restart() {
  CHECK_NOTE(env_ == nullptr, "the node is up");
  if (!powered_) {
    draw_clock();
    powered_ = true;
  }
  env_ = std::make_unique<SimEnv>(*this, ++lives_);
}

void Node::pause() {
  paused_ = true;
}

void Node::resume() {
  paused_ = false;
  if (env_ != nullptr) {
    env_->arm(world_.now());
  }
}

Disk& Node::add_disk(std::string_view mount, const DiskOptions& options) {
  disks_.push_back(std::make_unique<Disk>(world_, *this, mount, options));
  return *disks_.back();
}

Disk& Node::disk_of(std::string_view path) {
  Disk* best = disks_.front().get();
  for (const auto& disk : disks_) {
    const std::string& mount = disk->mount();
    if (mount.size() > best->mount().size() && path.starts_with(mount) &&
        (path.size() == mount.size() || path[mount.size()] == '/')) {
      best = disk.get();
    }
  }
  return *best;
}

Instant Node::local_time(Instant world_time) const {
  const i64 drift = static_cast<i64>(Wide{world_time.ns} * drift_ppm_ / kMillion);
  return {clock_offset_ns_ + world_time.ns + drift};
}

Instant Node::world_time(Instant local) const {
  const Wide shown = Wide{local.ns} - clock_offset_ns_;
  const Wide guess = shown * kMillion / (kMillion + drift_ppm_) - 2;
  if (guess > Instant::never().ns / 2) {
    return Instant::never();
  }
  Instant when{guess < 0 ? 0 : static_cast<i64>(guess)};
  while (local_time(when) < local) {
    ++when.ns;
  }
  return when;
}

i64 Node::wall_clock_us(Instant world_time) const {
  return kWallClockStart_us + wall_error_us_ + world_time.ns / 1000;
}

}  // namespace pangu::env::sim
