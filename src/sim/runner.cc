#include "sim/runner.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "sim/fault_injector.h"
#include "sim/final_check.h"
#include "sim/namespace_workload.h"
#include "sim/shared_tree_workload.h"

namespace pangu::sim {

namespace {

constexpr Duration kBootTime = seconds(60);
// Until every operation that was under way when the faults ended has ended too.
constexpr Duration kWindDownTime = seconds(60);
constexpr Duration kServingTime = seconds(60);
constexpr Duration kCheckTime = seconds(300);
// Until every chunk of removed files is gone.
constexpr Duration kReclaimTime = seconds(120);
constexpr Duration kStopTime = seconds(30);
// More than this and something runs in circles.
constexpr u64 kEventsMax = 30'000'000;

class Run {
 public:
  Run(const SimOptions& options, const Swarm& swarm)
      : options_(options),
        swarm_(swarm),
        world_(options.seed, swarm.world),
        judge_(world_),
        stage_{.world = world_, .judge = judge_, .swarm = swarm_},
        cluster_(world_, judge_, swarm.cluster),
        faults_(world_, cluster_, swarm_, options.seed),
        streams_(stage_) {}

  void perform();
  void fill(Report& report);
  env::sim::World& world() { return world_; }

 private:
  using Check = std::function<Task<void>(Actor&)>;

  bool prepare();
  void populate(ClientHost& host);
  void storm();
  bool calm_down();
  bool run_until_or_fail(const std::function<bool()>& predicate, Duration patience,
                         std::string_view what);
  // Runs a check on a client host that knows nothing yet.
  bool check_freshly(std::string_view what, const Check& check);
  bool power_cut();
  bool one_server_down();
  bool wait_for_space();

  static Task<void> join(Run& run, ClientHost& host, u64 seed);
  static Task<void> act_on_streams(Run& run, std::shared_ptr<Actor> actor);
  enum class Names : u8 { own, shared };
  static Task<void> act_on_names(Run& run, ClientHost& host, u64 seed, Names names);
  static Task<void> prepare_names(Run& run, ClientHost& host, bool& done);
  static Task<void> run_check(Run& run, ClientHost& host, const Check& check, bool& done);

  const SimOptions options_;
  const Swarm swarm_;
  env::sim::World world_;
  Judge judge_;
  Stage stage_;
  Cluster cluster_;
  FaultInjector faults_;
  StreamWorkload streams_;
  NamespaceWorkload namespaces_;
  SharedTreeWorkload shared_tree_;
  u64 actors_made_ = 0;
};

std::shared_ptr<Actor> make_actor(Stage& stage, ClientHost& host, client::Client& client,
                                  u64 seed) {
  auto actor = std::make_shared<Actor>(
      Actor{.stage = stage, .host = host, .client = client, .prng = Prng(seed)});
  host.keep(actor);
  return actor;
}

Task<void> Run::act_on_streams(Run& run, std::shared_ptr<Actor> actor) {
  co_await run.streams_.act(*actor);
  actor->host.actor_ended();
}

Task<void> Run::act_on_names(Run& run, ClientHost& host, u64 seed, Names names) {
  while (!run.stage_.winding_down) {
    auto client = co_await host.new_client();
    if (client.ok()) {
      const auto actor = make_actor(run.stage_, host, **client, seed);
      if (names == Names::own) {
        co_await run.namespaces_.act(*actor);
      } else {
        co_await run.shared_tree_.act(*actor);
      }
      break;
    }
  }
  host.actor_ended();
}

void Run::populate(ClientHost& host) {
  if (stage_.winding_down) {
    return;
  }
  const u32 on_names = swarm_.stream_actors + swarm_.namespace_actors;
  for (u32 i = 0; i < on_names + swarm_.shared_tree_actors; ++i) {
    const u64 seed = hash_combine(hash_combine(options_.seed, 0xac), ++actors_made_);
    host.actor_began();
    if (i < swarm_.stream_actors) {
      host.reactor().spawn("streams", TaskClass::foreground,
                           act_on_streams(*this, make_actor(stage_, host, *host.client(), seed)));
    } else {
      const Names names = i < on_names ? Names::own : Names::shared;
      host.reactor().spawn("names", TaskClass::foreground, act_on_names(*this, host, seed, names));
    }
  }
}

bool Run::run_until_or_fail(const std::function<bool()>& predicate, Duration patience,
                            std::string_view what) {
  const u64 events_max = world_.events() + kEventsMax;
  world_.run_until([&] { return predicate() || judge_.failed() || world_.events() > events_max; },
                   world_.now() + patience);
  if (world_.events() > events_max) {
    judge_.fail(
        fmt::format("{}: more than {} events: something runs in circles", what, kEventsMax));
  }
  if (!judge_.failed() && !predicate()) {
    judge_.fail(fmt::format("{}: not within {} s", what, patience.seconds()));
  }
  return !judge_.failed();
}

Task<void> Run::prepare_names(Run& run, ClientHost& host, bool& done) {
  while (host.client() == nullptr) {
    co_await sleep_for(milliseconds(10));
  }
  client::Client& client = *host.client();
  for (;;) {
    Status status;
    auto race = co_await client.make_directory(NamespaceWorkload::kRaceFolder, true);
    auto shared = co_await client.make_directory(SharedTreeWorkload::kRoot, true);
    if (race.ok() && shared.ok()) {
      status = co_await run.streams_.prepare(client);
    } else {
      status = race.ok() ? shared.error() : race.error();
    }
    if (status.ok()) {
      done = true;
      co_return;
    }
    LOG_INFO("preparing: {}", status.error().message());
    co_await sleep_for(milliseconds(100));
  }
}

bool Run::prepare() {
  if (!cluster_.boot(world_.now() + kBootTime)) {
    judge_.fail("the cluster does not start");
    return false;
  }
  bool done = false;
  ClientHost& host = *cluster_.clients().front();
  host.reactor().spawn("prepare", TaskClass::control, prepare_names(*this, host, done));
  return run_until_or_fail([&] { return done; }, kBootTime, "making the first directories");
}

void Run::storm() {
  for (const auto& host : cluster_.clients()) {
    host->set_ready([this](ClientHost& ready) { populate(ready); });
    if (host->client() != nullptr) {
      populate(*host);
    }
  }
  faults_.begin();
  const Duration length = options_.length.ns > 0 ? options_.length : swarm_.length;
  const Instant end = world_.now() + length;
  const u64 events_max = world_.events() + kEventsMax;
  world_.run_until([&] { return judge_.failed() || world_.events() > events_max; }, end);
  if (world_.events() > events_max) {
    judge_.fail("the storm: something runs in circles");
  }
}

bool Run::calm_down() {
  faults_.mend_everything();
  stage_.winding_down = true;
  const auto idle = [this] {
    return std::all_of(cluster_.clients().begin(), cluster_.clients().end(),
                       [](const auto& host) { return host->actors() == 0; });
  };
  return run_until_or_fail(idle, kWindDownTime, "ending the operations under way") &&
         run_until_or_fail([this] { return cluster_.serving(); }, kServingTime,
                           "serving again after the faults");
}

Task<void> Run::run_check(Run& run, ClientHost& host, const Check& check, bool& done) {
  while (host.client() == nullptr) {
    co_await sleep_for(milliseconds(10));
  }
  const auto actor = make_actor(run.stage_, host, *host.client(), run.options_.seed);
  co_await check(*actor);
  done = true;
}

bool Run::check_freshly(std::string_view what, const Check& check) {
  ClientHost& host = cluster_.add_client();
  bool done = false;
  host.start();
  host.reactor().spawn("check", TaskClass::foreground, run_check(*this, host, check, done));
  return run_until_or_fail([&] { return done; }, kCheckTime, what);
}

// All that was acknowledged is on stable media: every server may lose its power at once.
bool Run::power_cut() {
  for (const auto& host : cluster_.chunkservers()) {
    host->crash(env::sim::Crash::power);
  }
  for (const auto& host : cluster_.masters()) {
    host->crash(env::sim::Crash::power);
  }
  world_.run_for(milliseconds(10));
  for (const auto& host : cluster_.masters()) {
    host->start();
  }
  for (const auto& host : cluster_.chunkservers()) {
    host->start();
  }
  return run_until_or_fail([this] { return cluster_.serving(); }, kServingTime,
                           "serving again after a power cut") &&
         check_freshly("reading everything after a power cut",
                       [this](Actor& actor) { return check_contents(actor, streams_); }) &&
         check_freshly("checking the shared tree after a power cut",
                       [this](Actor& actor) { return shared_tree_.check(actor); });
}

// What was closed is on copies_min servers: any one of them may be away.
bool Run::one_server_down() {
  if (swarm_.file.copies_min < 2) {
    return true;
  }
  ChunkHost& host = *cluster_.chunkservers()[options_.seed % cluster_.chunkservers().size()];
  host.crash(env::sim::Crash::process);
  const bool read = check_freshly("reading everything with one server down",
                                  [this](Actor& actor) { return check_contents(actor, streams_); });
  host.start();
  return read && run_until_or_fail([this] { return cluster_.serving(); }, kServingTime,
                                   "serving again after one server was down");
}

bool Run::wait_for_space() {
  const auto chunks_left = [this] {
    u64 chunks = 0;
    for (const auto& host : cluster_.chunkservers()) {
      chunks += host->chunks();
    }
    return chunks;
  };
  if (!run_until_or_fail([&] { return chunks_left() == 0; }, kReclaimTime,
                         "freeing the chunks of removed files")) {
    judge_.fail(fmt::format("{} chunks are left", chunks_left()));
    return false;
  }
  return true;
}

void Run::perform() {
  if (!prepare()) {
    return;
  }
  storm();
  if (judge_.failed() || !calm_down()) {
    return;
  }
  const u32 chunkservers = swarm_.cluster.chunkservers;
  const bool good =
      check_freshly("checking the cluster",
                    [&](Actor& actor) { return check_cluster_info(actor, chunkservers); }) &&
      check_freshly("checking the files",
                    [this](Actor& actor) { return check_files(actor, streams_); }) &&
      check_freshly("checking the names",
                    [this](Actor& actor) { return namespaces_.check_all(actor); }) &&
      check_freshly("checking the shared tree",
                    [this](Actor& actor) { return shared_tree_.check(actor); }) &&
      power_cut() && one_server_down() &&
      check_freshly("removing everything", [](Actor& actor) { return remove_everything(actor); }) &&
      wait_for_space();
  if (good) {
    cluster_.shut_down(kStopTime);
  }
}

void Run::fill(Report& report) {
  report.ok = !judge_.failed();
  report.operations = judge_.operations();
  report.operations_ok = judge_.operations_ok();
  report.checks = judge_.checks();
  for (const StreamFile& file : streams_.files()) {
    report.bytes_acknowledged += file.oracle.bytes_acknowledged();
    report.bytes_read += file.oracle.bytes_read();
  }
  report.faults = faults_.injected();
  report.simulated_seconds = static_cast<double>(world_.now().ns) / 1e9;
  report.events = world_.events();
  report.trace_hash = world_.trace_hash();
  if (!report.ok) {
    report.failure =
        fmt::format("{}\nreplay with: pangu sim --seed {} --verbose", judge_.text(), options_.seed);
  }
}

// Log lines of a run that nobody reads.
void drop_line(void*, std::string_view) {}

}  // namespace

int run_seed(const SimOptions& options, Report& report) {
  const Swarm swarm = draw_swarm(options.seed);
  report = {};
  report.scenario = describe(swarm);
  const std::string context = fmt::format("simulation of seed {}", options.seed);
  set_check_context(context.c_str());
  const LogLevel level = log_level();
  set_log_level(options.verbose ? std::min(level, LogLevel::info) : LogLevel::error);
  {
    Run run(options, swarm);
    const env::sim::WorldLog log(run.world(), options.verbose ? nullptr : drop_line);
    run.perform();
    run.fill(report);
  }
  set_log_level(level);
  set_check_context(nullptr);
  return report.ok ? 0 : 1;
}

std::vector<ReachedCount> reached_counts() {
  std::vector<ReachedCount> out;
  for_each_reached_mark(
      [](void* context, const ReachedMark& mark) {
        static_cast<std::vector<ReachedCount>*>(context)->push_back(
            {.name = mark.name, .count = *mark.count});
      },
      &out);
  std::sort(out.begin(), out.end(),
            [](const ReachedCount& a, const ReachedCount& b) { return a.name < b.name; });
  return out;
}

}  // namespace pangu::sim
