#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "app/config.h"
#include "app/interrupt.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// What every command that does something runs in: the real Env, one reactor on it, the log written
// off the thread, and SIGINT/SIGTERM as a request to stop.
namespace pangu::env {
class LogThread;
enum class EnvKind : u8;
}  // namespace pangu::env

namespace pangu::app {

class World {
 public:
  static Result<std::unique_ptr<World>> create(const Config& config);
  ~World();

  env::Env& env() { return *env_; }
  Reactor& reactor() { return *reactor_; }
  Interrupts& interrupts() { return *interrupts_; }
  Instant now() { return env_->now(); }
  // How this process waits, for reports: "event", or "spin 50 us".
  std::string wait_mode() const;
  env::EnvKind env_kind() const { return kind_; }
  Duration spin() const { return spin_; }

  // Drives the reactor until `task` is done. A signal meanwhile ends the process with 130: a
  // command leaves nothing half done that the servers would not clean up.
  template <class T>
  T run(Task<T> task) {
    std::optional<T> value;
    bool finished = false;
    reactor_->spawn("command", TaskClass::foreground,
                    detail::store_result<T>(std::move(task), value, finished));
    drive(finished);
    return std::move(*value);
  }
  // What run() does before a signal ends the process, the last one first; none may use the reactor.
  void push_cleanup(std::function<void()> cleanup) { cleanups_.push_back(std::move(cleanup)); }
  void pop_cleanup() { cleanups_.pop_back(); }
  // Drives until a signal asks to stop.
  void run_until_interrupted();
  // Drives until `task` (an orderly stop) is done. If `patience` is over first, or a further signal
  // comes, the process ends at once.
  void run_stop(Task<void> task, Duration patience);

 private:
  World() = default;
  void drive(const bool& finished);

  std::unique_ptr<env::LogThread> log_;
  std::unique_ptr<env::Env> env_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Interrupts> interrupts_;
  std::vector<std::function<void()>> cleanups_;
  env::EnvKind kind_{};
  Duration spin_;
};

}  // namespace pangu::app
