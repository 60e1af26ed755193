#pragma once
#include <fmt/core.h>
#include <string>
#include <string_view>

#include "base/result.h"
#include "env/sim/world.h"

namespace pangu::sim {

// Hears of every promise that was kept or broken in a run, and keeps the first one that was broken.
class Judge {
 public:
  explicit Judge(env::sim::World& world) : world_(world) {}

  // Once a promise is broken, later ones are not worth looking at.
  void fail(std::string_view what) {
    if (text_.empty()) {
      const i64 now = world_.now().ns;
      text_ = fmt::format("at {}.{:09}: {}", now / 1'000'000'000, now % 1'000'000'000, what);
    }
  }
  // A promise: broken if `status` is an error. `where` says who found it.
  bool check(const Status& status, std::string_view where) {
    ++checks_;
    if (!status.ok()) {
      fail(fmt::format("{}: {}", where, status.error().message()));
    }
    return status.ok();
  }
  bool failed() const { return !text_.empty(); }
  const std::string& text() const { return text_; }
  u64 checks() const { return checks_; }

  // An operation of a workload ended, in whatever way; it becomes part of the world's trace.
  void operation_ended(Code code) {
    ++operations_;
    operations_ok_ += code == Code::kOk ? 1 : 0;
    world_.trace(static_cast<u64>(code));
  }
  u64 operations() const { return operations_; }
  u64 operations_ok() const { return operations_ok_; }

 private:
  env::sim::World& world_;
  std::string text_;
  u64 checks_ = 0;
  u64 operations_ = 0;
  u64 operations_ok_ = 0;
};

}  // namespace pangu::sim
