#include "raft/driver/testing/storm.h"

#include <fmt/format.h>

#include "base/log.h"
#include "runtime/await.h"

namespace pangu::raft::testing {
namespace {

Duration draw(Prng& prng, Duration low, Duration high) {
  return nanoseconds(
      static_cast<i64>(prng.between(static_cast<u64>(low.ns), static_cast<u64>(high.ns))));
}

}  // namespace

// ---- what the seed says ----

RigOptions Storm::draw_options(Prng& prng) {
  RigOptions out;
  HostOptions& host = out.host;
  if (prng.chance(0.3)) {
    host.group.quiesce_after = draw(prng, milliseconds(60), milliseconds(600));
  }
  if (prng.chance(0.4)) {
    host.group.append_bytes_max = prng.between(200, 4000);
    host.group.inflight_bytes_max = prng.between(500, 20'000);
    host.group.inflight_messages_max = static_cast<u32>(prng.between(1, 8));
  }
  host.log_keep_entries = prng.chance(0.6) ? prng.below(20) : 10'000;
  host.log_keep_bytes = prng.chance(0.5) ? prng.below(4000) : 64 * kMiB;
  host.snapshot_keep = draw(prng, milliseconds(200), seconds(5));
  host.snapshot_patience = draw(prng, milliseconds(300), seconds(5));
  host.maintenance = draw(prng, milliseconds(50), seconds(1));
  host.no_space_retry = milliseconds(50);
  host.apply_bytes_max = prng.chance(0.3) ? 200 : kMiB;
  if (prng.chance(0.2)) {
    host.transport.queued_bytes_max = 20'000;
    host.transport.calls_max = 1;
  }
  out.shared_log = prng.chance(0.7);
  out.segment_bytes = prng.chance(0.5) ? 16 * kKiB : 128 * kKiB;
  out.cache_bytes = prng.chance(0.5) ? 2 * kKiB : 256 * kKiB;
  return out;
}

env::sim::WorldOptions Storm::draw_world(Prng& prng) {
  env::sim::WorldOptions out;
  if (prng.chance(0.3)) {
    out.net.reset_rate = 0.002;
  }
  if (prng.chance(0.3)) {
    out.net.slow_rate = 0.02;
  }
  if (prng.chance(0.3)) {
    out.stall_rate = 0.00002;
  }
  if (prng.chance(0.3)) {
    out.disk.slow_rate = 0.02;
  }
  out.disk.volatile_cache = prng.chance(0.8);
  out.clock_drift_ppm_max = prng.chance(0.3) ? 20'000 : 200;
  return out;
}

void Storm::draw_manner() {
  manner_.pause = draw(prng_, milliseconds(20), milliseconds(300));
  const auto weight = [&](u64 most) { return prng_.chance(0.6) ? prng_.between(1, most) : 0; };
  manner_.crash = weight(4);
  manner_.cut = weight(4);
  manner_.stand_still = weight(2);
  manner_.slow = weight(2);
  manner_.full = weight(1);
  manner_.change = weight(3);
  manner_.transfer = weight(2);
  manner_.reset = weight(2);
  manner_.flush = 4;
  manner_.large = prng_.chance(0.2) ? 0.05 : 0;
  manner_.clients = static_cast<u32>(prng_.between(1, 4));
  manner_.think = draw(prng_, milliseconds(1), milliseconds(30));
  for (auto& process : rig_->processes) {
    process->log_disk.write_max = draw(prng_, microseconds(10), milliseconds(3));
    process->log_disk.forgets_every = prng_.chance(0.3) ? 3 : 0;
    for (LedgerDisk& disk : process->ledger_disks) {
      disk.snapshot_bytes =
          prng_.chance(0.8) ? prng_.between(10, 4000) : prng_.between(10, 2 * kSnapshotReadBytesMax);
      disk.apply_max = prng_.chance(0.3) ? milliseconds(50) : Duration{};
    }
  }
  report_.scenario = fmt::format(
      "{} processes, deeds: crash {} cut {} stand still {} slow {} full {} change {} transfer {} "
      "reset {} flush {}, {} clients each",
      processes_, manner_.crash, manner_.cut, manner_.stand_still, manner_.slow, manner_.full,
      manner_.change, manner_.transfer, manner_.reset, manner_.flush, manner_.clients);
}

Storm::Storm(const StormOptions& options) : options_(options), prng_(options.seed) {
  processes_ = prng_.chance(0.5) ? 3 : 5;
  const u32 members = processes_ == 5 && prng_.chance(0.5) ? 3 : processes_;
  const RigOptions rig = draw_options(prng_);
  const env::sim::WorldOptions world = draw_world(prng_);
  rig_ = std::make_unique<Rig>(prng_.next(), processes_, members, rig, world);
  draw_manner();
}

Storm::~Storm() = default;

// ---- clients ----

void Storm::start_clients(Process& process) {
  for (u32 i = 0; i < manner_.clients; ++i) {
    process.spawn("client", client(process));
  }
}

Task<void> Storm::client(Process& process) {
  Replica& replica = process.replica();
  Oracle& oracle = rig_->oracle;
  while (!calm_) {
    co_await sleep_for(draw(prng_, microseconds(10), manner_.think));
    const Instant deadline =
        process.reactor().now() + draw(prng_, milliseconds(1), milliseconds(1500));
    const Index floor = oracle.begin();
    if (prng_.chance(0.3)) {
      const Status done = co_await replica.read_barrier(deadline);
      if (done.ok()) {
        oracle.read(floor, process.ledger().state().index);
      }
      continue;
    }
    if (!replica.leads() && prng_.chance(0.9)) {
      continue;
    }
    const u64 size = prng_.chance(manner_.large) ? prng_.below(kCommandBytesMax / 4)
                                                 : prng_.below(300);
    std::string command = oracle.new_command(size);
    const u64 id = Oracle::id_of(command);
    auto index = co_await replica.propose(std::move(command), deadline);
    if (index.ok()) {
      oracle.appended(id, floor, *index);
    } else if (index.code() == Code::kUnknownOutcome) {
      ++report_.unknown;
    } else {
      oracle.refused(id);
    }
  }
}

// ---- the adversary ----

void Storm::schedule_deed() {
  rig_->world.at(rig_->world.now() + draw(prng_, microseconds(100), manner_.pause), [this] {
    if (!calm_) {
      deed();
      schedule_deed();
    }
  });
}

void Storm::deed() {
  Process& process = prng_.chance(0.4) && rig_->leader() != nullptr ? *rig_->leader() : any();
  const u64 weights[] = {manner_.crash, manner_.cut,      manner_.stand_still,
                         manner_.slow,  manner_.full,     manner_.change,
                         manner_.flush, manner_.transfer, manner_.reset};
  u64 sum = 0;
  for (const u64 weight : weights) {
    sum += weight;
  }
  u64 pick = prng_.below(sum);
  size_t what = 0;
  while (pick >= weights[what]) {
    pick -= weights[what++];
  }
  switch (what) {
    case 0:
      return crash(process);
    case 1:
      return cut();
    case 2:
      return stand_still(process);
    case 3:
      return slow(process);
    case 4:
      return full(process);
    case 5:
      return change(process);
    case 6:
      if (process.ready()) {
        process.ledger().flush();
      }
      return;
    case 7:
      if (process.ready()) {
        process.spawn("transfer", transfer_task(process, any().id()));
      }
      return;
    default:
      if (Process& other = any(); &other != &process) {
        rig_->world.net().reset_connections(process.node(), other.node());
      }
  }
}

void Storm::count(Process& process) {
  if (process.ready()) {
    report_.snapshots += process.replica().counters().snapshots_installed;
  }
}

void Storm::crash(Process& process) {
  if (!process.running() || process.node().paused()) {
    return;
  }
  ++report_.crashes;
  count(process);
  if (prng_.chance(0.2) && process.ready()) {
    process.ledger().flush();
  }
  process.crash(prng_.chance(0.5) ? env::sim::Crash::process : env::sim::Crash::power);
  const Duration down = prng_.chance(0.5) ? draw(prng_, microseconds(100), milliseconds(30))
                                          : draw(prng_, milliseconds(30), milliseconds(1500));
  rig_->world.at(rig_->world.now() + down, [&process] {
    if (!process.running()) {
      process.start();
    }
  });
}

void Storm::cut() {
  env::sim::Network& net = rig_->world.net();
  net.heal_all();
  if (prng_.chance(0.4)) {
    return;
  }
  Process& alone = any();
  const u64 manner = prng_.below(4);
  for (auto& other : rig_->processes) {
    if (other.get() == &alone) {
      continue;
    }
    if (manner == 0 || manner == 2) {
      net.cut(alone.node(), other->node());
    }
    if (manner == 1 || manner == 2) {
      net.cut(other->node(), alone.node());
    }
    if (manner == 3 && prng_.chance(0.5)) {
      net.hang(alone.node(), other->node());
    }
  }
}

void Storm::stand_still(Process& process) {
  if (!process.running() || process.node().paused()) {
    return;
  }
  process.node().pause();
  rig_->world.at(rig_->world.now() + draw(prng_, milliseconds(10), milliseconds(1200)),
                 [&process] {
                   if (process.node().paused()) {
                     process.node().resume();
                   }
                 });
}

void Storm::slow(Process& process) {
  const bool slower = prng_.chance(0.6);
  process.node().disk().slow_down(slower ? 50 : 1);
  process.log_disk.write_max = slower ? milliseconds(100) : milliseconds(1);
}

void Storm::full(Process& process) {
  const bool now = prng_.chance(0.5);
  process.log_disk.full = now;
  env::sim::Disk& disk = process.node().disk();
  disk.options().capacity = now ? std::max<u64>(disk.used(), 1) : 0;
  process.ledger_disks[0].full = prng_.chance(0.5) && now;
}

void Storm::change(Process& process) {
  if (!process.ready()) {
    return;
  }
  ConfigurationChange change;
  const u64 number = prng_.chance(0.6) ? 1 : prng_.between(2, 3);
  for (u64 i = 0; i < number; ++i) {
    using Kind = MemberChange::Kind;
    const Kind kind = prng_.chance(0.5)   ? Kind::add_voter
                      : prng_.chance(0.5) ? Kind::remove
                                          : Kind::add_learner;
    change.changes.push_back({kind, any().id()});
  }
  process.spawn("change", change_task(process, std::move(change)));
}

Task<void> Storm::change_task(Process& process, ConfigurationChange change) {
  const Status done = co_await process.replica().change_members(
      std::move(change), process.reactor().now() + seconds(2));
  if (done.ok()) {
    ++report_.changes;
  }
}

Task<void> Storm::transfer_task(Process& process, NodeId to) {
  static_cast<void>(
      co_await process.replica().transfer(to, process.reactor().now() + milliseconds(800)));
}

// ---- afterwards ----

void Storm::calm_down() {
  calm_ = true;
  rig_->world.net().heal_all();
  rig_->world.options().net.reset_rate = 0;
  for (auto& process : rig_->processes) {
    if (process->node().paused()) {
      process->node().resume();
    }
    process->node().disk().slow_down(1);
    process->log_disk.write_max = microseconds(100);
    process->log_disk.full = false;
    process->node().disk().options().capacity = 0;
    process->ledger_disks[0].full = false;
    process->ledger_disks[0].apply_max = {};
    if (!process->running()) {
      process->start();
    }
  }
}

std::string Storm::recover() {
  calm_down();
  Oracle& oracle = rig_->oracle;
  std::string trouble = "?";
  Index index = 0;
  for (int attempt = 0; index == 0; ++attempt) {
    Process* leader = rig_->wait_leader(seconds(10));
    if (!oracle.failure().empty()) {
      return oracle.failure();
    }
    if (leader == nullptr || attempt == 50) {
      return leader == nullptr ? "no leader afterwards"
                               : "no command gets through afterwards: " + trouble;
    }
    auto appended = rig_->append(*leader, 20, seconds(3));
    if (appended.ok()) {
      index = *appended;
    } else {
      trouble = appended.error().message();
      rig_->world.run_for(milliseconds(200));
    }
  }
  rig_->wait([&] { return (trouble = not_recovered(index)).empty(); }, seconds(20));
  if (trouble.empty()) {
    oracle.check_end(rig_->leader()->ledger().state().index);
  }
  return oracle.failure().empty() ? trouble : oracle.failure();
}

std::string Storm::not_recovered(Index index) {
  Process* leader = rig_->leader();
  if (leader == nullptr) {
    return "no leader";
  }
  const LedgerState state = leader->ledger().state();
  for (const NodeId node : leader->replica().configuration().members()) {
    Process& process = rig_->at(node.value());
    if (!process.ready()) {
      return fmt::format("process {} is not up: {}", node.value(), process.trouble);
    }
    if (process.ledger().state() != state || state.index < index) {
      return fmt::format("member {} is at {}, the leader {} at {} of {}", node.value(),
                         process.ledger().state().index, leader->id().value(), state.index, index);
    }
  }
  return "";
}

StormReport Storm::run() {
  std::unique_ptr<env::sim::WorldLog> log;
  if (options_.log_to_stderr) {
    log = std::make_unique<env::sim::WorldLog>(rig_->world);
  } else {
    log = std::make_unique<env::sim::WorldLog>(
        rig_->world, [](void*, std::string_view) {}, nullptr);
  }
  for (auto& process : rig_->processes) {
    process->on_ready = [this](Process& ready) {
      if (!calm_) {
        start_clients(ready);
      }
    };
    process->start();
  }
  schedule_deed();
  const Instant end = rig_->world.now() + options_.chaos;
  rig_->wait([&] { return !rig_->oracle.failure().empty(); }, end - rig_->world.now());
  report_.failure = rig_->oracle.failure();
  if (report_.failure.empty()) {
    report_.failure = recover();
  }
  for (auto& process : rig_->processes) {
    count(*process);
    if (process->ready()) {
      report_.elections = std::max(report_.elections, process->replica().term().value());
      if (report_.failure.empty()) {
        process->stop(rig_->world);
        report_.failure = rig_->oracle.failure();
      }
    }
  }
  report_.appends = rig_->oracle.appends();
  report_.reads = rig_->oracle.reads();
  report_.events = rig_->world.events();
  report_.trace_hash = rig_->world.trace_hash();
  return report_;
}

}  // namespace pangu::raft::testing
