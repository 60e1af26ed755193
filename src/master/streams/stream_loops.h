#pragma once
#include <memory>

#include "master/streams/inventory.h"
#include "master/streams/order_sender.h"
#include "master/streams/repair.h"

// Everything that the leader of a stream group does by itself with chunkservers: orders, inventory,
// repair. Follows the group's leadership: each term in which this copy leads has its own loops, and
// what an earlier one had under way ends by itself, without effect.
namespace pangu::master {

struct StreamLoopsOptions {
  WatchOptions watch;
  OrderOptions orders;
  InventoryOptions inventory;
  RepairOptions repair;
  Duration tick = seconds(1);  // how often the servers' states are looked at
};

struct StreamLoopsStatus {
  OrderCounters orders;
  InventoryCounters inventory;
  RepairCounters repair;
  size_t copies_running = 0;
  std::map<u32, u64> left;  // Repair::left()
};

class StreamLoops {
 public:
  // All must outlive stop().
  StreamLoops(Reactor& reactor, StreamGroup& group, ServerCalls& calls,
              const StreamLoopsOptions& options);
  ~StreamLoops();
  void start();
  // Of the term that is led now; nothing if none is.
  std::optional<StreamLoopsStatus> status() const;
  // REQUIRES: the group is closing. Calls under way are waited for: their ServerCalls should have
  // been stopped.
  Task<void> stop();

 private:
  struct Leading;
  Task<void> follow();
  void begin(u64 term);
  Task<void> end(std::unique_ptr<Leading> leading);

  Reactor& reactor_;
  StreamGroup& group_;
  ServerCalls& calls_;
  StreamLoopsOptions options_;
  std::unique_ptr<Leading> leading_;
  Gate gate_;
};

}  // namespace pangu::master
