#pragma once
#include <list>
#include <map>
#include <string>
#include <vector>

#include "base/types.h"

namespace pangu::client {

// The directories from the root to one of them, both included, and a tree epoch at which that was
// the way there (docs/design/0006). Good until a directory of it moves, however long that takes; the
// groups say so.
struct Way {
  std::vector<u64> chain;
  u64 seen = 0;
  u64 directory() const { return chain.back(); }
};

// The ways of the directories that were used last, by their paths ("/a/b"; never the root's).
class WayCache {
 public:
  explicit WayCache(size_t capacity) : capacity_(capacity) {}

  // Valid until the next call that changes something. Counts as a use.
  const Way* find(const std::string& path);
  void put(const std::string& path, Way way);
  // `way` was good at `seen` too: remembered, if it is the one that is here.
  void renew(const std::string& path, const Way& way, u64 seen);
  // The way of this path, and of everything below it.
  void forget(const std::string& path);
  size_t size() const { return ways_.size(); }

 private:
  struct Node {
    Way way;
    std::list<std::string>::iterator use;
  };
  using Ways = std::map<std::string, Node>;
  void erase(Ways::iterator place);

  const size_t capacity_;
  Ways ways_;
  std::list<std::string> order_;  // the last used first
};

}  // namespace pangu::client
