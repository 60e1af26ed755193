#include "master/streams/repair_plan.h"

#include <algorithm>

#include "base/reached.h"
#include "master/state/orders.h"

namespace pangu::master {
namespace {

// Room that a target keeps beside the copy.
constexpr u64 kSpareBytes = 16 * kMiB;

// A chunk's replicas, by what they are worth.
struct Standings {
  std::vector<record::Replica> good;      // usable now
  std::vector<record::Replica> silent;    // they count
  std::vector<record::Replica> waiting;   // they count, while there are enough others
  std::vector<record::Replica> draining;  // usable, to be moved
  std::vector<record::Replica> suspect;   // on live servers
  std::vector<record::Replica> lost;
  std::vector<record::Replica> gone;

  size_t usable() const { return good.size() + silent.size() + draining.size(); }
  size_t staying() const { return good.size() + silent.size() + waiting.size(); }
};

Standings stand(const SettledChunk& settled, const ServerWatch& watch, Instant now) {
  Standings out;
  for (const record::Replica& replica : settled.chunk.replicas()) {
    const Place place = watch.place(location_of(replica), now);
    switch (place) {
      case Place::gone:
        out.gone.push_back(replica);
        break;
      case Place::lost:
        out.lost.push_back(replica);
        break;
      default: {
        std::vector<record::Replica>& good = place == Place::waiting    ? out.waiting
                                             : place == Place::silent   ? out.silent
                                             : place == Place::draining ? out.draining
                                                                        : out.good;
        (replica.suspect() ? out.suspect : good).push_back(replica);
      }
    }
  }
  // A whole rack is waited for only while the others are enough to go on with.
  if (out.usable() < std::min(settled.chunk.copies_min(), settled.wanted)) {
    out.lost.insert(out.lost.end(), out.waiting.begin(), out.waiting.end());
    out.waiting.clear();
  }
  return out;
}

class Planner {
 public:
  Planner(const SettledChunk& chunk, const ServerWatch& watch, Instant now,
          const RepairFacts& facts, Prng& random)
      : chunk_(chunk),
        watch_(watch),
        facts_(facts),
        random_(random),
        standings_(stand(chunk, watch, now)) {}

  RepairPlan plan() {
    RepairPlan out;
    verify_suspects(out);
    if (out.what != RepairPlan::What::nothing) {
      return out;
    }
    if (standings_.staying() >= chunk_.wanted) {
      remove_the_rest(out);
    } else {
      add_copy(out);
    }
    return out;
  }

 private:
  bool on_live_server(const record::Replica& replica) const {
    const WatchedServer* const server = watch_.find({replica.server()});
    return server != nullptr && server->alive() &&
           server->find(location_of(replica).device) != nullptr;
  }

  void verify_suspects(RepairPlan& out) const {
    for (const record::Replica& replica : standings_.suspect) {
      if (on_live_server(replica) && !facts_.known_bad.contains(location_of(replica))) {
        out.what = RepairPlan::What::verify;
        out.verify.push_back(replica);
      }
    }
  }

  // Enough copies stay without them.
  void remove_the_rest(RepairPlan& out) const {
    if (!standings_.gone.empty()) {
      out.remove = standings_.gone;
      out.erase = false;
    } else {
      // What can be read now must be enough before what might be read is given up.
      const bool enough = standings_.good.size() >=
                          std::min<size_t>(chunk_.chunk.copies_min(), chunk_.wanted);
      for (const auto* list : {&standings_.lost, &standings_.suspect, &standings_.draining}) {
        out.remove.insert(out.remove.end(), list->begin(), list->end());
      }
      if (!enough && !out.remove.empty()) {
        out.remove.clear();
        out.what = RepairPlan::What::wait;
        return;
      }
    }
    out.what = out.remove.empty() ? RepairPlan::What::nothing : RepairPlan::What::drop;
  }

  void add_copy(RepairPlan& out) {
    if (!choose_source(out)) {
      return;
    }
    std::vector<const record::Replica*> replaced;
    for (const auto* list : {&standings_.gone, &standings_.lost, &standings_.suspect,
                             &standings_.draining}) {
      for (const record::Replica& replica : *list) {
        replaced.push_back(&replica);
      }
    }
    bool busy = false;
    const auto try_with = [&](const record::Replica* each) {
      if (!choose_target(each, out.target, busy)) {
        return false;
      }
      out.what = RepairPlan::What::copy;
      if (each != nullptr) {
        out.remove.push_back(*each);
        out.erase = std::none_of(
            standings_.gone.begin(), standings_.gone.end(), [&](const record::Replica& gone) {
              return location_of(gone) == location_of(*each);
            });
      }
      return true;
    };
    for (const record::Replica* each : replaced) {
      if (try_with(each)) {
        return;
      }
    }
    if (replaced.empty() && try_with(nullptr)) {
      return;
    }
    out.what = busy ? RepairPlan::What::busy : RepairPlan::What::wait;
    if (!busy) {
      make_room(out);
    }
  }

  // The only server that could take a copy holds a bad one, on the only device that it has.
  void make_room(RepairPlan& out) const {
    if (standings_.good.empty()) {
      return;
    }
    for (const record::Replica& replica : standings_.suspect) {
      const WatchedServer* const server = watch_.find({replica.server()});
      const bool can_take = on_live_server(replica) && server->admin == pb::SERVER_IN_SERVICE &&
                            !server->find(location_of(replica).device)->failed &&
                            facts_.known_bad.contains(location_of(replica));
      if (can_take) {
        REACHED("repair: a bad replica makes room for a good one");
        out.what = RepairPlan::What::drop;
        out.remove = {replica};
        return;
      }
    }
  }

  bool is_free(u32 server) const {
    const auto found = facts_.copies_on.find(server);
    return found == facts_.copies_on.end() || found->second < facts_.copies_per_server;
  }
  u32 copies_on(u32 server) const {
    const auto found = facts_.copies_on.find(server);
    return found == facts_.copies_on.end() ? 0 : found->second;
  }

  bool choose_source(RepairPlan& out) {
    std::vector<const record::Replica*> best;
    bool busy = false;
    for (const auto* list : {&standings_.good, &standings_.draining}) {
      for (const record::Replica& replica : *list) {
        if (facts_.bad_sources.contains(location_of(replica))) {
          continue;
        }
        if (!is_free(replica.server())) {
          busy = true;
          continue;
        }
        const u32 load = copies_on(replica.server());
        if (!best.empty() && load < copies_on(best.front()->server())) {
          best.clear();
        }
        if (best.empty() || load == copies_on(best.front()->server())) {
          best.push_back(&replica);
        }
      }
    }
    if (best.empty()) {
      out.what = busy ? RepairPlan::What::busy : RepairPlan::What::wait;
      return false;
    }
    out.source = *best[random_.below(best.size())];
    return true;
  }

  bool usable_target(const WatchedServer& server, const WatchedDevice& device,
                     const record::Replica* replaced) const {
    const Location location{.server = server.server, .device = device.device};
    const bool same_place = replaced != nullptr && location_of(*replaced) == location;
    return !device.failed && !device.full && !same_place &&
           device.free_bytes >= u64{chunk_.chunk.length()} + kSpareBytes &&
           !facts_.bad_targets.contains(location);
  }

  // Every other replica stays where it is, `replaced` goes.
  bool choose_target(const record::Replica* replaced, record::Replica& target, bool& busy) {
    std::set<u32> taken;
    std::map<std::string_view, u32> racks;
    for (const record::Replica& replica : chunk_.chunk.replicas()) {
      if (replaced != nullptr && location_of(replica) == location_of(*replaced)) {
        continue;
      }
      taken.insert(replica.server());
      if (const WatchedServer* const server = watch_.find({replica.server()})) {
        ++racks[server->rack];
      }
    }
    struct Candidate {
      Location location;
      u64 weight = 0;
    };
    std::vector<Candidate> best;
    u32 fewest = ~u32{0};
    for (const auto& [id, server] : watch_.servers()) {
      if (!server.alive() || server.admin != pb::SERVER_IN_SERVICE || taken.contains(id)) {
        continue;
      }
      const auto in_rack = racks.find(server.rack);
      const u32 crowd = in_rack == racks.end() ? 0 : in_rack->second;
      for (const WatchedDevice& device : server.devices) {
        if (!usable_target(server, device, replaced)) {
          continue;
        }
        if (crowd < fewest) {
          best.clear();
          fewest = crowd;
        }
        if (crowd == fewest) {
          best.push_back({.location = {.server = server.server, .device = device.device},
                          .weight = device.free_bytes / kMiB + 1});
        }
      }
    }
    // A place in a better rack is waited for.
    const size_t possible = best.size();
    std::erase_if(best, [&](const Candidate& each) {
      return !is_free(each.location.server.number);
    });
    if (best.empty()) {
      busy = busy || possible > 0;
      return false;
    }
    u64 sum = 0;
    for (const Candidate& each : best) {
      sum += each.weight;
    }
    u64 point = random_.below(sum);
    size_t at = 0;
    while (point >= best[at].weight) {
      point -= best[at++].weight;
    }
    target.set_server(best[at].location.server.number);
    target.set_device_high(best[at].location.device.high);
    target.set_device_low(best[at].location.device.low);
    return true;
  }

  const SettledChunk& chunk_;
  const ServerWatch& watch_;
  const RepairFacts& facts_;
  Prng& random_;
  Standings standings_;
};

}  // namespace

Urgency urgency_of(const SettledChunk& chunk, const ServerWatch& watch, Instant now) {
  const Standings standings = stand(chunk, watch, now);
  const size_t usable = standings.usable();
  if (standings.staying() + standings.draining.size() < chunk.wanted) {
    return usable <= 1 ? Urgency::last_copy
                       : usable == 2 ? Urgency::two_copies : Urgency::more_copies;
  }
  const bool tidy = standings.suspect.empty() && standings.lost.empty() &&
                    standings.gone.empty() && standings.draining.empty();
  return tidy ? Urgency::none : Urgency::move;
}

RepairPlan plan_repair(const SettledChunk& chunk, const ServerWatch& watch, Instant now,
                       const RepairFacts& facts, Prng& random) {
  return Planner(chunk, watch, now, facts, random).plan();
}

}  // namespace pangu::master
