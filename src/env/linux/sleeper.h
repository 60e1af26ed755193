#pragma once
#include <atomic>

#include "env/linux/fd.h"

namespace pangu::env {

// Ends the kernel wait of one thread from any other without losing a wake-up and, while nobody
// sleeps, without a system call: wake() is then one atomic exchange.
//
// The sleeper announces itself before it sleeps; a wake-up that came earlier makes the announcement
// fail, one that comes later finds it and writes to the eventfd. All of it is one variable, so
// there is no order of two stores to get wrong: whatever the waker wrote before wake() is visible
// to the sleeper once begin_sleep() refused or end_sleep() returned.
class Sleeper {
 public:
  Sleeper();
  // The eventfd that is written to when a sleeper must wake up; nobody has to read it.
  int fd() const { return fd_.get(); }

  // Any thread.
  void wake();
  // The sleeping thread: false if a wake-up has come since the last sleep (it is then used up).
  bool begin_sleep();
  void end_sleep() { state_.exchange(kAwake, std::memory_order_acq_rel); }

 private:
  static constexpr unsigned kAwake = 0;
  static constexpr unsigned kSleeping = 1;
  static constexpr unsigned kWoken = 2;
  std::atomic<unsigned> state_{kAwake};
  Fd fd_;
};

}  // namespace pangu::env
