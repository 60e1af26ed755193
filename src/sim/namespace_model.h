#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

// What a directory that only one client changes may look like, as that client knows it.
//
// A call whose outcome is unknown splits the model into worlds: one in which it happened, one in
// which it did not, and as long as nothing forbids it, it may still happen later. What forbids it:
// a later change by the same client that succeeded (its request says that the earlier one is
// answered, and the master then refuses it). Every answer rules out the worlds in which it would
// have been different; when no world is left, the cluster has broken a promise.
namespace pangu::sim {

struct NamespaceOp {
  enum class Kind : u8 { create, make_directory, rename, remove, list, stat };
  Kind kind = Kind::list;
  std::string path;   // below the client's own directory: "a/b"; empty: that directory itself
  std::string to;     // rename
  bool flag = false;  // create: exclusive, make_directory: parents, remove: recursive
  bool operator==(const NamespaceOp&) const = default;
};
std::string to_string(const NamespaceOp& op);

struct NamespaceItem {
  std::string name;
  bool directory = false;
  u64 id = 0;  // 0: not told
  bool operator==(const NamespaceItem&) const = default;
};

struct NamespaceAnswer {
  Code code = Code::kOk;
  std::vector<NamespaceItem> items;  // list: all of them; create, make_directory, stat: the one
  u64 files = 0, directories = 0;    // remove
};
std::string to_string(const NamespaceAnswer& answer);

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
  struct Node {
    bool directory = false;
    u64 id = 0;  // 0: not known
    bool operator==(const Node&) const = default;
  };
  using Tree = std::map<std::string, Node>;  // by path
  struct World {
    Tree tree;
    std::vector<NamespaceOp> late;  // oldest first: each may still happen; then those before cannot
    bool operator==(const World&) const = default;
  };

  static Code walk(const Tree& tree, const std::string& path);
  static Code apply(Tree& tree, const NamespaceOp& op, NamespaceAnswer& answer);
  static Code apply_create(Tree& tree, const NamespaceOp& op);
  static Code apply_make_directory(Tree& tree, const NamespaceOp& op);
  static Code apply_rename(Tree& tree, const NamespaceOp& op);
  static Code apply_remove(Tree& tree, const NamespaceOp& op, NamespaceAnswer& answer);
  static Code look(const Tree& tree, const NamespaceOp& op, NamespaceAnswer& answer);
  // Whether the ids told agree with those known; remembers new ones.
  static bool learn(Tree& tree, const NamespaceOp& op, const NamespaceAnswer& told,
                    const NamespaceAnswer& expected);
  // Adds the worlds in which calls of unknown outcome happened by now.
  void let_late_ones_happen();
  void add(std::vector<World>& worlds, World world);

  std::vector<World> worlds_;
};

}  // namespace pangu::sim
