#include "env/sim/file_system.h"
#include "env/sim/world.h"
#include "runtime/reactor.h"

namespace pangu::env::sim {

namespace {
// Completions that cause completions at once are run in the same turn, up to this often.
constexpr size_t kRoundsMax = 64;
// The shortest time between two turns of a process that always has something to do: without it,
// time would stand still while it runs.
constexpr Duration kTurnCost = microseconds(1);
}  // namespace

SimEnv::SimEnv(Node& node, u64 life)
    : world_(node.world()),
      node_(node),
      random_(hash_combine(hash_combine(world_.seed(), node.index()), life)),
      files_(std::make_unique<SimFileSystem>(node, *this)) {
  draw_next_stall();
}

SimEnv::~SimEnv() = default;

void SimEnv::attach(Reactor& reactor) {
  CHECK_NOTE(reactor_ == nullptr, "this Env has a reactor already");
  CHECK(&reactor.env() == this);
  reactor_ = &reactor;
  arm(world_.now());
}

void SimEnv::detach() {
  reactor_ = nullptr;
}

void SimEnv::die() {
  alive_ = false;
  reactor_ = nullptr;
  first_ = last_ = nullptr;
}

void SimEnv::draw_next_stall() {
  const double rate = world_.options().stall_rate;
  clock_reads_to_stall_ =
      rate <= 0 ? ~u64{0} : 1 + world_.prng().below(static_cast<u64>(2.0 / rate) + 1);
}

Instant SimEnv::start_time() const {
  return world_.now() + ahead_;
}

Instant SimEnv::now() {
  if (running_ && --clock_reads_to_stall_ == 0) [[unlikely]] {
    ++preemptions_;
    ahead_ = ahead_ + Duration{static_cast<i64>(world_.prng().below(
                          static_cast<u64>(world_.options().stall_max.ns) + 1))};
    draw_next_stall();
  }
  last_now_ = std::max(last_now_, node_.local_time(world_.now() + ahead_));
  return last_now_;
}

i64 SimEnv::wall_clock_us() {
  return node_.wall_clock_us(start_time());
}

FileSystem& SimEnv::files() {
  return *files_;
}

Result<std::unique_ptr<Listener>> SimEnv::listen(const Address& address) {
  return world_.net().listen(*this, address);
}

void SimEnv::connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) {
  if (alive_) {
    world_.net().connect(*this, op, to, into);
  }
}

i32 SimEnv::register_memory(std::byte*, size_t) {
  return -1;
}

void SimEnv::run_in_background(BackgroundOperation& op) {
  if (!alive_) {
    return;
  }
  const u64 delay_max = static_cast<u64>(world_.options().background_delay_max.ns);
  const Duration delay{static_cast<i64>(world_.prng().below(delay_max + 1))};
  Event& event = world_.schedule(start_time() + delay, EventKind::background, fire_background);
  event.env = this;
  event.node = node_.index();
  event.object = &op;
}

void SimEnv::fire_background(World& world, Event& event) {
  SimEnv& env = *event.env;
  if (!env.alive_) {
    return;
  }
  if (env.node_.paused()) {  // its threads stand still too: look again later
    Event& again = world.schedule(world.now() + milliseconds(1), event.kind, event.fire);
    again.env = event.env;
    again.node = event.node;
    again.object = event.object;
    return;
  }
  auto& op = *static_cast<BackgroundOperation*>(event.object);
  {
    const ReactorScope no_reactor(nullptr);
    op.run(&op);
  }
  env.complete(op, 0);
}

void SimEnv::complete(Operation& op, i64 result) {
  if (!alive_) {
    return;
  }
  world_.trace(static_cast<u64>(result));
  op.hidden.words[0] = static_cast<u64>(result);
  op.hidden.pointers[0] = nullptr;
  if (last_ == nullptr) {
    first_ = &op;
  } else {
    last_->hidden.pointers[0] = &op;
  }
  last_ = &op;
  if (!running_) {
    world_.touch(*this);
  }
}

void SimEnv::complete_soon(Operation& op, i64 result) {
  Prng& prng = world_.prng();
  if (!running_ || (ahead_.ns == 0 && prng.below(4) != 0)) {
    complete(op, result);
    return;
  }
  const Duration delay{static_cast<i64>(prng.below(10'000))};
  Event& event = world_.schedule(start_time() + delay, EventKind::completion, fire_completion);
  event.env = this;
  event.node = node_.index();
  event.object = &op;
  event.a = static_cast<u64>(result);
}

void SimEnv::fire_completion(World&, Event& event) {
  if (event.env->alive_) {
    event.env->complete(*static_cast<Operation*>(event.object), static_cast<i64>(event.a));
  }
}

size_t SimEnv::run_completions() {
  size_t count = 0;
  Operation* op = std::exchange(first_, nullptr);
  last_ = nullptr;
  while (op != nullptr) {
    Operation* next = static_cast<Operation*>(op->hidden.pointers[0]);  // done() may free it
    op->done(op, static_cast<i64>(op->hidden.words[0]));
    op = next;
    ++count;
  }
  return count;
}

bool SimEnv::may_run() const {
  return alive_ && reactor_ != nullptr && !driven_ && !node_.paused();
}

void SimEnv::take_turn() {
  if (!may_run()) {
    return;
  }
  if (busy_until_ > world_.now()) {
    arm(busy_until_);
    return;
  }
  running_ = true;
  woken_ = false;
  world_.current_ = &node_;
  for (size_t round = 0; round < kRoundsMax && reactor_ != nullptr; ++round) {
    {
      const ReactorScope scope(reactor_);
      run_completions();
    }
    reactor_->turn();
    if (first_ == nullptr) {
      break;
    }
  }
  world_.current_ = nullptr;
  running_ = false;
  if (ahead_.ns > 0) {
    busy_until_ = world_.now() + ahead_;
    ahead_ = {};
  }
  look();
}

void SimEnv::look() {
  if (!may_run()) {
    return;
  }
  if (first_ != nullptr) {
    arm(world_.now() + kTurnCost);
  }
  const Instant next = reactor_->next_deadline();
  if (next == Instant::never()) {
    return;
  }
  arm(std::max(node_.world_time(next), world_.now() + kTurnCost));
}

void SimEnv::arm(Instant when) {
  when = std::max(when, busy_until_);
  if (reactor_ == nullptr || when >= armed_) {
    return;
  }
  armed_ = when;
  Event& event = world_.schedule(when, EventKind::turn, fire_turn);
  event.env = this;
  event.node = node_.index();
}

void SimEnv::fire_turn(World& world, Event& event) {
  SimEnv& env = *event.env;
  if (env.armed_ > world.now()) {
    return;  // it had its turn earlier than this event foresaw
  }
  env.armed_ = Instant::never();
  world.touch(env);
}

void SimEnv::wake() {
  woken_ = true;
  arm(world_.now());
}

size_t SimEnv::poll() {
  if (first_ == nullptr) {
    world_.drive_a_moment(*this);
  }
  return run_completions();
}

size_t SimEnv::wait(Instant deadline) {
  if (first_ == nullptr && !woken_) {
    world_.drive(*this, deadline);
  }
  woken_ = false;
  return run_completions();
}

}  // namespace pangu::env::sim
