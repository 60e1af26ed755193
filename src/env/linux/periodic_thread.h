#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/time.h"

namespace pangu::env {

// A thread that calls `work` again and again until it is destroyed: for what must go on while
// reactors do not, such as a watchdog.
class PeriodicThread {
 public:
  // `name`: at most 15 characters. `work` gets the monotonic time.
  PeriodicThread(const char* name, Duration interval, std::function<void(Instant)> work);
  PeriodicThread(const PeriodicThread&) = delete;
  PeriodicThread& operator=(const PeriodicThread&) = delete;
  // Waits for a call of `work` that has begun.
  ~PeriodicThread();

 private:
  void run(const char* name);
  const Duration interval_;
  const std::function<void(Instant)> work_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;  // the last: it uses what stands above
};

}  // namespace pangu::env
