#include "env/linux/common_env.h"

#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

namespace pangu::env {

namespace {

constexpr BackgroundPool::Options kBackground{.name = "pangu-backgr", .threads_max = 2, .nice = 10};

i64 execute_background(Operation& op) {
  auto& work = static_cast<BackgroundOperation&>(op);
  work.run(&work);
  return 0;
}

i64 read_clock_ns(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return i64{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

CommonEnv::CommonEnv()
    : files_(*this),
      random_used_(random_.size()),
      background_(kBackground, execute_background, finished_elsewhere_, sleeper_) {}

Instant CommonEnv::now() {
  return Instant{read_clock_ns(CLOCK_MONOTONIC)};
}
i64 CommonEnv::wall_clock_us() {
  return read_clock_ns(CLOCK_REALTIME) / 1000;
}

u64 CommonEnv::random() {
  if (random_used_ == random_.size()) {
    // At most 256 bytes are never cut short by a signal.
    for (size_t i = 0; i < random_.size(); i += 32) {
      CHECK(getrandom(&random_[i], 256, 0) == 256);
    }
    random_used_ = 0;
  }
  return random_[random_used_++];
}

u64 CommonEnv::preemptions() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return static_cast<u64>(usage.ru_nivcsw);
}

void CommonEnv::run_in_background(BackgroundOperation& op) {
  background_.submit(op);
}

void CommonEnv::complete_later(Operation& op, i64 result) {
  op.hidden.words[3] = static_cast<u64>(result);
  ended_.push(op);
  ++ended_count_;
}

size_t CommonEnv::run_completions() {
  // Only so many as there are now: a `done` that starts what ends at once must not keep us here.
  const size_t count = ended_count_;
  for (size_t i = 0; i < count; ++i) {
    Operation* op = ended_.pop();
    --ended_count_;
    op->done(op, static_cast<i64>(op->hidden.words[3]));
  }
  if (finished_elsewhere_.empty()) {
    return count;
  }
  size_t more = 0;
  OperationQueue finished;
  finished_elsewhere_.take_all(finished);
  while (Operation* op = finished.pop()) {
    op->done(op, static_cast<i64>(op->hidden.words[3]));
    ++more;
  }
  return count + more;
}

}  // namespace pangu::env
