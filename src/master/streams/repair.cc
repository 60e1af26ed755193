#include "master/streams/repair.h"

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/orders.h"
#include "master/streams/replica_check.h"
#include "runtime/await.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

constexpr int kStepsAtOnce = 8;         // for one chunk at once
constexpr u32 kUnansweredQuestions = 3;    // questions about a suspect replica
constexpr u64 kSlowerThanPlanned = 4;

Location place_of(const record::Replica& replica) { return location_of(replica); }

}  // namespace

Repair::Repair(Reactor& reactor, StreamGroup& group, ServerCalls& calls, const ServerWatch& watch,
               u64 term, const RepairOptions& options)
    : reactor_(reactor),
      group_(group),
      calls_(calls),
      watch_(watch),
      term_(term),
      options_(options),
      random_(reactor.env().random()),
      budget_(options.bytes_per_second) {}

void Repair::start() {
  all_due();
  gate_.spawn(reactor_, "repair", TaskClass::repair, run());
}

void Repair::wake() {
  for (Scan& scan : short_scans_) {
    if (scan.never && !scan.active) {
      scan.never = false;
      scan.due = scan.ended + options_.busy_retry;
    }
  }
  wake_.set();
}

bool Repair::working() const {
  return !stopping_ && !deposed_ && group_.leading_term() == term_;
}

Task<void> Repair::stop() {
  stopping_ = true;
  stop_.set();
  wake_.set();
  co_await gate_.close();
}

Task<void> Repair::run() {
  while (working()) {
    look_at_servers();
    const bool more = co_await take_census();
    if (more) {
      continue;
    }
    size_t urgency = 0;
    bool of_places = false;
    Instant due;
    Scan* const scan = next_scan(urgency, of_places, due);
    if (scan == nullptr) {
      wake_.reset();
      co_await wake_.wait(due);
      continue;
    }
    co_await go_on(*scan, urgency, of_places);
    co_await yield_now();
  }
}

// ---- what was learned ----

// Whether it is better left alone for a while.
bool Repair::remembered(const ChunkId& chunk) {
  const auto found = memory_.find(chunk);
  if (found == memory_.end()) {
    return false;
  }
  if (found->second.until <= reactor_.now()) {
    memory_.erase(found);
    return false;
  }
  return reactor_.now() < found->second.not_before;
}

Repair::Memory& Repair::memory(const ChunkId& chunk) {
  const Instant now = reactor_.now();
  if (memory_.size() >= options_.remembered_max && !memory_.contains(chunk)) {
    std::erase_if(memory_, [&](const auto& item) { return item.second.until <= now; });
    if (memory_.size() >= options_.remembered_max) {
      memory_.erase(memory_.begin());
    }
  }
  Memory& out = memory_[chunk];
  if (out.until <= now) {
    out = Memory();
    out.until = now + options_.forget;
  }
  return out;
}

RepairFacts Repair::facts_of(const ChunkId& chunk) {
  RepairFacts facts;
  const Instant now = reactor_.now();
  if (const auto known = memory_.find(chunk); known != memory_.end() && known->second.until > now) {
    facts = known->second.facts;
  }
  facts.copies_on = copies_on_;
  facts.copies_per_server = options_.copies_per_server;
  std::erase_if(full_devices_, [&](const auto& item) { return item.second <= now; });
  std::erase_if(bad_servers_, [&](const auto& item) { return item.second <= now; });
  for (const auto& [location, until] : full_devices_) {
    facts.bad_targets.insert(location);
  }
  for (const auto& [id, until] : bad_servers_) {
    if (const WatchedServer* const server = watch_.find({id})) {
      for (const WatchedDevice& device : server->devices) {
        facts.bad_targets.insert({.server = {id}, .device = device.device});
        facts.bad_sources.insert({.server = {id}, .device = device.device});
      }
    }
  }
  return facts;
}

void Repair::avoid_server(u32 server) {
  bad_servers_[server] = reactor_.now() + options_.forget / 4;
}

// ---- one chunk ----

bool Repair::begin(const ChunkId& chunk) {
  if (!gate_.spawn(reactor_, "repair", TaskClass::repair, repair(chunk))) {
    return false;
  }
  running_.insert(chunk);
  return true;
}

Task<void> Repair::repair(ChunkId chunk) {
  auto look = [chunk](Txn& txn) { return find_settled(txn, chunk.file, chunk.sequence); };
  for (int step = 0; step < kStepsAtOnce && working(); ++step) {
    auto found = co_await ask(group_, look);
    if (!found.ok() || !*found || !working()) {
      break;
    }
    const SettledChunk settled = std::move(**found);
    const RepairFacts facts = facts_of(chunk);
    RepairPlan plan = plan_repair(settled, watch_, reactor_.now(), facts, random_);
    bool again = false;
    if (plan.what == RepairPlan::What::verify) {
      again = co_await verify(chunk, settled, std::move(plan.verify));
    } else if (plan.what == RepairPlan::What::copy) {
      again = co_await copy(chunk, settled, std::move(plan));
    } else if (plan.what == RepairPlan::What::drop) {
      const size_t count = plan.remove.size();
      const Status done = co_await change(chunk, settled.chunk.version(), std::move(plan), false);
      counters_.dropped += done.ok() ? count : 0;
      again = done.ok();
    } else {
      busy_met_ = busy_met_ || plan.what == RepairPlan::What::busy;
    }
    if (!again) {
      break;
    }
  }
  running_.erase(chunk);
  wake_.set();
}

// Suspect replicas may be whole: their writer lost sight of them, or they were late.
Task<bool> Repair::verify(ChunkId id, SettledChunk chunk, std::vector<record::Replica> replicas) {
  pb::ListChunksRequest term;
  term.set_group(group_.id());
  term.set_term(term_);
  record::MarkReplicas good;
  for (const record::Replica& replica : replicas) {
    const WatchedServer* const server = watch_.find({replica.server()});
    const std::string address = server == nullptr ? "" : server->address;
    const Verdict verdict =
        co_await check_replica(calls_, term, place_of(replica), address, id, chunk.chunk.length(),
                               reactor_.now() + options_.call_timeout);
    if (!working()) {
      co_return false;
    }
    if (verdict == Verdict::good) {
      record::MarkReplicas::One& mark = *good.add_marks();
      mark.set_file(id.file.number);
      mark.set_sequence(id.sequence);
      mark.set_version(chunk.chunk.version());
      *mark.mutable_replica() = replica;
      mark.mutable_replica()->set_suspect(false);
      continue;
    }
    Memory& learned = memory(id);
    if (verdict == Verdict::unknown && ++learned.unanswered < kUnansweredQuestions) {
      learned.not_before = reactor_.now() + options_.retry;
      co_return false;
    }
    learned.facts.known_bad.insert(place_of(replica));
  }
  if (good.marks().empty()) {
    co_return true;
  }
  REACHED("repair: a suspect replica is good after all");
  const u64 count = static_cast<u64>(good.marks_size());
  const Status done =
      co_await group_.execute(InternalMethod::mark_replicas, good.SerializeAsString(),
                              reactor_.now() + options_.call_timeout);
  counters_.good_after_all += done.ok() ? count : 0;
  co_return done.ok();
}

// ---- copies ----

Task<bool> Repair::copy(ChunkId id, SettledChunk chunk, RepairPlan plan) {
  const Location to = place_of(plan.target);
  const u32 source = plan.source.server();
  const u32 target = plan.target.server();
  ++copies_on_[source];
  ++copies_on_[target];
  auto being_erased = [to, id](Txn& txn) { return is_being_erased(txn, to, id); };
  auto blocked = co_await ask(group_, being_erased);
  Result<u64> copied = Error(Code::kBusy);
  if (blocked.ok() && !*blocked && working()) {
    copied = co_await copy_bytes(id, chunk, plan);
  } else {
    memory(id).not_before = reactor_.now() + options_.retry;
  }
  bool again = false;
  if (copied.ok() && working()) {
    const Status listed = co_await change(id, chunk.chunk.version(), plan, true);
    if (listed.ok()) {
      ++counters_.copies;
      counters_.copied_bytes += *copied;
      memory_.erase(id);
      again = true;  // it may lack more
    } else if (listed.code() == Code::kConflict && working()) {
      ++counters_.refused;
      co_await erase_copy(id, plan.target);
    }
  } else if (!copied.ok() && blocked.ok() && !*blocked && working()) {
    ++counters_.failed_copies;
    again = co_await learn(id, chunk, plan, copied.code());
  }
  for (const u32 server : {source, target}) {
    if (--copies_on_[server] == 0) {
      copies_on_.erase(server);
    }
  }
  co_return again;
}

Task<Result<u64>> Repair::copy_bytes(ChunkId id, SettledChunk chunk, RepairPlan plan) {
  const u64 length = chunk.chunk.length();
  const bool may_go = co_await budget_.take(reactor_, length, stop_);
  const WatchedServer* const from = watch_.find({plan.source.server()});
  const WatchedServer* const to = watch_.find({plan.target.server()});
  if (!may_go || !working() || from == nullptr || to == nullptr) {
    co_return Error(Code::kCancelled);
  }
  pb::CopyChunkRequest request;
  request.set_group(group_.id());
  request.set_term(term_);
  wire::set(*request.mutable_chunk(), id);
  wire::set(*request.mutable_device(), place_of(plan.target).device);
  request.set_length(chunk.chunk.length());
  // Above that of every order to erase that was ever given for this place.
  request.set_version(chunk.chunk.version() + 1);
  request.set_base(chunk.chunk.base());
  request.set_source_server(plan.source.server());
  request.set_source_address(from->address);
  wire::set(*request.mutable_source_device(), place_of(plan.source).device);
  request.set_bytes_per_second(budget_.rate());
  const i64 planned_us = static_cast<i64>(length * 1'000'000 / budget_.rate());
  const Instant deadline = reactor_.now() + options_.copy_timeout +
                           microseconds(planned_us) * i64{kSlowerThanPlanned};
  auto reply = co_await call_server<pb::CopyChunkReply>(
      calls_, {plan.target.server()}, to->address, wire::Method::copy_chunk, std::move(request),
      deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  co_return length;
}

// A copy failed: what that says about source and target. True: try again at once.
Task<bool> Repair::learn(ChunkId id, SettledChunk chunk, RepairPlan plan, Code code) {
  const Instant now = reactor_.now();
  Memory& learned = memory(id);
  switch (code) {
    case Code::kCorrupt:
    case Code::kShort:
    case Code::kNotHere: {
      REACHED("repair: a source was bad");
      ++counters_.bad_sources;
      learned.facts.known_bad.insert(place_of(plan.source));
      learned.facts.bad_sources.insert(place_of(plan.source));
      record::MarkReplicas request;
      record::MarkReplicas::One& mark = *request.add_marks();
      mark.set_file(id.file.number);
      mark.set_sequence(id.sequence);
      mark.set_version(chunk.chunk.version());
      *mark.mutable_replica() = plan.source;
      mark.mutable_replica()->set_suspect(true);
      const Status marked =
          co_await group_.execute(InternalMethod::mark_replicas, request.SerializeAsString(),
                                  now + options_.call_timeout);
      co_return marked.ok();
    }
    case Code::kUnavailable:
      learned.facts.bad_sources.insert(place_of(plan.source));
      co_return true;
    case Code::kAlreadyExists:
      // Not listed there, so it is nobody's; the command looks again.
      learned.facts.bad_targets.insert(place_of(plan.target));
      co_await erase_copy(id, plan.target);
      co_return true;
    case Code::kNoSpace:
    case Code::kDeviceFailed:
      full_devices_[place_of(plan.target)] = now + options_.forget;
      co_return true;
    case Code::kStale:
      deposed_ = true;
      co_return false;
    case Code::kBusy:
    case Code::kCancelled:
      learned.not_before = now + options_.retry;
      co_return false;
    default:
      REACHED("repair: a target did not answer");
      avoid_server(plan.target.server());
      co_return true;
  }
}

Task<Status> Repair::change(ChunkId id, u32 version, RepairPlan plan, bool add) {
  record::ChangeReplicas request;
  request.set_file(id.file.number);
  request.set_sequence(id.sequence);
  request.set_version(version);
  for (record::Replica& replica : plan.remove) {
    *request.add_remove() = std::move(replica);
  }
  if (add) {
    *request.add_add() = plan.target;
  }
  request.set_erase(plan.erase);
  const Status done =
      co_await group_.execute(InternalMethod::change_replicas, request.SerializeAsString(),
                              reactor_.now() + options_.call_timeout);
  if (done.ok() || done.code() == Code::kConflict || done.code() == Code::kNotLeader) {
    co_return done;
  }
  // It may have happened, and if it was not it can happen once only.
  memory(id).not_before = reactor_.now() + options_.retry;
  co_return done;
}

// A copy that will not be listed.
Task<void> Repair::erase_copy(ChunkId id, record::Replica target) {
  record::EraseOrphans request;
  request.set_server(target.server());
  record::OrderId& each = *request.add_chunks();
  each.set_file(id.file.number);
  each.set_sequence(id.sequence);
  each.set_shard(id.shard);
  each.set_device_high(target.device_high());
  each.set_device_low(target.device_low());
  const Status done =
      co_await group_.execute(InternalMethod::erase_orphans, request.SerializeAsString(),
                              reactor_.now() + options_.call_timeout);
  if (!done.ok()) {
    REACHED("repair: a copy that nobody lists is left to the inventory");
  }
}

}  // namespace pangu::master
