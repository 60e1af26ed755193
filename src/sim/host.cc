#include "sim/host.h"

namespace pangu::sim {

Host::~Host() {
  CHECK(reactor_ == nullptr);
}

void Host::start() {
  CHECK(reactor_ == nullptr);
  ++interruptions_;
  if (!node_.up()) {
    node_.restart();
  }
  reactor_ = std::make_unique<Reactor>(node_.env(), ReactorOptions{});
  node_.env().attach(*reactor_);
  reactor_->spawn("process", TaskClass::control, run());
}

void Host::crash(env::sim::Crash how) {
  CHECK(reactor_ != nullptr);
  ++interruptions_;
  node_.crash(how);
  reactor_->abandon();
  {
    const ReactorScope scope(reactor_.get());
    drop();
  }
  reactor_.reset();
}

void Host::pause() {
  ++interruptions_;
  node_.pause();
}

void Host::resume() {
  ++interruptions_;
  node_.resume();
}

void Host::halt() {
  if (reactor_ != nullptr) {
    crash(env::sim::Crash::process);
  }
}

void Host::finish() {
  CHECK(reactor_ != nullptr && reactor_->tasks() == 0);
  {
    const ReactorScope scope(reactor_.get());
    drop();
  }
  node_.env().detach();
  reactor_.reset();
  node_.crash(env::sim::Crash::process);
}

}  // namespace pangu::sim
