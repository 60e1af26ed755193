#pragma once
#include <cstdlib>
#include <string>
#include <unistd.h>

#include "env/conformance.h"
#include "env/linux/linux_env.h"

// A conformance world on the machine at hand.
namespace pangu::env {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base == nullptr ? "/tmp" : base) + "/pangu-test-XXXXXX";
    CHECK(::mkdtemp(path_.data()) != nullptr);
    env_ = std::move(*make_env(EnvKind::epoll));
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() { remove_tree(path_); }
  const std::string& path() const { return path_; }

 private:
  void remove_tree(const std::string& path) {
    auto names = env_->files().list(path);
    if (names.ok()) {
      for (const std::string& name : *names) {
        remove_tree(path + "/" + name);
      }
    }
    static_cast<void>(env_->files().remove(path).ok());
  }
  std::string path_;
  std::unique_ptr<Env> env_;
};

class LinuxWorld final : public conformance::World {
 public:
  explicit LinuxWorld(EnvKind kind) {
    auto made = make_env(kind);
    CHECK_NOTE(made.ok(), made.ok() ? "" : made.error().message());
    env_ = std::move(*made);
  }
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
  std::string scratch_dir() override { return directory_.path(); }
  Address listen_address() override { return *parse_address("127.0.0.1:0"); }

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<Env> env_;
};

}  // namespace pangu::env
