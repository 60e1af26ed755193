#include "env/linux/sleeper.h"

#include <cerrno>
#include <sys/eventfd.h>

#include "base/check.h"
#include "base/types.h"

namespace pangu::env {

Sleeper::Sleeper() : fd_(::eventfd(0, EFD_CLOEXEC)) {
  CHECK_NOTE(fd_.valid(), "no eventfd: the process has too many open files (ulimit -n)");
}

void Sleeper::wake() {
  if (state_.exchange(kWoken, std::memory_order_acq_rel) == kSleeping) {
    const u64 one = 1;
    while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
}

bool Sleeper::begin_sleep() {
  unsigned expected = kAwake;
  if (state_.compare_exchange_strong(expected, kSleeping, std::memory_order_acq_rel)) {
    return true;
  }
  state_.exchange(kAwake, std::memory_order_acq_rel);
  return false;
}

}  // namespace pangu::env
