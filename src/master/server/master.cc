#include "master/server/master.h"

#include <fmt/core.h>

#include "base/key_values.h"
#include "base/log.h"
#include "master/state/memory_kv.h"

namespace pangu::master {
namespace {

constexpr std::string_view kFormatVersion = "1";
constexpr std::string_view kRole = "master";

std::string identity_path(const std::string& directory) { return directory + "/identity.toml"; }

Result<std::unique_ptr<env::File>> take_lock(env::Env& env, const std::string& directory) {
  const env::OpenOptions options{.create = true, .lock = true};
  auto lock = env.files().open(directory + "/lock", options);
  if (lock.code() == Code::kInUse) {
    return Error(Code::kInUse,
                 fmt::format("{}: another process is the master of this folder", directory));
  }
  return lock;
}

Result<Uuid> read_identity(env::Env& env, const std::string& directory) {
  const std::string path = identity_path(directory);
  if (!env.files().exists(path)) {
    return Error(Code::kNotFound,
                 fmt::format("{} is not there: this folder holds no master; a new cluster is made "
                             "with 'pangu master --init'",
                             path));
  }
  TRY(text, env.files().read_file(path));
  TRY(values, parse_key_values(path, text));
  TRY(role, required_value(path, values, "role"));
  if (role != kRole) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{}: this is the folder of a {}, not of a master", path, role));
  }
  TRY(version, required_value(path, values, "format_version"));
  if (version != kFormatVersion) {
    return Error(Code::kWrongVersion, fmt::format("{} has format version {}, this program reads {}",
                                                  path, version, kFormatVersion));
  }
  TRY(cluster_text, required_value(path, values, "cluster"));
  TRY(cluster, parse_uuid(cluster_text));
  if (cluster.is_zero()) {
    return Error(Code::kInvalidArgument, fmt::format("{}: the cluster id is zero", path));
  }
  return cluster;
}

}  // namespace

// Hands each request to its operation.
class Master::Dispatcher final : public rpc::Service {
 public:
  Dispatcher(Reactor& reactor, ops::Context& context, Duration request_timeout)
      : reactor_(reactor), context_(context), request_timeout_(request_timeout) {}

  Result<rpc::Placement> place(const wire::FrameHeader&, Bytes) override {
    return Error(Code::kInvalidArgument, "a master takes no payload");
  }

  Task<rpc::Reply> handle(rpc::Request request) override {
    const ops::Operation operation = ops::find(request.method);
    if (operation == nullptr) {
      co_return rpc::Reply(Error(Code::kUnknownMethod,
                                 fmt::format("{} is no method of a master",
                                             wire::to_string(request.method))));
    }
    const Instant latest = reactor_.now() + request_timeout_;
    std::string body(as_text(request.body.bytes()));
    auto answer =
        co_await operation(context_, std::move(body), std::min(request.deadline, latest));
    if (!answer.ok()) {
      co_return rpc::Reply(answer.error());
    }
    rpc::Reply reply;
    reply.body = std::move(*answer);
    co_return reply;
  }

 private:
  Reactor& reactor_;
  ops::Context& context_;
  Duration request_timeout_;
};

Result<Uuid> Master::init(env::Env& env, const std::string& directory) {
  TRY_VOID(env.files().make_directories(directory));
  // Held until this returns.
  const auto lock = take_lock(env, directory);
  if (!lock.ok()) {
    return lock.error();
  }
  const std::string path = identity_path(directory);
  if (env.files().exists(path)) {
    return Error(Code::kAlreadyExists,
                 fmt::format("{} is there: this folder is a master's already; leave out --init to "
                             "start it",
                             path));
  }
  TRY(names, env.files().list(directory));
  for (const std::string& name : names) {
    if (name == "log" || name == "kv") {
      return Error(Code::kAlreadyExists,
                   fmt::format("{}/{} is there without an identity.toml: restore that file, or "
                               "choose an empty folder",
                               directory, name));
    }
  }
  const Uuid cluster{.high = env.random(), .low = env.random()};
  const KeyValues values = {{"format_version", std::string(kFormatVersion)},
                            {"role", std::string(kRole)},
                            {"cluster", to_string(cluster)}};
  TRY_VOID(env.files().replace_file(
      path, format_key_values("Who this master is. Do not copy or edit.", values)));
  return cluster;
}

Master::Master(Reactor& reactor, MasterOptions options)
    : reactor_(reactor), options_(std::move(options)) {}

Master::~Master() = default;

rpc::Service& Master::service() {
  CHECK(dispatcher_ != nullptr);
  return *dispatcher_;
}

Status Master::open_folder() {
  env::Env& env = reactor_.env();
  TRY(cluster, read_identity(env, options_.directory));
  TRY(lock, take_lock(env, options_.directory));
  lock_ = std::move(lock);
  cluster_ = cluster;
  TRY_VOID(env.files().make_directories(options_.directory + "/log"));
  return env.files().make_directories(options_.directory + "/kv");
}

Task<Result<std::unique_ptr<Kv>>> Master::open_store() {
  const std::string folder = options_.directory + "/kv";
  if (options_.store == StoreKind::memory) {
    co_return MemoryKv::open(reactor_.env().files(), folder + "/image");
  }
  auto work = [this, &folder] { return open_rocks_kv(folder, options_.rocks); };
  auto opened = co_await run_in_background(work);
  co_return opened;
}

Task<Status> Master::open() {
  CO_TRY_VOID(open_folder());
  auto opened_store = co_await open_store();
  CO_TRY(kv, std::move(opened_store));
  auto log = std::make_unique<LocalLog>(
      reactor_, LocalLogOptions{.directory = options_.directory + "/log",
                                .log = cluster_,
                                .segment_bytes = options_.log_segment_bytes});
  group_ = std::make_unique<Group>(reactor_, options_.group, options_.liveness);
  auto opened = co_await group_->open(std::move(kv), std::move(log), cluster_);
  CO_TRY_VOID(std::move(opened));
  context_ = std::make_unique<ops::Context>(
      ops::Context{.group = *group_, .cluster = cluster_, .version = options_.version});
  dispatcher_ = std::make_unique<Dispatcher>(reactor_, *context_, options_.request_timeout);
  LOG_INFO("master of cluster {} opened at command {}", to_string(cluster_),
           group_->applied_index());
  co_return ok_status();
}

Task<void> Master::stop() {
  if (group_) {
    co_await group_->stop();
  }
  lock_.reset();
}

}  // namespace pangu::master
