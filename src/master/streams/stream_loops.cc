#include "master/streams/stream_loops.h"

#include "base/reached.h"

namespace pangu::master {

// One term's loops.
struct StreamLoops::Leading {
  Leading(Reactor& reactor, StreamGroup& group, ServerCalls& calls, u64 in_term,
          const StreamLoopsOptions& options)
      : term(in_term),
        watch(options.watch),
        orders(reactor, group, calls, watch, term, options.orders),
        inventory(reactor, group, calls, watch, term, options.inventory,
                  [this](ServerId server) { orders.greet(server); }),
        repair(reactor, group, calls, watch, term, options.repair) {}

  u64 term;
  ServerWatch watch;
  OrderSender orders;
  Inventory inventory;
  Repair repair;
};

StreamLoops::StreamLoops(Reactor& reactor, StreamGroup& group, ServerCalls& calls,
                         const StreamLoopsOptions& options)
    : reactor_(reactor), group_(group), calls_(calls), options_(options) {}

StreamLoops::~StreamLoops() = default;

void StreamLoops::start() {
  gate_.spawn(reactor_, "stream loops", TaskClass::control, follow());
}

void StreamLoops::begin(u64 term) {
  leading_ = std::make_unique<Leading>(reactor_, group_, calls_, term, options_);
  leading_->watch.update(group_.servers(), reactor_.now());
  leading_->orders.start();
  leading_->inventory.start();
  leading_->repair.start();
}

Task<void> StreamLoops::end(std::unique_ptr<Leading> leading) {
  co_await leading->orders.stop();
  co_await leading->inventory.stop();
  co_await leading->repair.stop();
}

Task<void> StreamLoops::follow() {
  Instant looked;
  while (!group_.closing()) {
    const u64 term = group_.leading_term();
    if (leading_ != nullptr && leading_->term != term) {
      REACHED("stream loops: the leadership has moved on");
      gate_.spawn(reactor_, "stream loops end", TaskClass::control, end(std::move(leading_)));
    }
    if (leading_ == nullptr && term != 0) {
      begin(term);
      looked = reactor_.now();
    }
    Instant until = Instant::never();
    if (leading_ != nullptr) {
      if (reactor_.now() >= looked + options_.tick) {
        looked = reactor_.now();
        leading_->watch.update(group_.servers(), looked);
        leading_->inventory.wake();
      }
      leading_->orders.wake();
      leading_->repair.wake();
      until = looked + options_.tick;
    }
    // What happens between two waits is not missed: there is no other wait in this loop.
    co_await group_.news().wait(until);
  }
  if (leading_ != nullptr) {
    co_await end(std::move(leading_));
  }
}

std::optional<StreamLoopsStatus> StreamLoops::status() const {
  if (leading_ == nullptr) {
    return std::nullopt;
  }
  return StreamLoopsStatus{.orders = leading_->orders.counters(),
                           .inventory = leading_->inventory.counters(),
                           .repair = leading_->repair.counters(),
                           .copies_running = leading_->repair.running(),
                           .left = leading_->repair.left()};
}

Task<void> StreamLoops::stop() {
  CHECK(group_.closing());
  co_await gate_.close();
}

}  // namespace pangu::master
