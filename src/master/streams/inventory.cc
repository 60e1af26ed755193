#include "master/streams/inventory.h"

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/limits.h"
#include "master/state/orders.h"
#include "master/state/replicas.h"
#include "master/streams/replica_check.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

record::MarkReplicas::One suspect_mark(const PlacedChunk& placed) {
  record::MarkReplicas::One mark;
  mark.set_file(placed.chunk.file.number);
  mark.set_sequence(placed.chunk.sequence);
  mark.set_version(placed.standing.version);
  mark.mutable_replica()->set_server(placed.location.server.number);
  mark.mutable_replica()->set_device_high(placed.location.device.high);
  mark.mutable_replica()->set_device_low(placed.location.device.low);
  mark.mutable_replica()->set_suspect(true);
  return mark;
}

}  // namespace

Inventory::Inventory(Reactor& reactor, StreamGroup& group, ServerCalls& calls,
                     const ServerWatch& watch, u64 term, const InventoryOptions& options,
                     std::function<void(ServerId)> reported)
    : reactor_(reactor),
      group_(group),
      calls_(calls),
      watch_(watch),
      term_(term),
      options_(options),
      reported_(std::move(reported)) {}

void Inventory::start() {
  gate_.spawn(reactor_, "inventory", TaskClass::background, run());
}

void Inventory::wake() {
  wake_.set();
}

bool Inventory::working() const {
  return !stopping_ && !deposed_ && group_.leading_term() == term_;
}

Task<void> Inventory::stop() {
  stopping_ = true;
  wake_.set();
  co_await gate_.close();
}

InventoryCounters Inventory::counters() const {
  InventoryCounters out = counters_;
  for (const auto& [location, device] : devices_) {
    out.orphans_seen += device.orphans.size();
  }
  return out;
}

// ---- what is due ----

Task<void> Inventory::run() {
  while (working()) {
    wake_.reset();
    const Instant now = reactor_.now();
    for (const auto& [id, server] : watch_.servers()) {
      for (const WatchedDevice& watched : server.devices) {
        if (!server.alive() || watched.failed) {
          continue;
        }
        const Location location{.server = server.server, .device = watched.device};
        Device& device = devices_[location];
        if (device.busy || busy_ >= options_.at_once) {
          continue;
        }
        if (device.appeared != watched.appeared) {
          device.appeared = watched.appeared;
          device.full_at = now;
        }
        const bool changed = device.chunks != watched.chunks &&
                             now + options_.changes_interval >=
                                 device.changes_at + options_.changes_pause;
        const bool full = now >= device.full_at;
        if (!full && (!device.reported || (now < device.changes_at && !changed))) {
          continue;
        }
        device.chunks = watched.chunks;
        if (gate_.spawn(reactor_, "inventory", TaskClass::background,
                        full ? full_report(location) : change_report(location))) {
          device.busy = true;
          ++busy_;
        }
      }
    }
    co_await wake_.wait();
  }
}

pb::ListChunksRequest Inventory::request_for(const Location& location) const {
  pb::ListChunksRequest request;
  request.set_group(group_.id());
  request.set_term(term_);
  wire::set(*request.mutable_device(), location.device);
  request.set_limit(options_.page);
  return request;
}

Task<Result<pb::ListChunksReply>> Inventory::list(Location location, std::string address,
                                                  pb::ListChunksRequest request) {
  auto reply = co_await call_server<pb::ListChunksReply>(
      calls_, location.server, std::move(address), wire::Method::list_chunks, std::move(request),
      reactor_.now() + options_.call_timeout);
  deposed_ = deposed_ || reply.code() == Code::kStale;
  co_return reply;
}

// ---- full reports ----

Task<void> Inventory::full_report(Location location) {
  Device& device = devices_[location];  // devices stay until the end
  const WatchedServer* const watched = watch_.find(location.server);
  Report report{.location = location,
                .address = watched->address,
                .began = reactor_.now(),
                .after = std::nullopt,
                .orphans = {},
                .marks = {}};
  bool complete = false;
  for (bool more = true; more && working();) {
    more = co_await report_range(report);
    complete = more && !report.after;
    more = more && !complete;
  }
  if (complete && working()) {
    complete = co_await mark(report.marks);
  }
  if (complete && working()) {
    complete = co_await erase_old_orphans(report, device);
  }
  const Instant now = reactor_.now();
  if (complete) {
    ++counters_.full_reports;
    device.reported = true;
    device.change = report.change;
    device.full_at = now + options_.interval;
    device.changes_at = now + options_.changes_interval;
  } else {
    ++counters_.failures;
    device.full_at = now + options_.retry;
  }
  device.busy = false;
  --busy_;
  wake_.set();
  if (complete) {
    reported_(location.server);
  }
}

// One page of table P, and what the server has in the same range. False: it failed. `after` is
// nothing when there is no more.
Task<bool> Inventory::report_range(Report& report) {
  const Location location = report.location;
  const ChunkId after = report.after.value_or(ChunkId{});
  const size_t page = options_.page;
  auto rows = [location, after, page](Txn& txn) {
    return placed_on_device(txn, location, after, page);
  };
  auto expected = co_await ask(group_, rows);
  if (!expected.ok()) {
    co_return false;
  }
  std::optional<ChunkId> until;
  if (expected->more) {
    until = next_id(expected->chunks.back().chunk);
  }
  std::optional<ChunkId> position = report.after;
  size_t at = 0;
  for (bool more = true; more;) {
    const bool ok = co_await report_page(report, expected->chunks, at, until, position, more);
    if (!ok || !working()) {
      co_return false;
    }
  }
  for (; at < expected->chunks.size(); ++at) {
    if (!expected->chunks[at].standing.suspect) {
      report.marks.push_back(suspect_mark(expected->chunks[at]));
    }
  }
  if (report.marks.size() >= static_cast<size_t>(kMarksMax)) {
    const bool marked = co_await mark(report.marks);
    if (!marked) {
      co_return false;
    }
  }
  report.after.reset();
  if (expected->more) {
    report.after = expected->chunks.back().chunk;
  }
  co_return true;
}

// One page of the server's chunks, merged with what is expected from `at` on.
Task<bool> Inventory::report_page(Report& report, const std::vector<PlacedChunk>& expected,
                                  size_t& at, std::optional<ChunkId> until,
                                  std::optional<ChunkId>& position, bool& more) {
  pb::ListChunksRequest request = request_for(report.location);
  if (position) {
    wire::set(*request.mutable_after(), *position);
  }
  if (until) {
    wire::set(*request.mutable_until(), *until);
  }
  auto reply = co_await list(report.location, report.address, std::move(request));
  if (!reply.ok()) {
    co_return false;
  }
  if (report.first_page) {
    report.change = reply->change();
    report.first_page = false;
  }
  std::vector<ChunkId> unlisted;
  for (const pb::HeldChunk& held : reply->chunks()) {
    const ChunkId id = wire::get(held.chunk());
    if ((position && id <= *position) || (until && id >= *until)) {
      LOG_WARN("server {}: its list of chunks is out of order", report.location.server.number);
      co_return false;
    }
    position = id;
    for (; at < expected.size() && expected[at].chunk < id; ++at) {
      if (!expected[at].standing.suspect) {
        report.marks.push_back(suspect_mark(expected[at]));
      }
    }
    if (at < expected.size() && expected[at].chunk == id) {
      const PlacedChunk& placed = expected[at++];
      if (!placed.standing.suspect && !is_good_replica(held, placed.standing.length)) {
        report.marks.push_back(suspect_mark(placed));
      }
    } else if (!held.copying() && !held.gone()) {
      unlisted.push_back(id);
    }
  }
  more = reply->more() && !reply->chunks().empty();
  if (unlisted.empty()) {
    co_return true;
  }
  const bool noted = co_await note_unlisted(report, std::move(unlisted));
  co_return noted;
}

Task<bool> Inventory::note_unlisted(Report& report, std::vector<ChunkId> held) {
  const Location location = report.location;
  auto look = [location, held = std::move(held)](Txn& txn) {
    std::vector<ChunkId> orphans;
    for (const ChunkId& chunk : held) {
      if (is_orphan(txn, location, chunk) && !is_being_erased(txn, location, chunk)) {
        orphans.push_back(chunk);
      }
    }
    return orphans;
  };
  auto orphans = co_await ask(group_, std::move(look));
  if (!orphans.ok()) {
    co_return false;
  }
  for (const ChunkId& chunk : *orphans) {
    if (report.orphans.size() < options_.orphans_max) {
      report.orphans.insert(chunk);
    }
  }
  co_return true;
}

Task<bool> Inventory::mark(std::vector<record::MarkReplicas::One>& marks) {
  while (!marks.empty()) {
    const size_t count = std::min(marks.size(), static_cast<size_t>(kMarksMax));
    record::MarkReplicas request;
    for (size_t i = 0; i < count; ++i) {
      *request.add_marks() = std::move(marks[i]);
    }
    marks.erase(marks.begin(), marks.begin() + static_cast<std::ptrdiff_t>(count));
    REACHED("inventory: replicas are missing or bad");
    LOG_WARN("group {}: {} replicas on server {} are missing, short or damaged", group_.id(), count,
             request.marks(0).replica().server());
    const Status done =
        co_await group_.execute(InternalMethod::mark_replicas, request.SerializeAsString(),
                                reactor_.now() + options_.call_timeout);
    if (!done.ok() || !working()) {
      co_return false;
    }
    counters_.missing += count;
  }
  co_return true;
}

// Those that were there in an earlier full report too, long enough ago.
Task<bool> Inventory::erase_old_orphans(const Report& report, Device& device) {
  std::map<ChunkId, Instant> orphans;
  std::vector<ChunkId> old;
  for (const ChunkId& chunk : report.orphans) {
    const auto before = device.orphans.find(chunk);
    const Instant since = before == device.orphans.end() ? report.began : before->second;
    orphans.emplace(chunk, since);
    if (report.began - since >= options_.orphan_grace) {
      old.push_back(chunk);
    }
  }
  device.orphans = std::move(orphans);
  const Location location = report.location;
  for (size_t from = 0; from < old.size();) {
    const size_t until = std::min(old.size(), from + static_cast<size_t>(kMarksMax));
    record::EraseOrphans request;
    request.set_server(location.server.number);
    for (; from < until; ++from) {
      record::OrderId& id = *request.add_chunks();
      id.set_file(old[from].file.number);
      id.set_sequence(old[from].sequence);
      id.set_shard(old[from].shard);
      id.set_device_high(location.device.high);
      id.set_device_low(location.device.low);
    }
    REACHED("inventory: orphans are erased");
    LOG_INFO("group {}: {} chunks on server {} are nobody's and are erased", group_.id(),
             request.chunks_size(), location.server.number);
    const Status done =
        co_await group_.execute(InternalMethod::erase_orphans, request.SerializeAsString(),
                                reactor_.now() + options_.call_timeout);
    if (!done.ok() || !working()) {
      co_return false;
    }
    counters_.orphans_erased += static_cast<u64>(request.chunks_size());
  }
  co_return true;
}

// ---- changes ----

Task<void> Inventory::change_report(Location location) {
  Device& device = devices_[location];
  const bool ok = co_await look_at_changes(location, device);
  const Instant now = reactor_.now();
  if (ok) {
    ++counters_.change_reports;
    device.changes_at = now + options_.changes_interval;
  } else {
    ++counters_.failures;
    device.changes_at = now + options_.retry;
  }
  device.busy = false;
  --busy_;
  wake_.set();
}

Task<bool> Inventory::look_at_changes(Location location, Device& device) {
  const std::string address = watch_.find(location.server)->address;
  std::vector<ChunkId> suspicious;
  std::optional<ChunkId> position;
  std::optional<u64> change;
  for (bool more = true; more;) {
    pb::ListChunksRequest request = request_for(location);
    request.set_changed_since(device.change);
    if (position) {
      wire::set(*request.mutable_after(), *position);
    }
    auto reply = co_await list(location, address, std::move(request));
    if (!reply.ok() || !working()) {
      co_return false;
    }
    if (!reply->changes_only()) {
      REACHED("inventory: changes are not known any more");
      device.full_at = reactor_.now();
      co_return true;
    }
    change = change.value_or(reply->change());
    for (const pb::HeldChunk& held : reply->chunks()) {
      const ChunkId id = wire::get(held.chunk());
      if (position && id <= *position) {
        co_return false;
      }
      position = id;
      if (held.gone() || held.damaged() || held.copying()) {
        suspicious.push_back(id);
      }
    }
    more = reply->more() && !reply->chunks().empty();
    if (suspicious.size() > options_.orphans_max) {
      device.full_at = reactor_.now();
      co_return true;
    }
  }
  const bool checked = co_await check_suspicious(location, address, std::move(suspicious));
  if (checked) {
    device.change = *change;
  }
  co_return checked;
}

// What was erased by order, or is on its way, is not listed; of the rest the server is asked again,
// now that it is known that the chunks are settled.
Task<bool> Inventory::check_suspicious(Location location, std::string address,
                                       std::vector<ChunkId> chunks) {
  auto look = [location, chunks = std::move(chunks)](Txn& txn) {
    std::vector<PlacedChunk> listed;
    for (const ChunkId& chunk : chunks) {
      const auto standing = standing_of(txn, location, chunk);
      if (standing && !standing->suspect) {
        listed.push_back({.location = location, .chunk = chunk, .standing = *standing});
      }
    }
    return listed;
  };
  auto listed = co_await ask(group_, std::move(look));
  if (!listed.ok()) {
    co_return false;
  }
  if (listed->size() > options_.checks_max) {
    REACHED("inventory: so many changes that a full report is cheaper");
    devices_[location].full_at = reactor_.now();
    co_return true;
  }
  std::vector<record::MarkReplicas::One> marks;
  for (const PlacedChunk& placed : *listed) {
    const Verdict verdict = co_await check_replica(
        calls_, request_for(location), location, address, placed.chunk, placed.standing.length,
        reactor_.now() + options_.call_timeout);
    if (verdict == Verdict::unknown || !working()) {
      co_return false;
    }
    if (verdict == Verdict::bad) {
      marks.push_back(suspect_mark(placed));
    }
  }
  const bool marked = co_await mark(marks);
  co_return marked;
}

}  // namespace pangu::master
