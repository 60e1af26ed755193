#include <algorithm>

#include "base/reached.h"
#include "master/streams/repair.h"

// How repair finds what is to be done.
namespace pangu::master {
namespace {

// The rows of table N that chunks of this urgency can have; there may be others among them.
struct CopiesRange {
  u32 from = 0;
  u32 until = 0;
};
CopiesRange copies_of(size_t urgency) {
  switch (static_cast<Urgency>(urgency)) {
    case Urgency::last_copy:
      return {.from = 0, .until = 2};
    case Urgency::two_copies:
      return {.from = 2, .until = 3};
    case Urgency::more_copies:
      return {.from = 3, .until = ~u32{0}};
    default:
      return {};
  }
}

}  // namespace

// ---- what there is to scan ----

void Repair::all_due() {
  for (auto* scans : {&short_scans_, &place_scans_}) {
    for (Scan& scan : *scans) {
      scan.due = reactor_.now();
      scan.never = false;
      scan.idle = 0;
    }
  }
}

void Repair::look_at_servers() {
  std::vector<LeftPlace> places;
  const ServerWatch::Leaving leaving = watch_.leaving();
  for (const ServerId server : leaving.servers) {
    places.push_back({.server = server, .device = std::nullopt});
  }
  for (const Location& device : leaving.devices) {
    places.push_back({.server = device.server, .device = device.device});
  }
  for (const auto& [server, devices] : vanished_) {
    const WatchedServer* const watched = watch_.find({server});
    if (watched != nullptr && watch_.devices_settled(*watched, reactor_.now()) &&
        watched->admin == pb::SERVER_IN_SERVICE) {
      for (const Uuid& device : devices) {
        places.push_back({.server = {server}, .device = device});
      }
    }
  }
  const u64 signature = watch_.signature(reactor_.now());
  if (places == places_ && signature == signature_) {
    return;
  }
  if (places != places_) {
    for (Scan& scan : place_scans_) {
      scan = Scan();
    }
    counting_.clear();
    places_ = std::move(places);
  }
  signature_ = signature;
  std::erase_if(left_, [&](const auto& item) {
    const WatchedServer* const server = watch_.find({item.first});
    return server == nullptr || server->admin == pb::SERVER_IN_SERVICE;
  });
  all_due();
}

// Which devices have replicas and are not there, of servers that run: looked at once after the
// server's devices changed. True: there may be more to look at.
Task<bool> Repair::take_census() {
  for (const auto& [id, watched] : watch_.servers()) {
    const auto known = census_of_.find(id);
    if (!watch_.devices_settled(watched, reactor_.now()) ||
        (known != census_of_.end() && known->second == watched.devices_since)) {
      continue;
    }
    const ServerId server = watched.server;
    census_of_[id] = watched.devices_since;
    auto look = [server](Txn& txn) { return devices_with_replicas(txn, server); };
    auto devices = co_await ask(group_, look);
    if (!devices.ok()) {
      census_of_.erase(server.number);
      co_return false;
    }
    const WatchedServer* const now = watch_.find(server);
    std::erase_if(*devices, [&](const Uuid& device) { return now->find(device) != nullptr; });
    if (devices->empty()) {
      vanished_.erase(server.number);
    } else {
      REACHED("repair: a device with replicas is not there any more");
      vanished_[server.number] = std::move(*devices);
    }
    co_return true;
  }
  co_return false;
}

// The most urgent scan that is due, or null and when the next one is.
Repair::Scan* Repair::next_scan(size_t& urgency, bool& of_places, Instant& due) {
  const Instant now = reactor_.now();
  due = Instant::never();
  for (urgency = 0; urgency < kUrgencies; ++urgency) {
    for (const bool places : {false, true}) {
      Scan& scan = places ? place_scans_[urgency] : short_scans_[urgency];
      of_places = places;
      if (!scan.active && !scan.never && scan.due <= now) {
        scan.active = true;
        scan.seen = 0;
        scan.begun = 0;
        scan.busy = false;
        scan.after.clear();
        scan.place = 0;
        scan.placed.reset();
        if (places && urgency + 1 == kUrgencies) {
          counting_.clear();
        }
      }
      if (scan.active) {
        return &scan;
      }
      if (!scan.never) {
        due = std::min(due, scan.due);
      }
    }
  }
  return nullptr;
}

// ---- one page ----

Task<Result<Repair::Page>> Repair::short_page(Scan& scan, size_t urgency) {
  const CopiesRange range = copies_of(urgency);
  const std::string from =
      scan.after.empty() ? keys::short_chunk(range.from, {0}, 0) : scan.after + '\0';
  const std::string until = keys::short_chunk(range.until, {0}, 0);
  const size_t limit = options_.page;
  struct Found {
    std::vector<Work> work;
    std::string last;
    bool more = false;
  };
  if (range.until == 0) {
    Page none;
    none.finished = true;
    co_return none;
  }
  auto look = [from, until, limit](Txn& txn) {
    Found found;
    const KvPage page = txn.scan(from, until, limit);
    for (const KvEntry& row : page.entries) {
      const keys::ShortKey key = keys::decode_short_chunk(row.key);
      found.work.push_back({.chunk = {.file = key.file, .sequence = key.sequence},
                            .settled = find_settled(txn, key.file, key.sequence)});
      found.last = row.key;
    }
    found.more = page.more;
    return found;
  };
  auto found = co_await ask(group_, look);
  if (!found.ok()) {
    co_return std::move(found).error();
  }
  scan.after = found->last;
  Page page;
  page.work = std::move(found->work);
  page.finished = !found->more;
  co_return page;
}

Task<Result<Repair::Page>> Repair::places_page(Scan& scan, bool count) {
  Page out;
  if (scan.place >= places_.size()) {
    out.finished = true;
    co_return out;
  }
  const LeftPlace place = places_[scan.place];
  const std::optional<PlacedChunk> after = scan.placed;
  const size_t limit = options_.page;
  struct Found {
    PlacedPage page;
    std::vector<Work> work;
  };
  auto look = [place, after, limit](Txn& txn) {
    Found found;
    found.page = place.device
                     ? placed_on_device(txn, {.server = place.server, .device = *place.device},
                                        after ? after->chunk : ChunkId{}, limit)
                     : placed_on_server(txn, place.server, after, limit);
    for (const PlacedChunk& each : found.page.chunks) {
      found.work.push_back(
          {.chunk = each.chunk,
           .settled = find_settled(txn, each.chunk.file, each.chunk.sequence)});
    }
    return found;
  };
  auto found = co_await ask(group_, look);
  if (!found.ok()) {
    co_return std::move(found).error();
  }
  if (scan.place >= places_.size() || !(places_[scan.place] == place) || !scan.active) {
    co_return out;  // the places changed meanwhile: begun anew
  }
  if (count) {
    counting_[place.server.number] += found->page.chunks.size();
  }
  if (found->page.more) {
    scan.placed = found->page.chunks.back();
  } else {
    scan.placed.reset();
    ++scan.place;
  }
  out.work = std::move(found->work);
  out.finished = scan.place >= places_.size();
  co_return out;
}

void Repair::finish(Scan& scan, bool count) {
  scan.active = false;
  const Instant now = reactor_.now();
  scan.ended = now;
  if (count) {
    for (const LeftPlace& place : places_) {
      const WatchedServer* const server = watch_.find(place.server);
      if (!place.device && server != nullptr && server->admin != pb::SERVER_IN_SERVICE) {
        left_[place.server.number] = counting_[place.server.number];
      }
    }
  }
  scan.never = scan.seen == 0;
  if (scan.busy) {
    scan.due = now + options_.busy_retry;
  } else if (scan.begun > 0) {
    scan.idle = 0;
    scan.due = now + options_.retry;
  } else {
    scan.idle = std::min(scan.idle + 1, 20u);
    scan.due = now + std::min(options_.retry * (i64{1} << std::min(scan.idle, 10u)),
                              options_.retry_max);
  }
}

Task<void> Repair::go_on(Scan& scan, size_t urgency, bool of_places) {
  const bool count = of_places && urgency + 1 == kUrgencies;
  Result<Page> read = Error(Code::kInternal);
  if (of_places) {
    read = co_await places_page(scan, count);
  } else {
    read = co_await short_page(scan, urgency);
  }
  if (!read.ok()) {
    scan.active = false;
    scan.due = reactor_.now() + options_.retry;
    co_return;
  }
  for (const Work& work : read->work) {
    ++counters_.scanned;
    if (!work.settled ||
        static_cast<size_t>(urgency_of(*work.settled, watch_, reactor_.now())) != urgency) {
      continue;
    }
    ++scan.seen;
    if (running_.contains(work.chunk) || remembered(work.chunk)) {
      continue;
    }
    const RepairPlan plan = plan_repair(*work.settled, watch_, reactor_.now(),
                                        facts_of(work.chunk), random_);
    if (plan.what == RepairPlan::What::busy) {
      scan.busy = true;
    }
    if (plan.what == RepairPlan::What::nothing || plan.what == RepairPlan::What::wait ||
        plan.what == RepairPlan::What::busy) {
      continue;
    }
    while (running_.size() >= options_.copies_max && working()) {
      wake_.reset();
      co_await wake_.wait();
    }
    if (!working()) {
      co_return;
    }
    if (begin(work.chunk)) {
      ++scan.begun;
    }
  }
  if (read->finished && scan.active) {
    scan.busy = scan.busy || busy_met_;
    busy_met_ = false;
    finish(scan, count);
  }
}

}  // namespace pangu::master
