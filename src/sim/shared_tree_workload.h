#pragma once
#include "sim/shared_tree.h"
#include "sim/stage.h"

// Actors of several client hosts that change one small tree at once. What they were answered must
// be what one namespace answers, whatever failed meanwhile: the history is linearizable.
namespace pangu::sim {

class SharedTreeWorkload {
 public:
  // Until the run winds down.
  Task<void> act(Actor& actor);
  // Reads the whole tree with a client that knows nothing yet, when nobody changes it any more, and
  // looks for an order that explains all that was answered up to now.
  Task<void> check(Actor& actor);

  static constexpr const char* kRoot = "/shared";

 private:
  SharedTree tree_{kRoot};
};

}  // namespace pangu::sim
