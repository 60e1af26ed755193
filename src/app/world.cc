#include "app/world.h"

#include <fmt/format.h>

#include "app/exit_code.h"
#include "app/local_file.h"
#include "app/report.h"
#include "base/log.h"
#include "base/units.h"
#include "env/linux/linux_env.h"
#include "env/linux/log_thread.h"

namespace pangu::app {

namespace {
env::EnvKind kind_of(const std::string& name) {
  return name == "io_uring" ? env::EnvKind::io_uring
         : name == "epoll"  ? env::EnvKind::epoll
                            : env::EnvKind::automatic;
}

[[noreturn]] void leave_now(env::LogThread& log) {
  discard_unfinished_files();
  log.flush();
  std::fflush(stdout);
  std::_Exit(kExitInterrupted);
}
}  // namespace

Result<std::unique_ptr<World>> World::create(const Config& config) {
  std::unique_ptr<World> world(new World());
  TRY(log, env::LogThread::start());
  world->log_ = std::move(log);
  world->kind_ = kind_of(config.text("runtime.io"));
  world->spin_ = config.duration("runtime.spin");
  TRY(env, env::make_env(world->kind_));
  world->env_ = std::move(env);
  ReactorOptions options;
  options.spin = world->spin_;
  world->reactor_ = std::make_unique<Reactor>(*world->env_, options);
  world->interrupts_ = std::make_unique<Interrupts>(*world->env_);
  return world;
}

World::~World() = default;

std::string World::wait_mode() const {
  return spin_ == Duration{} ? "event" : fmt::format("spin {}", format_duration(spin_));
}

void World::drive(const bool& finished) {
  while (!finished) {
    reactor_->run_once(Instant::never());
    if (interrupts_->received() != 0 && !finished) {
      print_error(Error(Code::kCancelled, "interrupted"));
      for (; !cleanups_.empty(); cleanups_.pop_back()) {
        cleanups_.back()();
      }
      leave_now(*log_);
    }
  }
}

void World::run_until_interrupted() {
  while (interrupts_->received() == 0) {
    reactor_->run_once(Instant::never());
  }
}

void World::run_stop(Task<void> task, Duration patience) {
  bool finished = false;
  const int signals = interrupts_->count();
  const Instant deadline = now() + patience;
  reactor_->spawn("stop", TaskClass::control,
                  detail::store_result_void(std::move(task), finished));
  while (!finished) {
    reactor_->run_once(deadline);
    if (!finished && (interrupts_->count() > signals || now() >= deadline)) {
      print_warning("stopped without waiting for what was running");
      leave_now(*log_);
    }
  }
}

}  // namespace pangu::app
