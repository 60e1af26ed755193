#pragma once
#include <string>
#include <vector>

#include "sim/namespace_tree.h"

// What a directory that only one client changes may look like, as that client knows it.
//
// A call whose outcome is unknown splits the model into worlds: one in which it happened, one in
// which it did not, and as long as nothing forbids it, it may still happen later. What forbids it:
// a later change by the same client that succeeded (its request says that the earlier one is
// answered, and the master then refuses it). Every answer rules out the worlds in which it would
// have been different; when no world is left, the cluster has broken a promise.
namespace pangu::sim {

class NamespaceModel {
 public:
  NamespaceModel() : worlds_(1) {}

  // The call was answered, with success or with an error that says what is wrong with it.
  Status answered(const NamespaceOp& op, const NamespaceAnswer& answer);
  // It may have happened, or may happen yet.
  void unknown(const NamespaceOp& op);
  size_t worlds() const { return worlds_.size(); }
  // Nothing is left that may still happen by itself.
  bool settled() const { return worlds_.size() == 1 && worlds_.front().late.empty(); }

  // Some names that exist in some world, for a workload that wants to hit something.
  std::vector<std::string> paths() const;

 private:
  struct World {
    NamespaceTree tree;
    std::vector<NamespaceOp> late;  // oldest first: each may still happen; then those before cannot
    bool operator==(const World&) const = default;
  };

  // Adds the worlds in which calls of unknown outcome happened by now.
  void let_late_ones_happen();
  void add(std::vector<World>& worlds, World world);

  std::vector<World> worlds_;
};

}  // namespace pangu::sim
