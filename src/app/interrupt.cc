#include "app/interrupt.h"

#include <signal.h>

#include "base/check.h"

namespace pangu::app {

namespace {
std::atomic<env::Env*> the_env{nullptr};
std::atomic<int> the_signal{0};
std::atomic<int> the_count{0};
struct sigaction old_interrupt;
struct sigaction old_terminate;

void on_signal(int number) {
  the_signal.store(number, std::memory_order_relaxed);
  the_count.fetch_add(1, std::memory_order_relaxed);
  if (env::Env* env = the_env.load(std::memory_order_acquire)) {
    env->wake();
  }
}
}  // namespace

Interrupts::Interrupts(env::Env& env) {
  CHECK(the_env.load() == nullptr);
  the_signal = 0;
  the_count = 0;
  the_env.store(&env, std::memory_order_release);
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &old_interrupt);
  ::sigaction(SIGTERM, &action, &old_terminate);
  ::signal(SIGPIPE, SIG_IGN);
}

Interrupts::~Interrupts() {
  ::sigaction(SIGINT, &old_interrupt, nullptr);
  ::sigaction(SIGTERM, &old_terminate, nullptr);
  the_env.store(nullptr, std::memory_order_release);
}

int Interrupts::received() const { return the_signal.load(std::memory_order_relaxed); }
int Interrupts::count() const { return the_count.load(std::memory_order_relaxed); }

}  // namespace pangu::app
