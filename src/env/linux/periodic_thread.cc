#include "env/linux/periodic_thread.h"

#include <chrono>
#include <pthread.h>

namespace pangu::env {

PeriodicThread::PeriodicThread(const char* name, Duration interval,
                               std::function<void(Instant)> work)
    : interval_(interval), work_(std::move(work)), thread_([this, name] { run(name); }) {}

PeriodicThread::~PeriodicThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_one();
  thread_.join();
}

void PeriodicThread::run(const char* name) {
  pthread_setname_np(pthread_self(), name);
  std::unique_lock lock(mutex_);
  while (
      !stop_.wait_for(lock, std::chrono::nanoseconds(interval_.ns), [this] { return stopping_; })) {
    lock.unlock();
    work_(
        Instant{std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1)});
    lock.lock();
  }
}

}  // namespace pangu::env
