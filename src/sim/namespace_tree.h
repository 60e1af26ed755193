#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// The sequential specification of the namespace: what each call of the client does to a tree, and
// what it answers, if calls come one after the other. The checkers of histories are built on it.
namespace pangu::sim {

struct NamespaceOp {
  enum class Kind : u8 { create, make_directory, rename, remove, list, stat };
  Kind kind = Kind::list;
  std::string path;   // below the tree's root: "a/b"; empty: the root itself
  std::string to;     // rename
  bool flag = false;  // create: exclusive, make_directory: parents, remove: recursive
  bool operator==(const NamespaceOp&) const = default;
};
std::string to_string(const NamespaceOp& op);
constexpr bool is_change(NamespaceOp::Kind kind) {
  return kind != NamespaceOp::Kind::list && kind != NamespaceOp::Kind::stat;
}

struct NamespaceItem {
  std::string name;
  bool directory = false;
  u64 id = 0;  // 0: not told
  bool operator==(const NamespaceItem&) const = default;
};

struct NamespaceAnswer {
  Code code = Code::kOk;
  std::vector<NamespaceItem> items;  // list: all of them; create, make_directory, stat: the one
  // remove: how many; zeroes of a recursive one: they were not counted
  u64 files = 0, directories = 0;
};
std::string to_string(const NamespaceAnswer& answer);

// "a/b" lies in "a", and everything lies in "".
bool is_below(std::string_view path, std::string_view directory);

// A tree as somebody knows it who was told of ids only in answers.
//
// Invariants:
//  1. Everything but what lies in the root has its parent here, a directory.
//  2. No two entries have one id, and no entry has the id that a removed file had.
class NamespaceTree {
 public:
  struct Node {
    bool directory = false;
    u64 id = 0;  // 0: not known yet
    bool operator==(const Node&) const = default;
  };
  using Nodes = std::map<std::string, Node>;  // by path; the root is not among them

  // What the call would be answered; ids that are not known are 0.
  NamespaceAnswer look(const NamespaceOp& op) const;
  // Whether what look(op) said, kOk, is a change of the tree.
  bool changes(const NamespaceOp& op) const;
  // REQUIRES: look(op) says kOk
  void change(const NamespaceOp& op);
  // Whether a caller may be told so where `expected` was to be answered. Takes in the ids that were
  // told; the tree is not to be used any more if it was false.
  // REQUIRES: look(op) said `expected`, and change(op) came after it if that was kOk
  bool learn(const NamespaceOp& op, const NamespaceAnswer& told, const NamespaceAnswer& expected);

  const Nodes& nodes() const { return nodes_; }
  // Ids of removed files: none of them is ever given again.
  const std::set<u64>& gone() const { return gone_; }
  // Forgets those of them that `keep` does not hold: nobody will be told of them any more.
  void forget_gone(const std::set<u64>& keep);
  bool operator==(const NamespaceTree&) const = default;

 private:
  Code walk(const std::string& path) const;
  // walk(), and what is at the path itself
  Code find(const std::string& path, const Node*& node) const;
  Code look_create(const NamespaceOp& op) const;
  Code look_make_directory(const NamespaceOp& op) const;
  Code look_rename(const NamespaceOp& op) const;
  Code look_remove(const NamespaceOp& op, NamespaceAnswer& answer) const;
  Code look_list(const NamespaceOp& op, NamespaceAnswer& answer) const;
  void rename(const std::string& from, const std::string& to);
  void remove(const std::string& path);

  Nodes nodes_;
  std::set<u64> gone_;
};
std::string to_string(const NamespaceTree& tree);

}  // namespace pangu::sim
