#include "env/sim/world.h"

#include <cstdio>
#include <fmt/format.h>

namespace pangu::env::sim {

namespace {
// What an empty poll() costs: a process that only polls must see time pass.
constexpr Duration kPollCost = microseconds(1);

void fire_driver(World&, Event& event) {
  const std::unique_ptr<std::function<void()>> what(
      static_cast<std::function<void()>*>(event.object));
  event.object = nullptr;
  (*what)();
}
}  // namespace

World::World(u64 seed, const WorldOptions& options)
    : seed_(seed), options_(options), prng_(seed), trace_(hash64(seed)), net_(*this) {}

World::~World() {
  nodes_.clear();
  while (!queue_.empty()) {
    Event& event = queue_.pop();
    if (event.fire == fire_driver) {
      delete static_cast<std::function<void()>*>(event.object);
    }
  }
}

Node& World::add_node(std::string_view name) {
  nodes_.push_back(std::make_unique<Node>(*this, static_cast<u32>(nodes_.size()), name));
  return *nodes_.back();
}

void World::touch(SimEnv& env) {
  if (!env.touched_) {
    env.touched_ = true;
    touched_.push_back(&env);
  }
}

void World::fire_next() {
  CHECK_NOTE(!stepping_, "code of a node must not drive the world");
  stepping_ = true;
  now_ = queue_.next_time();
  Event& event = queue_.pop();
  ++events_;
  trace_ = hash_combine(trace_, static_cast<u64>(now_.ns) ^ (u64{event.node} << 48) ^
                                    (static_cast<u64>(event.kind) << 60));
  event.fire(*this, event);
  const bool by_driver = event.kind == EventKind::driver;
  queue_.release(event);
  give_turns();
  stepping_ = false;
  if (by_driver) {
    look_at_all_nodes();  // it may have spawned tasks anywhere
  }
}

void World::give_turns() {
  for (size_t i = 0; i < touched_.size(); ++i) {
    SimEnv& env = *touched_[i];
    env.touched_ = false;
    env.take_turn();
  }
  touched_.clear();
}

void World::look_at_all_nodes() {
  for (const auto& node : nodes_) {
    if (node->up()) {
      node->env().look();
    }
  }
}

bool World::step() {
  look_at_all_nodes();
  if (queue_.empty()) {
    return false;
  }
  fire_next();
  return true;
}

bool World::step_before(Instant deadline) {
  if (queue_.empty() || queue_.next_time() > deadline) {
    if (deadline != Instant::never()) {
      now_ = std::max(now_, deadline);
    }
    return false;
  }
  fire_next();
  return true;
}

void World::run_for(Duration duration) {
  run_until([] { return false; }, now_ + duration);
}

void World::at(Instant when, std::function<void()> what) {
  Event& event = schedule(when, EventKind::driver, fire_driver);
  event.object = new std::function<void()>(std::move(what));
}

void World::drive(SimEnv& env, Instant deadline) {
  const Instant until =
      deadline == Instant::never() ? Instant::never() : env.node().world_time(deadline);
  look_at_all_nodes();
  env.driven_ = true;
  while (!env.has_completions() && !env.woken_ && now_ < until) {
    const bool stepped = step_before(until);
    CHECK_NOTE(env.alive(), "a node was crashed while its code waited for it");
    CHECK_NOTE(stepped || until != Instant::never(), "nothing will ever happen again: a deadlock");
  }
  env.driven_ = false;
}

void World::drive_a_moment(SimEnv& env) {
  drive(env, env.node().local_time(now_ + kPollCost));
}

WorldLog::WorldLog(World& world, Sink sink, void* context)
    : world_(world), sink_(sink), context_(context) {
  set_log_sink(write, this);
}

WorldLog::~WorldLog() {
  set_log_sink(nullptr, nullptr);
}

void WorldLog::write(void* self, LogLevel level, std::string_view text) {
  const auto& log = *static_cast<WorldLog*>(self);
  const Node* node = log.world_.current_node();
  const i64 now = log.world_.now().ns;
  const std::string line =
      fmt::format("{}.{:09} {} {}: {}", now / 1'000'000'000, now % 1'000'000'000,
                  node == nullptr ? "-" : node->name(), level_name(level), text);
  if (log.sink_ != nullptr) {
    log.sink_(log.context_, line);
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

}  // namespace pangu::env::sim
