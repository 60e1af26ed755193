#include "client/master_routes.h"

#include <algorithm>

#include "base/reached.h"

namespace pangu::client {

namespace {

constexpr Duration kAvoid = seconds(2);
// An election that nobody's broken connection started takes at most so long; before it is over a
// silent leader is still named by the others.
constexpr Duration kDisbelieve = milliseconds(250);

}  // namespace

bool MasterRoutes::is_avoided(const env::Address& address, Instant now) const {
  const auto found = health_.find(address);
  return found != health_.end() && found->second.failed && now < *found->second.failed + kAvoid;
}

bool MasterRoutes::is_believable(const env::Address& address, Instant now) const {
  const auto found = health_.find(address);
  return found == health_.end() || !found->second.failed ||
         now >= *found->second.failed + kDisbelieve;
}

env::Address MasterRoutes::choose(u64 group, Instant now) {
  Route& route = routes_[group];
  if (!route.asked) {
    route.asked = true;
    route.leader = map_.leader(group);
  }
  if (route.leader && !is_avoided(*route.leader, now)) {
    return *route.leader;
  }
  const std::vector<env::Address>& members = map_.members(group);
  for (size_t i = 0; i < members.size(); ++i) {
    const size_t place = (route.turn + i) % members.size();
    if (!is_avoided(members[place], now)) {
      route.turn = place;
      return members[place];
    }
  }
  REACHED("client: no member of a group has answered lately");
  return members[route.turn % members.size()];
}

void MasterRoutes::note_answer(const env::Address& from, Instant now) {
  Health& health = health_[from];
  health.answered = now;
  health.failed.reset();
}

void MasterRoutes::note_leader(u64 group, const env::Address& leader) {
  Route& route = routes_[group];
  route.leader = leader;
  route.asked = true;
}

bool MasterRoutes::note_not_leader(u64 group, const env::Address& from,
                                   std::optional<env::Address> hint, Instant now) {
  if (!hint || *hint == from || !is_believable(*hint, now)) {
    step_on(group, from);
    return false;
  }
  // Whatever spoke against it is old: it gets its chance.
  if (const auto found = health_.find(*hint); found != health_.end()) {
    found->second.failed.reset();
  }
  note_leader(group, *hint);
  return true;
}

void MasterRoutes::note_unreachable(u64 group, const env::Address& from, Instant now) {
  health_[from].failed = now;
  step_on(group, from);
}

void MasterRoutes::note_silence(u64 group, const env::Address& from, Instant sent, Instant now) {
  Health& health = health_[from];
  if (health.answered < sent) {
    health.failed = now;
  } else {
    REACHED("client: a master was slow with one request, but is alive");
  }
  step_on(group, from);
}

void MasterRoutes::step_on(u64 group, const env::Address& from) {
  Route& route = routes_[group];
  route.asked = true;
  route.leader.reset();
  const std::vector<env::Address>& members = map_.members(group);
  const auto place = std::find(members.begin(), members.end(), from);
  route.turn = place == members.end()
                   ? route.turn + 1
                   : static_cast<size_t>(place - members.begin() + 1);
}

}  // namespace pangu::client
