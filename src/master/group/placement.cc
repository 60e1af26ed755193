#include "master/group/placement.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "base/prng.h"
#include "base/reached.h"

namespace pangu::master {
namespace {

// Permutations of the servers that groups are cut from: a server meets about
// kPermutations * (copies - 1) others.
constexpr u64 kPermutations = 8;

using Servers = std::vector<PlacementServer>;

// How gladly a server is chosen.
enum class Standing : u8 { good, doubtful, excluded, unusable };

Standing standing_of(const PlacementServer& server, const PlacementRequest& request) {
  if (!server.alive || server.usable.empty()) {
    return Standing::unusable;
  }
  if (std::find(request.exclude.begin(), request.exclude.end(), server.server.number) !=
      request.exclude.end()) {
    return Standing::excluded;
  }
  return server.doubtful ? Standing::doubtful : Standing::good;
}

u64 weight_of(const PlacementServer& server) {
  u64 free = 0;
  for (const PlacementDevice& device : server.usable) {
    free += device.free_bytes / kMiB;
  }
  return free + 1;
}

// An index below weights.size(), each as likely as its weight. REQUIRES: some weight > 0
size_t draw(Prng& random, const std::vector<u64>& weights) {
  u64 sum = 0;
  for (const u64 weight : weights) {
    sum += weight;
  }
  u64 point = random.below(sum);
  size_t at = 0;
  while (point >= weights[at]) {
    point -= weights[at++];
  }
  return at;
}

std::vector<size_t> shuffled(const Servers& servers, u64 seed) {
  std::vector<size_t> order;
  for (size_t i = 0; i < servers.size(); ++i) {
    if (servers[i].has_devices) {
      order.push_back(i);
    }
  }
  Prng random(seed);
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(i)]);
  }
  return order;
}

size_t registered_racks(const Servers& servers) {
  std::set<std::string_view> racks;
  for (const PlacementServer& server : servers) {
    if (server.has_devices) {
      racks.insert(server.rack);
    }
  }
  return racks.size();
}

size_t racks_of(const Servers& servers, const std::vector<size_t>& chosen) {
  std::set<std::string_view> racks;
  for (const size_t each : chosen) {
    racks.insert(servers[each].rack);
  }
  return racks.size();
}

// One try at choosing servers, one after the other.
class Choice {
 public:
  Choice(const Servers& servers, const PlacementRequest& request, Prng& random)
      : servers_(servers), random_(random) {
    for (const PlacementServer& server : servers) {
      standing_.push_back(standing_of(server, request));
    }
  }

  // Adds servers that stand at least so well until there are `wanted`, the rarest rack first.
  void fill(Standing worst, size_t wanted) {
    while (chosen_.size() < wanted && add_one(worst)) {
    }
  }
  // All of `group`, if each of its servers is good.
  bool all_good(const std::vector<size_t>& group) const {
    return std::all_of(group.begin(), group.end(),
                       [this](size_t each) { return standing_[each] == Standing::good; });
  }
  void reset(std::vector<size_t> chosen) { chosen_ = std::move(chosen); }
  const std::vector<size_t>& chosen() const { return chosen_; }

 private:
  bool add_one(Standing worst) {
    std::map<std::string_view, size_t> in_rack;
    for (const size_t each : chosen_) {
      ++in_rack[servers_[each].rack];
    }
    size_t fewest = servers_.size() + 1;
    std::vector<size_t> candidates;
    std::vector<u64> weights;
    for (size_t i = 0; i < servers_.size(); ++i) {
      if (standing_[i] > worst || std::find(chosen_.begin(), chosen_.end(), i) != chosen_.end()) {
        continue;
      }
      const size_t used = in_rack[servers_[i].rack];
      if (used < fewest) {
        fewest = used;
        candidates.clear();
        weights.clear();
      }
      if (used == fewest) {
        candidates.push_back(i);
        weights.push_back(weight_of(servers_[i]));
      }
    }
    if (candidates.empty()) {
      return false;
    }
    chosen_.push_back(candidates[draw(random_, weights)]);
    return true;
  }

  const Servers& servers_;
  Prng& random_;
  std::vector<Standing> standing_;
  std::vector<size_t> chosen_;
};

Error no_placement(const Servers& servers, const PlacementRequest& request, size_t racks_needed) {
  size_t registered = 0;
  size_t silent = 0;
  size_t unusable = 0;
  std::set<std::string_view> racks;
  for (const PlacementServer& server : servers) {
    registered += server.has_devices ? 1 : 0;
    silent += server.has_devices && !server.alive ? 1 : 0;
    unusable += server.has_devices && server.alive && server.usable.empty() ? 1 : 0;
    if (server.alive && !server.usable.empty()) {
      racks.insert(server.rack);
    }
  }
  return Error(Code::kNoPlacement,
               fmt::format("{} copies (at least {}) in at least {} racks are wanted; of {} "
                           "chunkservers {} are silent and {} have no device with room; the rest "
                           "are in {} racks",
                           request.copies_max, request.copies_min, racks_needed, registered,
                           silent, unusable, racks.size()));
}

record::Layout layout_of(const Servers& servers, const std::vector<size_t>& chosen,
                         const PlacementRequest& request, Prng& random, size_t racks_possible) {
  record::Layout layout;
  layout.set_copies_max(static_cast<u32>(chosen.size()));
  layout.set_copies_min(request.copies_min);
  for (const size_t each : chosen) {
    const PlacementServer& server = servers[each];
    std::vector<u64> weights;
    for (const PlacementDevice& device : server.usable) {
      weights.push_back(device.free_bytes / kMiB + 1);
    }
    const Uuid device = server.usable[draw(random, weights)].device;
    record::Replica& replica = *layout.add_replicas();
    replica.set_server(server.server.number);
    replica.set_device_high(device.high);
    replica.set_device_low(device.low);
  }
  const size_t racks_wanted = std::min<size_t>(request.copies_max, racks_possible);
  layout.set_underspread(chosen.size() < request.copies_max ||
                         racks_of(servers, chosen) < racks_wanted);
  return layout;
}

}  // namespace

const std::vector<Placer::Group>& Placer::groups_of(const Servers& servers, u32 size) {
  const auto known = groups_.find(size);
  if (known != groups_.end()) {
    return known->second;
  }
  std::vector<Group>& groups = groups_[size];
  const size_t racks = std::max<size_t>(registered_racks(servers), 1);
  const size_t in_one_rack = (size + racks - 1) / racks;
  const auto fits = [&](const Group& group, size_t server) {
    size_t same = 0;
    for (const size_t each : group) {
      if (each == server) {
        return false;
      }
      same += servers[each].rack == servers[server].rack ? 1 : 0;
    }
    return same < in_one_rack;
  };
  for (u64 permutation = 0; permutation < kPermutations; ++permutation) {
    const std::vector<size_t> order = shuffled(servers, permutation);
    std::vector<Group> open;
    // Twice round: what the first round leaves incomplete is filled from the start.
    for (size_t i = 0; i < 2 * order.size(); ++i) {
      const size_t server = order[i % order.size()];
      const bool again = i >= order.size();
      const auto place = std::find_if(open.begin(), open.end(),
                                      [&](const Group& group) { return fits(group, server); });
      if (place == open.end()) {
        if (!again) {
          open.push_back({server});
        }
        continue;
      }
      place->push_back(server);
      if (place->size() == size) {
        groups.push_back(std::move(*place));
        open.erase(place);
      }
    }
  }
  return groups;
}

Result<record::Layout> Placer::place(const Servers& servers, const PlacementRequest& request) {
  Prng random(request.seed);
  Choice choice(servers, request, random);
  const size_t racks_possible = registered_racks(servers);
  const size_t racks_needed = std::min<size_t>(request.copies_min, racks_possible);
  std::vector<const Group*> whole;
  std::vector<u64> weights;
  for (const Group& group : groups_of(servers, request.copies_max)) {
    if (group.size() == request.copies_max && choice.all_good(group)) {
      u64 least = ~u64{0};
      for (const size_t each : group) {
        least = std::min(least, weight_of(servers[each]));
      }
      whole.push_back(&group);
      weights.push_back(least);
    }
  }
  if (!whole.empty()) {
    choice.reset(*whole[draw(random, weights)]);
  } else {
    choice.fill(Standing::good, request.copies_max);
    choice.fill(Standing::doubtful, request.copies_max);
    choice.fill(Standing::excluded, request.copies_min);
  }
  if (racks_of(servers, choice.chosen()) < racks_needed) {
    REACHED("master: placement spread over excluded servers for the sake of racks");
    choice.reset({});
    choice.fill(Standing::excluded, request.copies_max);
  }
  if (choice.chosen().size() < request.copies_min ||
      racks_of(servers, choice.chosen()) < racks_needed) {
    return no_placement(servers, request, racks_needed);
  }
  if (choice.chosen().size() < request.copies_max) {
    REACHED("master: chunk placed with fewer copies than wanted");
  }
  return layout_of(servers, choice.chosen(), request, random, racks_possible);
}

}  // namespace pangu::master
