#pragma once
#include <array>
#include <memory>

#include "env/env.h"
#include "env/linux/background_pool.h"
#include "env/linux/completions.h"
#include "env/linux/files.h"
#include "env/linux/sleeper.h"

namespace pangu::env {

// What both real Envs share: clocks, randomness, names of files, background threads, wake-ups, and
// the operations that have ended and wait for their `done`.
class CommonEnv : public Env, private FileMaker {
 public:
  CommonEnv();

  Instant now() final;
  i64 wall_clock_us() final;
  u64 random() final;
  u64 preemptions() final;
  FileSystem& files() final { return files_; }
  void run_in_background(BackgroundOperation& op) final;
  void wake() final { sleeper_.wake(); }

  // `op` has ended: its `done` runs in the next poll or wait.
  void complete_later(Operation& op, i64 result);

 protected:
  bool has_completions() const { return !ended_.empty() || !finished_elsewhere_.empty(); }
  // Runs `done` of all that had ended when it was called; returns how many.
  size_t run_completions();

  Sleeper sleeper_;
  CompletionStack finished_elsewhere_;  // by other threads

 private:
  OperationQueue ended_;
  size_t ended_count_ = 0;
  LinuxFileSystem files_;
  std::array<u64, 64> random_;
  size_t random_used_;
  BackgroundPool background_;  // the last: its threads use what stands above
};

}  // namespace pangu::env
