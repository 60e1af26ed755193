#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "env/conformance.h"
#include "env/linux/device.h"
#include "env/linux/linux_env.h"
#include "env/linux/log_thread.h"
#include "env/linux/sleeper.h"
#include "env/linux/sockets.h"

namespace pangu::env {
namespace {

using conformance::Aligned;
using conformance::Conformance;
using conformance::Waited;
using conformance::World;
using conformance::WorldMaker;

std::string make_temporary_directory() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base == nullptr ? "/tmp" : base) + "/pangu-test-XXXXXX";
  CHECK(mkdtemp(path.data()) != nullptr);
  return path;
}

void remove_tree(FileSystem& files, const std::string& path) {
  auto names = files.list(path);
  if (names.ok()) {
    for (const std::string& name : *names) {
      remove_tree(files, path + "/" + name);
    }
  }
  static_cast<void>(files.remove(path).ok());
}

class LinuxWorld final : public World {
 public:
  explicit LinuxWorld(EnvKind kind) : directory_(make_temporary_directory()) {
    auto made = make_env(kind);
    CHECK_NOTE(made.ok(), made.ok() ? "" : made.error().message());
    env_ = std::move(*made);
  }
  ~LinuxWorld() override { remove_tree(env_->files(), directory_); }
  Env& env() override { return *env_; }
  bool run_until(const std::function<bool()>& condition) override {
    const Instant limit = env_->now() + seconds(20);
    while (!condition()) {
      if (env_->now() > limit) {
        return false;
      }
      env_->wait(env_->now() + milliseconds(100));
    }
    return true;
  }
  void run_for(Duration duration) override {
    const Instant end = env_->now() + duration;
    while (env_->now() < end) {
      env_->wait(end);
    }
  }
  std::string scratch_dir() override { return directory_; }
  Address listen_address() override { return *parse_address("127.0.0.1:0"); }

 private:
  std::string directory_;
  std::unique_ptr<Env> env_;
};

std::unique_ptr<World> make_uring_world() {
  return std::make_unique<LinuxWorld>(EnvKind::io_uring);
}
std::unique_ptr<World> make_epoll_world() {
  return std::make_unique<LinuxWorld>(EnvKind::epoll);
}

std::vector<WorldMaker> linux_worlds() {
  std::vector<WorldMaker> worlds{{"epoll", make_epoll_world}};
  if (make_env(EnvKind::io_uring).ok()) {
    worlds.push_back({"io_uring", make_uring_world});
  }
  return worlds;
}

}  // namespace
}  // namespace pangu::env

namespace pangu::env::conformance {
INSTANTIATE_TEST_SUITE_P(Linux, Conformance, testing::ValuesIn(linux_worlds()), world_name);
}  // namespace pangu::env::conformance
