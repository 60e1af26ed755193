#pragma once
#include <algorithm>

#include "runtime/sync.h"

namespace pangu::master {

// So many bytes a second, first come, first served; what was not used is not saved up.
class ByteBudget {
 public:
  explicit ByteBudget(u64 bytes_per_second) : rate_(std::max<u64>(bytes_per_second, 1)) {}

  // Returns when the bytes may go, or when `stop` is set. False: it was.
  Task<bool> take(Reactor& reactor, u64 bytes, Event& stop) {
    const Instant begin = std::max(next_, reactor.now());
    const i64 us = static_cast<i64>(bytes * 1'000'000 / rate_);
    next_ = begin + microseconds(us);
    if (begin <= reactor.now()) {
      co_return !stop.is_set();
    }
    const bool stopped = co_await stop.wait(begin);
    co_return !stopped;
  }
  u64 rate() const { return rate_; }

 private:
  u64 rate_;
  Instant next_;
};

}  // namespace pangu::master
