#pragma once
#include <coroutine>
#include <memory>
#include <vector>

#include "base/prng.h"
#include "runtime/task.h"

// For tests: tasks that take turns in a random order, and can be stopped between any two.
namespace pangu::master::test {

class Turns {
 public:
  explicit Turns(Prng& random) : random_(random) {}
  Turns(const Turns&) = delete;
  ~Turns() {
    for (auto& actor : actors_) {
      actor->root.destroy();
    }
  }

  // Suspends the calling task until its turn comes.
  auto next() { return Awaiter{*this}; }

  // Where an actor works; stop_those_at() ends it there, as a crash would.
  void set_place(u64 place) { current_->place = place; }

  void start(Task<void> task) {
    auto actor = std::make_unique<Actor>();
    actor->root = drive(std::move(task)).handle;
    actor->waiting = actor->root;
    actors_.push_back(std::move(actor));
  }
  // False: nobody is there.
  bool step() {
    if (actors_.empty()) {
      return false;
    }
    const size_t chosen = random_.below(actors_.size());
    current_ = actors_[chosen].get();
    current_->waiting.resume();
    if (current_->root.done()) {
      current_->root.destroy();
      actors_.erase(actors_.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
    current_ = nullptr;
    return true;
  }
  // Not for the actor whose turn it is.
  void stop_those_at(u64 place) {
    std::erase_if(actors_, [&](const std::unique_ptr<Actor>& actor) {
      const bool gone = actor->place == place && actor.get() != current_;
      if (gone) {
        actor->root.destroy();
      }
      return gone;
    });
  }
  size_t size() const { return actors_.size(); }

 private:
  struct Root {
    struct promise_type : PromiseBase {
      Root get_return_object() {
        return {std::coroutine_handle<promise_type>::from_promise(*this)};
      }
      std::suspend_always initial_suspend() const noexcept { return {}; }
      std::suspend_always final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
    };
    std::coroutine_handle<promise_type> handle;
  };
  struct Actor {
    std::coroutine_handle<Root::promise_type> root;
    std::coroutine_handle<> waiting;
    u64 place = 0;
  };
  struct Awaiter {
    Turns& turns;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle) const noexcept {
      turns.current_->waiting = handle;
    }
    void await_resume() const noexcept {}
  };
  static Root drive(Task<void> task) { co_await std::move(task); }

  Prng& random_;
  std::vector<std::unique_ptr<Actor>> actors_;
  Actor* current_ = nullptr;
};

}  // namespace pangu::master::test
