#include "app/local_cluster.h"

#include <fmt/format.h>

#include "app/local_file.h"
#include "base/ids.h"
#include "app/value.h"

namespace pangu::app {

namespace {
constexpr Duration kReadyTimeout = seconds(30);
constexpr u16 kFreePortFirst = 17100;
constexpr u16 kFreePortLast = 32000;  // below the ports that outgoing connections take

bool is_master(const RoleProcess& role) { return role.name.starts_with("master"); }

Result<std::unique_ptr<env::File>> lock_directory(World& world, const std::string& directory) {
  env::OpenOptions options;
  options.create = true;
  options.lock = true;
  auto lock = world.env().files().open(directory + "/cluster.lock", options);
  if (!lock.ok()) {
    return std::move(lock).error().within("another `pangu cluster` command works there");
  }
  return std::move(*lock);
}

// A port that is free now and will not be taken by an outgoing connection meanwhile.
Result<u16> free_port(World& world) {
  const u16 span = kFreePortLast - kFreePortFirst;
  const u16 start = static_cast<u16>(world.env().random() % span);
  for (u16 i = 0; i < 200; ++i) {
    const u16 port = static_cast<u16>(kFreePortFirst + (start + i * 37) % span);
    TRY(address, env::parse_address(fmt::format("127.0.0.1:{}", port)));
    if (world.env().listen(address).ok()) {
      return port;
    }
  }
  return Error(Code::kInUse, "no free port on 127.0.0.1");
}

// What the founding masters of a cluster know of each other.
struct MasterPlan {
  std::vector<u16> ports;
  Uuid cluster;
  std::string members() const {
    std::string out;
    for (size_t i = 0; i < ports.size(); ++i) {
      out += fmt::format("{}{}=127.0.0.1:{}", i == 0 ? "" : ",", i + 1, ports[i]);
    }
    return out;
  }
};

Result<MasterPlan> plan_masters(World& world, const LocalClusterOptions& options) {
  MasterPlan plan;
  plan.cluster = {.high = world.env().random(), .low = world.env().random()};
  while (plan.ports.size() < options.masters) {
    u16 port = static_cast<u16>(options.master_port + plan.ports.size());
    if (options.master_port == 0) {
      TRY(found, free_port(world));
      port = found;
    }
    if (std::find(plan.ports.begin(), plan.ports.end(), port) == plan.ports.end()) {
      plan.ports.push_back(port);
    }
  }
  return plan;
}

RoleProcess master_role(const LocalClusterOptions& options, const MasterPlan& plan, size_t index,
                        bool fresh) {
  RoleProcess role;
  role.name = fmt::format("master-{}", index + 1);
  role.address = fmt::format("127.0.0.1:{}", plan.ports[index]);
  role.words = {"master", "--data", options.directory + "/" + role.name, "--listen", role.address};
  if (fresh) {
    role.words.insert(role.words.end(),
                      {"--init", fmt::format("--node={}", index + 1),
                       "--members=" + plan.members(), "--cluster-id=" + to_string(plan.cluster),
                       fmt::format("--namespace-groups={}", options.namespace_groups),
                       fmt::format("--stream-groups={}", options.stream_groups)});
  }
  return role;
}

RoleProcess chunkserver_role(const LocalClusterOptions& options, u64 index,
                             const std::string& masters) {
  RoleProcess role;
  role.name = fmt::format("chunkserver-{}", index + 1);
  const std::string data = fmt::format("{}/{}", options.directory, role.name);
  role.words = {"chunkserver", "--join", masters, "--data", data, "--listen", "127.0.0.1:0",
                "--rack", rack_name(index, options.racks)};
  if (options.memory) {
    role.words.insert(role.words.end(), {"--memory", fmt::format("{}", options.device_bytes)});
  } else {
    role.words.insert(role.words.end(),
                      {"--device", fmt::format("{}/disk-1.img,size={}", data,
                                               options.device_bytes),
                       "--format-if-blank"});
  }
  return role;
}
}  // namespace

std::string rack_name(u64 index, u64 racks) {
  return fmt::format("rack-{}", (racks == 0 ? index : index % racks) + 1);
}

LocalCluster::LocalCluster(World& world, ClusterFile file, std::unique_ptr<env::File> lock)
    : world_(&world), file_(std::move(file)), lock_(std::move(lock)) {}

Result<LocalCluster> LocalCluster::open(World& world, const std::string& directory) {
  env::FileSystem& files = world.env().files();
  const std::string path = absolute_path(directory);
  TRY_VOID(load_cluster_file(files, path));
  TRY(lock, lock_directory(world, path));
  TRY(file, load_cluster_file(files, path));
  return LocalCluster(world, std::move(file), std::move(lock));
}

Result<LocalCluster> LocalCluster::start(World& world, const LocalClusterOptions& asked) {
  env::FileSystem& files = world.env().files();
  TRY_VOID(files.make_directories(asked.directory));
  LocalClusterOptions options = asked;
  options.directory = absolute_path(asked.directory);
  TRY(lock, lock_directory(world, options.directory));
  auto before = load_cluster_file(files, options.directory);
  if (before.ok()) {
    for (const RoleProcess& role : before->roles) {
      if (is_running(role.process)) {
        return Error(Code::kAlreadyExists,
                     fmt::format("the cluster in {} runs already ({} is process {}); hint: `pangu "
                                 "cluster stop --dir {}` ends it",
                                 options.directory, role.name, role.process.pid,
                                 options.directory));
      }
    }
  } else if (before.code() != Code::kNotFound) {
    return std::move(before).error();
  }
  ClusterFile file;
  file.directory = options.directory;
  if (before.ok()) {
    // The masters know each other by the addresses with which they began.
    for (const RoleProcess& role : before->roles) {
      if (is_master(role)) {
        file.roles.push_back(role);
        file.roles.back().process = {};
      }
    }
  } else {
    TRY(plan, plan_masters(world, options));
    for (size_t i = 0; i < plan.ports.size(); ++i) {
      file.roles.push_back(master_role(options, plan, i, true));
    }
  }
  for (u64 i = 0; i < options.chunkservers; ++i) {
    file.roles.push_back(chunkserver_role(options, i, file.masters()));
  }
  for (RoleProcess& role : file.roles) {
    if (!is_master(role) || !before.ok()) {
      role.words.insert(role.words.end(), options.common_words.begin(),
                        options.common_words.end());
    }
    role.log_path = fmt::format("{}/{}.log", options.directory, role.name);
  }
  LocalCluster cluster(world, std::move(file), std::move(lock));
  if (Status started = cluster.launch_all(); !started.ok()) {
    const Status stopped = cluster.stop(seconds(2));
    return std::move(started).error();
  }
  return std::move(cluster);
}

// All masters at once, then all chunkservers.
Status LocalCluster::launch_all() {
  for (const bool masters : {true, false}) {
    std::vector<std::pair<RoleProcess*, StartedProcess>> starting;
    for (RoleProcess& role : file_.roles) {
      if (is_master(role) == masters) {
        TRY(started, launch(role));
        starting.emplace_back(&role, std::move(started));
      }
    }
    for (auto& [role, started] : starting) {
      TRY_VOID(await_ready(*role, started));
    }
  }
  return {};
}

Result<StartedProcess> LocalCluster::launch(RoleProcess& role) {
  TRY(started, StartedProcess::start({role.words, role.log_path}));
  role.process = started.process();
  role.started_us = world_->env().wall_clock_us();
  TRY_VOID(store());
  return std::move(started);
}

Status LocalCluster::await_ready(RoleProcess& role, StartedProcess& started) {
  auto announced = started.wait_ready(kReadyTimeout);
  if (!announced.ok()) {
    return std::move(announced).error().within(role.name);
  }
  role.address = split(*announced, '\n').front();
  // A master that was made once is opened from now on.
  std::erase_if(role.words, [](const std::string& word) {
    return word == "--init" || word.starts_with("--node=") || word.starts_with("--members=") ||
           word.starts_with("--cluster-id=") || word.starts_with("--namespace-groups=") ||
           word.starts_with("--stream-groups=");
  });
  return store();
}

Status LocalCluster::kill(std::string_view name) {
  TRY(role, file_.find(name));
  TRY_VOID(send_signal(role->process, Signal::kill));
  if (!wait_for_exit(role->process, seconds(10))) {
    return Error(Code::kTimeout, fmt::format("{} still runs after SIGKILL", name));
  }
  return {};
}

Status LocalCluster::signal(std::string_view name, Signal signal) {
  TRY(role, file_.find(name));
  return send_signal(role->process, signal);
}

Status LocalCluster::restart(std::string_view name) {
  TRY(role, file_.find(name));
  if (is_running(role->process)) {
    return Error(Code::kAlreadyExists,
                 fmt::format("{} runs already, as process {}", name, role->process.pid));
  }
  TRY(started, launch(*role));
  return await_ready(*role, started);
}

Status LocalCluster::stop(Duration patience) {
  const Instant deadline = world_->now() + patience;
  Status first_failure;
  // Masters last: a chunkserver that stops tells them.
  for (const bool masters : {false, true}) {
    for (const RoleProcess& role : file_.roles) {
      if (is_master(role) == masters && is_running(role.process)) {
        const Status sent = send_signal(role.process, Signal::terminate);
        static_cast<void>(sent);  // it has just ended by itself
      }
    }
    for (const RoleProcess& role : file_.roles) {
      if (is_master(role) != masters || role.process.pid == 0) {
        continue;
      }
      const Duration left = std::max(deadline - world_->now(), milliseconds(100));
      if (!wait_for_exit(role.process, left)) {
        const Status sent = send_signal(role.process, Signal::kill);
        static_cast<void>(sent);
        wait_for_exit(role.process, seconds(5));
        first_failure = Error(Code::kTimeout,
                              fmt::format("{} did not stop in time and was killed", role.name));
      }
    }
  }
  return first_failure;
}

}  // namespace pangu::app
