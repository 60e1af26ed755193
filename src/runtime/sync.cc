#include "runtime/sync.h"

namespace pangu {

WaitList::Awaiter::Alarm::Alarm(Awaiter* o)
    : Timer([](Timer* timer) noexcept { static_cast<Alarm*>(timer)->owner->wake(false); }),
      owner(o) {}

void WaitList::Awaiter::wake(bool woken) {
  unlink();
  alarm_.cancel();
  woken_ = woken;
  context->reactor->schedule(*this);
}

WaitList::~WaitList() {
  const Reactor* reactor = Reactor::current_or_null();
  CHECK_NOTE(waiters_.empty() || (reactor != nullptr && reactor->abandoned()),
             "a WaitList was destroyed under its waiters");
}

void WaitList::wake_one() {
  if (Awaiter* waiter = waiters_.front()) {
    waiter->wake(true);
  }
}

void WaitList::wake_all() {
  while (Awaiter* waiter = waiters_.front()) {
    waiter->wake(true);
  }
}

bool Semaphore::try_take(u64 units) {
  if (!waiters_.empty() || units_ < units) {
    return false;
  }
  units_ -= units;
  return true;
}

Task<bool> Semaphore::take(u64 units, Instant deadline) {
  if (try_take(units)) {
    co_return true;
  }
  Waiter waiter(units);
  waiters_.push_back(waiter);
  if (co_await waiter.granted.wait(deadline)) {
    co_return true;
  }
  waiter.unlink();
  grant();  // this one may have stood in front of smaller ones
  co_return false;
}

void Semaphore::give(u64 units) {
  units_ += units;
  grant();
}

void Semaphore::grant() {
  while (!waiters_.empty() && waiters_.front()->units <= units_) {
    Waiter* waiter = waiters_.pop_front();
    units_ -= waiter->units;
    waiter->granted.set();
  }
}

namespace {
Task<void> run_gated(Task<void> task, Gate::Holder holder) {
  co_await std::move(task);
}
}  // namespace

Gate::~Gate() {
  const Reactor* reactor = Reactor::current_or_null();
  CHECK_NOTE(count_ == 0 || (reactor != nullptr && reactor->abandoned()),
             "a Gate was destroyed before close() returned");
}

bool Gate::spawn(Reactor& reactor, const char* name, TaskClass task_class, Task<void> task) {
  if (closed_) {
    return false;
  }
  reactor.spawn(name, task_class, run_gated(std::move(task), Holder(*this)));
  return true;
}

Task<void> Gate::close() {
  closed_ = true;
  while (count_ > 0) {
    co_await emptied_.wait();
  }
}

Gate::Holder::~Holder() {
  if (gate_ != nullptr && --gate_->count_ == 0) {
    gate_->emptied_.wake_all();
  }
}

}  // namespace pangu
