#pragma once
#include "env/env.h"
#include "runtime/reactor.h"

// Shuts a socket down when one step on it takes too long. Starting and ending a step is a store:
// the timer below is armed at most once in a limit's time, not once a step.
namespace pangu::rpc {

class StallTimer {
 public:
  explicit StallTimer(Reactor& reactor) : reactor_(reactor) {}
  void watch(env::Socket& socket) { socket_ = &socket; }

  // A step begins now and may take `limit`. REQUIRES: watch() was called, no step is under way.
  void begin(Duration limit) {
    deadline_ = reactor_.slice_start() + limit;
    if (!alarm_.armed() || alarm_deadline_ > deadline_) {
      alarm_deadline_ = deadline_;
      alarm_.arm(reactor_, deadline_);
    }
  }
  void end() { deadline_ = Instant::never(); }
  // A step took too long; the socket was shut down.
  bool stalled() const { return stalled_; }
  void stop() {
    end();
    alarm_.cancel();
  }

 private:
  struct Alarm : Timer {
    StallTimer* owner;
    explicit Alarm(StallTimer* o)
        : Timer([](Timer* timer) noexcept { static_cast<Alarm*>(timer)->owner->fire(); }),
          owner(o) {}
  };
  void fire() {
    if (deadline_ == Instant::never()) {
      return;
    }
    if (reactor_.now() < deadline_) {
      alarm_deadline_ = deadline_;
      alarm_.arm(reactor_, deadline_);
      return;
    }
    stalled_ = true;
    socket_->shutdown();
  }

  Reactor& reactor_;
  env::Socket* socket_ = nullptr;
  Instant deadline_ = Instant::never();
  Instant alarm_deadline_;
  bool stalled_ = false;
  Alarm alarm_{this};
};

}  // namespace pangu::rpc
