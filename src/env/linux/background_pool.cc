#include "env/linux/background_pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace pangu::env {

BackgroundPool::BackgroundPool(const Options& options, Execute execute, CompletionStack& finished,
                               Sleeper& sleeper)
    : options_(options), execute_(execute), finished_(finished), sleeper_(sleeper) {}

BackgroundPool::~BackgroundPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  something_to_do_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void BackgroundPool::submit(Operation& op) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push(op);
    ++queued_;
    if (queued_ > idle_ && threads_.size() < options_.threads_max) {
      threads_.emplace_back([this] { work(); });
    }
  }
  something_to_do_.notify_one();
}

void BackgroundPool::work() {
  pthread_setname_np(pthread_self(), options_.name);
  if (options_.nice != 0) {
    // On Linux this is a property of the thread.
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), options_.nice);
  }
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    something_to_do_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    --idle_;
    if (stopping_) {
      return;
    }
    Operation* op = queue_.pop();
    --queued_;
    lock.unlock();
    const i64 result = execute_(*op);
    finished_.push(*op, result);
    sleeper_.wake();
    lock.lock();
  }
}

}  // namespace pangu::env
