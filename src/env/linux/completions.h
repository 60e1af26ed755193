#pragma once
#include <atomic>

#include "env/env.h"

// How the Envs of this room use Operation::hidden.
//   words[3], pointers[3]  result and link, once an operation has ended and waits for its `done`
//   everything else        the running operation's own
namespace pangu::env {

// First in, first out; one thread.
class OperationQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  void push(Operation& op) {
    op.hidden.pointers[3] = nullptr;
    (last_ == nullptr ? first_ : last_->hidden.pointers[3]) = &op;
    last_ = &op;
  }
  Operation* pop() {
    auto* op = static_cast<Operation*>(first_);
    if (op != nullptr) {
      first_ = op->hidden.pointers[3];
      if (first_ == nullptr) {
        last_ = nullptr;
      }
    }
    return op;
  }

 private:
  void* first_ = nullptr;
  Operation* last_ = nullptr;
};

// Filled by any thread, emptied by one.
class CompletionStack {
 public:
  bool empty() const { return top_.load(std::memory_order_relaxed) == nullptr; }
  void push(Operation& op, i64 result) {
    op.hidden.words[3] = static_cast<u64>(result);
    Operation* below = top_.load(std::memory_order_relaxed);
    do {
      op.hidden.pointers[3] = below;
    } while (!top_.compare_exchange_weak(below, &op, std::memory_order_release,
                                         std::memory_order_relaxed));
  }
  // Moves everything to `into`, oldest first.
  void take_all(OperationQueue& into) {
    Operation* newest = top_.exchange(nullptr, std::memory_order_acquire);
    Operation* oldest = nullptr;
    while (newest != nullptr) {
      auto* next = static_cast<Operation*>(newest->hidden.pointers[3]);
      newest->hidden.pointers[3] = oldest;
      oldest = newest;
      newest = next;
    }
    while (oldest != nullptr) {
      auto* next = static_cast<Operation*>(oldest->hidden.pointers[3]);
      into.push(*oldest);
      oldest = next;
    }
  }

 private:
  std::atomic<Operation*> top_{nullptr};
};

}  // namespace pangu::env
