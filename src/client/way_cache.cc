#include "client/way_cache.h"

#include <algorithm>

#include "base/check.h"

namespace pangu::client {

const Way* WayCache::find(const std::string& path) {
  const auto found = ways_.find(path);
  if (found == ways_.end()) {
    return nullptr;
  }
  order_.splice(order_.begin(), order_, found->second.use);
  return &found->second.way;
}

void WayCache::put(const std::string& path, Way way) {
  CHECK(!way.chain.empty());
  const auto found = ways_.find(path);
  if (found != ways_.end()) {
    order_.splice(order_.begin(), order_, found->second.use);
    found->second.way = std::move(way);
    return;
  }
  if (capacity_ == 0) {
    return;
  }
  if (ways_.size() >= capacity_) {
    erase(ways_.find(order_.back()));
  }
  order_.push_front(path);
  ways_.emplace(path, Node{.way = std::move(way), .use = order_.begin()});
}

void WayCache::renew(const std::string& path, const Way& way, u64 seen) {
  const auto found = ways_.find(path);
  if (found != ways_.end() && found->second.way.chain == way.chain) {
    found->second.way.seen = std::max(found->second.way.seen, seen);
  }
}

void WayCache::forget(const std::string& path) {
  if (const auto found = ways_.find(path); found != ways_.end()) {
    erase(found);
  }
  const std::string prefix = path + "/";
  for (auto place = ways_.lower_bound(prefix);
       place != ways_.end() && place->first.starts_with(prefix);) {
    erase(place++);
  }
}

void WayCache::erase(Ways::iterator place) {
  order_.erase(place->second.use);
  ways_.erase(place);
}

}  // namespace pangu::client
