#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/types.h"

// For tests: the tree as one plain structure, changed at the moments when changes are committed.
namespace pangu::master::test {

using Names = std::vector<std::string>;

struct ModelEntry {
  bool directory = false;
  u64 id = 0;
  bool operator==(const ModelEntry&) const = default;
};
struct ModelDirectory {
  u64 parent = 0;
  std::string name;
  std::map<std::string, ModelEntry> entries;
};

class ModelTree {
 public:
  ModelTree() { directories_[1]; }

  const std::map<u64, ModelDirectory>& directories() const { return directories_; }
  const std::set<u64>& removed_files() const { return removed_files_; }

  const ModelDirectory* find(u64 directory) const {
    const auto found = directories_.find(directory);
    return found == directories_.end() ? nullptr : &found->second;
  }
  std::optional<ModelEntry> entry(u64 directory, const std::string& name) const {
    const ModelDirectory* const there = find(directory);
    if (there == nullptr || !there->entries.contains(name)) {
      return std::nullopt;
    }
    return there->entries.at(name);
  }
  // The ids from the root to `directory`; none if it is not there.
  std::vector<u64> chain(u64 directory) const {
    std::vector<u64> out;
    for (u64 id = directory;;) {
      const ModelDirectory* const there = find(id);
      if (there == nullptr || out.size() > directories_.size()) {
        return {};
      }
      out.insert(out.begin(), id);
      if (id == 1) {
        return out;
      }
      id = there->parent;
    }
  }
  // What the first `count` names lead to.
  std::optional<ModelEntry> resolve(const Names& names, size_t count) const {
    ModelEntry at{.directory = true, .id = 1};
    for (size_t i = 0; i < count; ++i) {
      const auto next = at.directory ? entry(at.id, names[i]) : std::nullopt;
      if (!next) {
        return std::nullopt;
      }
      at = *next;
    }
    return at;
  }

  // What a committed change says must be so is checked: CHECK fails if it is not.
  void add_file(u64 directory, const std::string& name, u64 id) {
    CHECK(directories_.contains(directory) && !removed_files_.contains(id));
    CHECK(directories_[directory].entries.emplace(name, ModelEntry{false, id}).second);
  }
  void add_directory(u64 parent, const std::string& name, u64 id) {
    CHECK(directories_.contains(parent) && !directories_.contains(id));
    CHECK(directories_[parent].entries.emplace(name, ModelEntry{true, id}).second);
    directories_[id] = {.parent = parent, .name = name, .entries = {}};
  }
  void remove_file(u64 directory, const std::string& name, u64 id) {
    take(directory, name, {false, id});
    removed_files_.insert(id);
  }
  void remove_empty(u64 parent, const std::string& name, u64 id) {
    take(parent, name, {true, id});
    CHECK(directories_.at(id).entries.empty());
    directories_.erase(id);
  }
  void rename_file(u64 from, const std::string& name, u64 to, const std::string& to_name, u64 id) {
    take(from, name, {false, id});
    add_file(to, to_name, id);
  }
  void move(u64 from, const std::string& name, u64 to, const std::string& to_name, u64 id) {
    for (const u64 above : chain(to)) {
      CHECK(above != id);
    }
    take(from, name, {true, id});
    CHECK(directories_.contains(to));
    CHECK(directories_[to].entries.emplace(to_name, ModelEntry{true, id}).second);
    directories_[id].parent = to;
    directories_[id].name = to_name;
  }
  void remove_tree(u64 parent, const std::string& name, u64 id) {
    take(parent, name, {true, id});
    drop(id);
  }

 private:
  void take(u64 directory, const std::string& name, const ModelEntry& expected) {
    CHECK(entry(directory, name) == expected);
    directories_[directory].entries.erase(name);
  }
  void drop(u64 id) {
    const ModelDirectory gone = directories_.at(id);
    directories_.erase(id);
    for (const auto& [name, entry] : gone.entries) {
      if (entry.directory) {
        drop(entry.id);
      } else {
        removed_files_.insert(entry.id);
      }
    }
  }

  std::map<u64, ModelDirectory> directories_;
  std::set<u64> removed_files_;
};

}  // namespace pangu::master::test
