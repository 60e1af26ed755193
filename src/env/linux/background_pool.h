#pragma once
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "env/linux/completions.h"
#include "env/linux/sleeper.h"

namespace pangu::env {

// Threads that run blocking work for one Env. They start when there is first something to do.
// An operation that was executed lands on `finished`, and `sleeper` is woken.
class BackgroundPool {
 public:
  struct Options {
    const char* name = "background";  // at most 15 characters
    size_t threads_max = 2;
    int nice = 0;  // > 0: gives way to others
  };
  // Does the work of `op` and returns its result.
  using Execute = i64 (*)(Operation& op);

  BackgroundPool(const Options& options, Execute execute, CompletionStack& finished,
                 Sleeper& sleeper);
  BackgroundPool(const BackgroundPool&) = delete;
  BackgroundPool& operator=(const BackgroundPool&) = delete;
  // Waits for the work that has begun; what has not is dropped.
  ~BackgroundPool();

  // Only the Env's own thread.
  void submit(Operation& op);

 private:
  void work();
  const Options options_;
  const Execute execute_;
  CompletionStack& finished_;
  Sleeper& sleeper_;
  std::mutex mutex_;
  std::condition_variable something_to_do_;
  OperationQueue queue_;  // guarded by mutex_, as is what follows
  size_t queued_ = 0;
  size_t idle_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace pangu::env
