#include "raft/driver/shared_log.h"

#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "raft/driver/log_replay.h"
#include "runtime/await.h"

namespace pangu::raft {
namespace {

Error invalid(GroupId group, std::string_view what) {
  return Error(Code::kInvalidArgument,
               fmt::format("a write to the log of group {}: {}", group.value(), what));
}

u64 bytes_of(const LogWrite& write) {
  u64 bytes = (write.install ? 2 : 1) * record_bytes(64);
  for (const Entry& entry : write.entries) {
    bytes += record_bytes(entry.payload.size());
  }
  return bytes;
}

}  // namespace

SharedLog::SharedLog(Reactor& reactor, SharedLogOptions options)
    : reactor_(reactor),
      options_(std::move(options)),
      groups_(segments_),
      cache_(options_.cache_bytes),
      tail_(reactor, options_.prepared_ahead, options_.segment_bytes) {}

SharedLog::~SharedLog() = default;

// ---- open ----

Task<Status> SharedLog::open() {
  CHECK(!opened_);
  LogReplay replay(reactor_, options_.directory, options_.log, segments_, groups_);
  auto replayed = co_await replay.run();
  CO_TRY_VOID(std::move(replayed));
  chain_ = replay.chain();
  if (segments_.list().empty()) {
    auto added = co_await add_segment();
    CO_TRY_VOID(std::move(added));
  } else {
    const LogSegment& last = segments_.list().back();
    header_ = make_segment_header(options_.log, last.number);
    if (replay.torn()) {
      REACHED("raft log: torn tail cut");
      LOG_WARN(
          "{}: the {} bytes from offset {} on are what a crash left of a write that was never "
          "acknowledged; they are erased",
          last.path, replay.file_bytes() - last.bytes, last.bytes);
    }
    std::string path = last.path;
    auto switched = co_await tail_.switch_to(std::move(path), last.bytes, replay.file_bytes());
    CO_TRY_VOID(std::move(switched));
    auto repaired =
        co_await tail_.repair(replay.last_write(), replay.torn() ? replay.file_bytes() : 0);
    CO_TRY_VOID(std::move(repaired));
  }
  for (const auto& [group, log] : groups_.all()) {
    fronts_.try_emplace(group, cache_, group);
  }
  opened_ = true;
  gate_.spawn(reactor_, "raft log writer", TaskClass::control, write_loop());
  gate_.spawn(reactor_, "raft log preparation", TaskClass::foreground, tail_.prepare());
  gate_.spawn(reactor_, "raft log reclaim", TaskClass::background, reclaim_loop());
  co_return ok_status();
}

std::map<GroupId, LogStore::Recovered> SharedLog::take_recovered() {
  std::map<GroupId, Recovered> out;
  for (const auto& [group, log] : groups_.all()) {
    HardState hard_state = log.hard_state;
    hard_state.commit = std::max(hard_state.commit, log.summary.base().index);
    out.emplace(group, Recovered{hard_state, log.summary});
  }
  return out;
}

// The file's name and header are durable before anything is written to it. After an error nothing
// can be written until the same call succeeds.
Task<Status> SharedLog::add_segment() {
  const auto& list = segments_.list();
  const u32 number = list.empty() ? 1 : list.back().number + 1;
  std::string path = options_.directory + "/" + segment_file_name(number);
  const SegmentHeader header = make_segment_header(options_.log, number);
  CO_TRY_VOID(reactor_.env().files().replace_file(path, as_text(as_bytes_of(header))));
  auto switched = co_await tail_.switch_to(path, sizeof(SegmentHeader), sizeof(SegmentHeader));
  CO_TRY_VOID(std::move(switched));
  header_ = header;
  segments_.list().push_back(
      {.number = number, .path = std::move(path), .bytes = sizeof(SegmentHeader)});
  ++counters_.segments_added;
  co_return ok_status();
}

// ---- callers ----

Status SharedLog::usable() const {
  CHECK(opened_);
  if (broken_) {
    return *broken_;
  }
  return closing_ ? Status(Error(Code::kClosed, "the Raft log is being closed")) : ok_status();
}

Result<SharedLog::Front*> SharedLog::front_of(GroupId group) {
  const auto found = fronts_.find(group);
  if (found == fronts_.end() || found->second.removing) {
    return Error(Code::kNotFound, fmt::format("the Raft log has no group {}", group.value()));
  }
  return &found->second;
}

Task<Status> SharedLog::carry_out(Request& request) {
  const Gate::Holder holder(gate_);
  queue_.push_back(request);
  queue_grew_.wake_one();
  co_await request.done.wait();
  if (request.error) {
    co_return std::move(*request.error);
  }
  co_return ok_status();
}

Task<Status> SharedLog::create_group(GroupId group, SnapshotMeta base) {
  CO_TRY_VOID(usable());
  if (groups_.find(group) != nullptr || groups_.was_removed(group) || beginning_.contains(group)) {
    co_return Error(Code::kAlreadyExists,
                    fmt::format("the Raft log has, or had, a group {}", group.value()));
  }
  beginning_.insert(group);
  Request request(Request::Kind::create, group);
  request.base = std::move(base);
  request.bytes = record_bytes(kRecordAlignment);
  auto done = co_await carry_out(request);
  co_return done;
}

Task<Status> SharedLog::remove_group(GroupId group) {
  CO_TRY_VOID(usable());
  CO_TRY(front, front_of(group));
  front->removing = true;
  plan_from_durable(*front, *groups_.find(group));
  ++front->pending;
  Request request(Request::Kind::remove, group);
  request.bytes = record_bytes(0);
  auto done = co_await carry_out(request);
  co_return done;
}

Task<Status> SharedLog::write(LogWrite write) {
  CO_TRY_VOID(usable());
  CO_TRY(front, front_of(write.group));
  const GroupId group = write.group;
  Request request(Request::Kind::write, group);
  request.refused = front->failures_unseen > 0;
  if (request.refused) {
    ++front->failures_unseen;
    ++front->pending;
  } else {
    CO_TRY_VOID(plan(*front, write));
  }
  request.bytes = bytes_of(write);
  request.write = std::move(write);
  auto done = co_await carry_out(request);
  if (done.code() == Code::kNoSpace) {
    if (const auto found = fronts_.find(group); found != fronts_.end()) {
      --found->second.failures_unseen;
    }
  }
  co_return done;
}

void SharedLog::plan_from_durable(Front& front, const GroupLog& log) {
  if (front.pending == 0) {
    front.base = log.summary.base().index;
    front.last = log.summary.last();
    front.hard_state = log.hard_state;
    front.cut_from = log.summary.last().index + 1;
  }
}

// Refuses what could not be replayed, before anything of it is written.
Status SharedLog::plan(Front& front, LogWrite& write) {
  plan_from_durable(front, *groups_.find(write.group));
  Index base = front.base;
  LogId last = front.last;
  if (write.install) {
    base = write.install->id.index;
    last = write.install->id;
  }
  if (!write.entries.empty()) {
    TRY(after, plan_entries(front, write, base, last));
    last = after;
  }
  HardState hard_state = front.hard_state;
  if (write.hard_state) {
    hard_state = *write.hard_state;
    const HardState& before = front.hard_state;
    const bool votes_twice =
        hard_state.term == before.term && before.vote != kNobody && hard_state.vote != before.vote;
    if (hard_state.term < before.term || votes_twice) {
      return invalid(write.group, "its hard state goes back");
    }
    // It only says what is known: later writes may know less.
    hard_state.commit = std::max(hard_state.commit, before.commit);
    write.hard_state = hard_state;
  }
  if (hard_state.commit > last.index) {
    return invalid(write.group, "the log would end before its commit index");
  }
  if (!write.entries.empty()) {
    front.cut_from = std::min(front.cut_from, write.entries.front().index);
  }
  front.base = base;
  front.last = last;
  front.hard_state = hard_state;
  ++front.pending;
  return ok_status();
}

Result<LogId> SharedLog::plan_entries(const Front& front, const LogWrite& write, Index base,
                                      LogId last) {
  const Index first = write.entries.front().index;
  if (first <= base || first > last.index + 1) {
    return invalid(write.group, fmt::format("entry {} does not continue a log of {} to {}", first,
                                            base, to_string(last)));
  }
  Term term = last.term;
  if (first <= last.index) {
    const auto before = groups_.find(write.group)->summary.term_at(first - 1);
    term = front.pending == 0 && before ? *before : Term{};
  }
  u64 bytes = 0;
  Index index = first;
  for (const Entry& entry : write.entries) {
    bytes += entry.bytes();
    if (entry.index != index++ || entry.term < term || entry.term == Term{}) {
      return invalid(write.group, fmt::format("entry {} is out of order", to_string(entry.id())));
    }
    if (entry.payload.size() > kEntryBytesMax || bytes > kLogWriteBytesMax) {
      return Error(Code::kTooLarge, fmt::format("entry {} of group {}: an entry has at most {} "
                                                "bytes and a write {}",
                                                to_string(entry.id()), write.group.value(),
                                                kEntryBytesMax, kLogWriteBytesMax));
    }
    if (entry.kind == EntryKind::configuration &&
        !decode_configuration(entry.payload.bytes()).ok()) {
      return invalid(write.group,
                     fmt::format("entry {} is not a configuration", to_string(entry.id())));
    }
    term = entry.term;
  }
  return write.entries.back().id();
}

const LogView& SharedLog::view(GroupId group) const {
  const auto found = fronts_.find(group);
  CHECK(found != fronts_.end());
  return found->second.view;
}

Status SharedLog::compact(GroupId group, Index index) {
  TRY(front, front_of(group));
  const GroupLog& log = *groups_.find(group);
  if (index <= log.summary.base().index) {
    return ok_status();
  }
  if (index > log.summary.last().index || (front->pending > 0 && index >= front->cut_from)) {
    return Error(Code::kInvalidArgument,
                 fmt::format("the log of group {} cannot be compacted up to {}: it ends at {}",
                             group.value(), index, to_string(log.summary.last())));
  }
  front->base = std::max(front->base, index);
  groups_.compact(group, index);
  cache_.compact(group, index);
  reclaim_due_.wake_all();
  return ok_status();
}

u64 SharedLog::stored_bytes() const {
  return segments_.bytes();
}

u64 SharedLog::stored_bytes(GroupId group) const {
  const GroupLog* log = groups_.find(group);
  return log == nullptr ? 0 : log->live_bytes;
}

// ---- the writer ----

Task<void> SharedLog::write_loop() {
  while (!closed()) {
    if (queue_.empty()) {
      co_await queue_grew_.wait();
      continue;
    }
    take_batch();
    if (writing_.empty()) {
      continue;
    }
    const Status written = co_await write_batch();
    settle(written);
  }
  const Error over = broken_ ? *broken_ : Error(Code::kClosed, "the Raft log is being closed");
  while (Request* request = queue_.pop_front()) {
    finish(*request, over);
  }
  tail_.stop();
  reclaim_due_.wake_all();
}

// What is refused is answered from here, so that it does not overtake what was begun before it.
// Copies go alone, so that what they copy is still there when they are written.
void SharedLog::take_batch() {
  u64 bytes = 0;
  while (Request* next = queue_.front()) {
    const bool alone = next->kind == Request::Kind::copy;
    if (!writing_.empty() && (alone || bytes + next->bytes > options_.write_bytes_max)) {
      return;
    }
    next->unlink();
    if (next->refused) {
      REACHED("raft log: a write behind one that found no space");
      finish(*next, Error(Code::kNoSpace,
                          "a write of the same group before this one found no "
                          "space"));
      continue;
    }
    writing_.push_back(*next);
    bytes += next->bytes;
    if (alone) {
      return;
    }
  }
}

Task<Status> SharedLog::write_batch() {
  if (segments_.list().back().record_bytes() >= options_.segment_bytes) {
    auto added = co_await add_segment();
    CO_TRY_VOID(std::move(added));
  }
  buffer_.clear();
  RecordWriter writer(buffer_, header_, chain_, chain_.sequence);
  const bool table_due = segments_.list().back().table_end == 0;
  if (table_due) {
    groups_.add_table(writer);
  }
  const u64 table_bytes = buffer_.size();
  for (Request* each = writing_.front(); each != nullptr; each = writing_.next(*each)) {
    each->offset = tail_.end() + buffer_.size();
    encode(*each, writer);
  }
  if (buffer_.size() > table_bytes) {
    ++counters_.device_writes;
    auto written = co_await tail_.append(as_bytes_of(std::string_view(buffer_)));
    CO_TRY_VOID(std::move(written));
    counters_.bytes_written += buffer_.size();
    chain_ = writer.chain();
    LogSegment& segment = segments_.list().back();
    segment.table_end = table_due ? segment.bytes + table_bytes : segment.table_end;
    segment.bytes = tail_.end();
  }
  for (Request* each = writing_.front(); each != nullptr; each = writing_.next(*each)) {
    apply(*each);
  }
  reclaim_due_.wake_all();
  co_return ok_status();
}

void SharedLog::encode(Request& request, RecordWriter& writer) {
  const GroupId group = request.group;
  switch (request.kind) {
    case Request::Kind::create: {
      const Payload configuration = raft::encode(request.base.configuration);
      writer.add({.type = RecordType::create, .group = group, .id = request.base.id},
                 configuration.bytes());
      return;
    }
    case Request::Kind::remove:
      writer.add({.type = RecordType::remove, .group = group}, {});
      return;
    case Request::Kind::write:
      encode_write(request.write, writer);
      return;
    case Request::Kind::copy:
      std::erase_if(request.copies, [this](const Copied& each) {
        return !lives_at(each.group, each.entry.id(), each.from);
      });
      for (const Copied& each : request.copies) {
        writer.add({.type = RecordType::copy,
                    .kind = static_cast<u8>(each.entry.kind),
                    .group = each.group,
                    .id = each.entry.id()},
                   each.entry.payload.bytes());
      }
      return;
  }
}

void SharedLog::encode_write(const LogWrite& write, RecordWriter& writer) {
  const GroupId group = write.group;
  if (write.install) {
    const Payload configuration = raft::encode(write.install->configuration);
    writer.add({.type = RecordType::install,
                .more = write.hard_state || !write.entries.empty(),
                .group = group,
                .id = write.install->id},
               configuration.bytes());
  }
  if (write.hard_state) {
    const std::string vote = encode_vote(write.hard_state->vote);
    writer.add({.type = RecordType::hard_state,
                .more = !write.entries.empty(),
                .group = group,
                .id = {write.hard_state->term, write.hard_state->commit}},
               as_bytes_of(std::string_view(vote)));
  }
  size_t left = write.entries.size();
  for (const Entry& entry : write.entries) {
    --left;
    writer.add({.type = RecordType::entry,
                .kind = static_cast<u8>(entry.kind),
                .more = left > 0,
                .group = group,
                .id = entry.id()},
               entry.payload.bytes());
  }
}

// What was planned, or read back, is possible: nothing here can fail.
void SharedLog::apply(Request& request) {
  const GroupId group = request.group;
  u64 offset = request.offset;
  const u32 segment = segments_.list().back().number;
  switch (request.kind) {
    case Request::Kind::create:
      CHECK(groups_.create(group, std::move(request.base)).ok());
      fronts_.try_emplace(group, cache_, group);
      ++counters_.writes;
      return;
    case Request::Kind::remove:
      CHECK(groups_.remove(group).ok());
      cache_.forget(group);
      fronts_.erase(group);
      ++counters_.writes;
      return;
    case Request::Kind::write:
      apply_write(request);
      ++counters_.writes;
      return;
    case Request::Kind::copy:
      for (const Copied& each : request.copies) {
        const u64 bytes = record_bytes(each.entry.payload.size());
        const Place place{segment, static_cast<u32>(offset), static_cast<u32>(bytes)};
        offset += bytes;
        // It may have been compacted while it was written.
        if (lives_at(each.group, each.entry.id(), each.from)) {
          CHECK(groups_.relocate(each.group, each.entry.id(), place).ok());
          ++counters_.entries_copied;
        }
      }
      return;
  }
}

void SharedLog::apply_write(const Request& request) {
  const LogWrite& write = request.write;
  const u32 segment = segments_.list().back().number;
  u64 offset = request.offset;
  if (write.install) {
    offset += record_bytes(raft::encode(write.install->configuration).size());
    CHECK(groups_.install(write.group, *write.install).ok());
    cache_.forget(write.group);
  }
  if (write.hard_state) {
    offset += record_bytes(encode_vote(write.hard_state->vote).size());
    CHECK(groups_.set_hard_state(write.group, *write.hard_state).ok());
  }
  for (const Entry& entry : write.entries) {
    const u64 bytes = record_bytes(entry.payload.size());
    const Place place{segment, static_cast<u32>(offset), static_cast<u32>(bytes)};
    offset += bytes;
    CHECK(groups_.append(write.group, entry, place).ok());
    cache_.add(write.group, entry);
    ++counters_.entries;
  }
}

void SharedLog::settle(const Status& written) {
  if (!written.ok() && written.code() != Code::kNoSpace && !broken_) {
    broken_ = Error(Code::kIoError,
                    fmt::format("the Raft log in {} cannot be written any more ({}); this process "
                                "takes part in no group until it is restarted on a sound disk",
                                options_.directory, written.error().message()));
    LOG_ERROR("{}", broken_->context());
  }
  const Status outcome = broken_ ? Status(*broken_) : written;
  while (Request* request = writing_.pop_front()) {
    finish(*request, outcome);
  }
  // What waits may depend on what was not kept.
  while (!outcome.ok() && !queue_.empty()) {
    finish(*queue_.pop_front(), outcome);
  }
}

void SharedLog::finish(Request& request, const Status& outcome) {
  if (request.kind == Request::Kind::create) {
    beginning_.erase(request.group);
  }
  if (const auto found = fronts_.find(request.group);
      found != fronts_.end() &&
      (request.kind == Request::Kind::write || request.kind == Request::Kind::remove)) {
    Front& front = found->second;
    --front.pending;
    if (!outcome.ok()) {
      front.removing = request.kind == Request::Kind::remove ? false : front.removing;
      const bool retried = request.kind == Request::Kind::write && outcome.code() == Code::kNoSpace;
      front.failures_unseen += retried ? 1 : 0;
    }
  }
  if (!outcome.ok()) {
    request.error = outcome.error();
  }
  request.done.set();
}

Task<void> SharedLog::stop() {
  closing_ = true;
  queue_grew_.wake_all();
  reclaim_due_.wake_all();
  stopping_.wake_all();
  co_await gate_.close();
}

}  // namespace pangu::raft
