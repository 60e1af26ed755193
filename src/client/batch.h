#pragma once
#include <memory>
#include <optional>

#include "runtime/sync.h"

// A few tasks whose end somebody waits for. Shared by the tasks and their waiter, so that either
// may go first.
namespace pangu::client {

class Batch {
 public:
  explicit Batch(size_t tasks) : left_(tasks) {}
  // Once a task.
  void finish(Status status) {
    if (!status.ok() && !error_) {
      error_ = std::move(status).error();
    }
    if (--left_ == 0) {
      done_.set();
    }
  }
  // The first error, when all are finished. REQUIRES: each task finishes by its own deadline.
  Task<Status> wait() {
    if (left_ > 0) {
      co_await done_.wait();
    }
    if (error_) {
      co_return *error_;
    }
    co_return ok_status();
  }

 private:
  size_t left_;
  std::optional<Error> error_;
  Event done_;
};

}  // namespace pangu::client
