#pragma once
#include <deque>

#include "env/env.h"

namespace pangu::env {

// For unit tests of what runs on an Env: time stands still until somebody waits or moves it, and
// operations end when the test says so.
class FakeEnv final : public Env {
 public:
  Instant clock{1'000'000'000};
  Duration poll_takes;  // how far each poll moves the clock
  u64 preempted = 0;
  u64 sleeps = 0;  // waits that nothing but the deadline ended
  u64 polls = 0;
  std::deque<BackgroundOperation*> background;
  std::deque<std::pair<Operation*, i64>> ended;

  Instant now() override { return clock; }
  i64 wall_clock_us() override { return clock.ns / 1000; }
  u64 random() override { return ++random_; }
  u64 preemptions() override { return preempted; }
  FileSystem& files() override { check_failed("no files here", __FILE__, __LINE__); }
  Result<std::unique_ptr<Listener>> listen(const Address&) override { return Code::kUnsupported; }
  void connect(Operation& op, const Address&, std::unique_ptr<Socket>&) override {
    ended.emplace_back(&op, -1);
  }
  void run_in_background(BackgroundOperation& op) override { background.push_back(&op); }
  size_t poll() override {
    ++polls;
    clock = clock + poll_takes;
    return deliver();
  }
  size_t wait(Instant deadline) override {
    while (!background.empty()) {
      BackgroundOperation* op = background.front();
      background.pop_front();
      op->run(op);
      ended.emplace_back(op, 0);
    }
    if (ended.empty() && !woken_) {
      CHECK_NOTE(deadline != Instant::never(), "waits for ever");
      ++sleeps;
      clock = std::max(clock, deadline);
    }
    woken_ = false;
    return deliver();
  }
  void wake() override { woken_ = true; }
  i32 register_memory(std::byte*, size_t) override { return next_slot_ < 0 ? -1 : next_slot_++; }
  void refuse_registration() { next_slot_ = -1; }
  std::string_view name() const override { return "fake"; }

 private:
  size_t deliver() {
    const size_t count = ended.size();
    for (size_t i = 0; i < count; ++i) {
      const auto [op, result] = ended.front();
      ended.pop_front();
      op->done(op, result);
    }
    return count;
  }
  u64 random_ = 0;
  bool woken_ = false;
  i32 next_slot_ = 0;
};

}  // namespace pangu::env
