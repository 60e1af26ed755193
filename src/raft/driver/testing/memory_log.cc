#include "raft/driver/testing/memory_log.h"

#include <fmt/format.h>

#include "runtime/await.h"

namespace pangu::raft::testing {
namespace {

void copy_range(const MemoryDisk::Group& group, IndexRange range, u64 bytes_max, Entries& out) {
  u64 bytes = 0;
  for (Index index = range.first; index <= std::min(range.last, group.last()); ++index) {
    const Entry& entry = group.log[index - group.base.id.index - 1];
    bytes += entry.bytes();
    if (bytes > bytes_max && !out.empty()) {
      return;
    }
    out.push_back(entry);
  }
}

LogSummary summarise(const MemoryDisk::Group& group) {
  LogSummary log(group.base);
  for (const Entry& entry : group.log) {
    CHECK(log.append(entry).ok());
  }
  return log;
}

}  // namespace

struct MemoryLog::View final : LogView {
  MemoryDisk& disk;
  GroupId group;
  mutable u64 reads = 0;
  View(MemoryDisk& d, GroupId g) : disk(d), group(g) {}
  Found read(IndexRange range, u64 bytes_max, Entries& out) const override {
    ++reads;
    if (disk.forgets_every != 0 && reads % disk.forgets_every == 0) {
      return Found::not_in_memory;
    }
    const MemoryDisk::Group& found = disk.groups.at(group);
    CHECK(range.first > found.base.id.index && range.last <= found.last());
    copy_range(found, range, bytes_max, out);
    return Found::here;
  }
};

MemoryLog::MemoryLog(Reactor& reactor, MemoryDisk& disk)
    : disk_(disk), prng_(reactor.env().random()) {}
MemoryLog::~MemoryLog() = default;

Task<Status> MemoryLog::open() {
  co_return ok_status();
}

std::map<GroupId, LogStore::Recovered> MemoryLog::take_recovered() {
  std::map<GroupId, Recovered> out;
  for (const auto& [id, group] : disk_.groups) {
    out.emplace(id, Recovered{group.hard_state, summarise(group)});
  }
  return out;
}

Status MemoryLog::usable() const {
  if (stopped_) {
    return Error(Code::kClosed, "the log was stopped");
  }
  if (disk_.broken) {
    return Error(Code::kIoError, "the log is broken");
  }
  if (disk_.full) {
    return Error(Code::kNoSpace, "the log is full");
  }
  return ok_status();
}

Task<void> MemoryLog::delay() {
  if (disk_.write_max > Duration{}) {
    const u64 most = static_cast<u64>(disk_.write_max.ns);
    co_await sleep_for(nanoseconds(static_cast<i64>(prng_.below(most) + 1)));
  }
}

Task<Status> MemoryLog::create_group(GroupId group, SnapshotMeta base) {
  CO_TRY_VOID(usable());
  co_await delay();
  if (disk_.groups.contains(group) || disk_.removed.contains(group)) {
    co_return Error(Code::kAlreadyExists, fmt::format("group {}", group.value()));
  }
  disk_.groups[group].base = std::move(base);
  co_return ok_status();
}

Task<Status> MemoryLog::remove_group(GroupId group) {
  CO_TRY_VOID(usable());
  co_await delay();
  disk_.groups.erase(group);
  disk_.removed.insert(group);
  co_return ok_status();
}

// Whole or not at all: half of the writes that a crash interrupts are there after it.
Task<Status> MemoryLog::write(LogWrite write) {
  co_await writer_.take(1);
  Status done = usable();
  if (done.ok()) {
    const bool early = prng_.chance(0.5);
    if (early) {
      done = perform(write);
    }
    co_await delay();
    if (!early) {
      done = perform(write);
    }
  }
  writer_.give(1);
  co_return done;
}

Status MemoryLog::perform(LogWrite& write) {
  const auto found = disk_.groups.find(write.group);
  if (found == disk_.groups.end()) {
    return Error(Code::kNotFound, fmt::format("group {}", write.group.value()));
  }
  MemoryDisk::Group& group = found->second;
  if (write.install) {
    group.base = std::move(*write.install);
    group.log.clear();
  }
  for (Entry& entry : write.entries) {
    while (group.last() >= entry.index && !group.log.empty()) {
      group.log.pop_back();
    }
    CHECK(group.last() + 1 == entry.index);
    group.log.push_back(std::move(entry));
  }
  if (write.hard_state) {
    CHECK(write.hard_state->term >= group.hard_state.term);
    CHECK(write.hard_state->commit <= group.last());
    group.hard_state = *write.hard_state;
  }
  return ok_status();
}

const LogView& MemoryLog::view(GroupId group) const {
  std::unique_ptr<View>& view = views_[group];
  if (view == nullptr) {
    view = std::make_unique<View>(disk_, group);
  }
  return *view;
}

Task<Result<Entries>> MemoryLog::fetch(GroupId group, IndexRange range, u64 bytes_max) {
  const auto found = disk_.groups.find(group);
  if (found == disk_.groups.end() || range.first <= found->second.base.id.index ||
      range.first > found->second.last()) {
    co_return Error(Code::kNotFound, fmt::format("group {}: entry {} is not in the log",
                                                 group.value(), range.first));
  }
  Entries out;
  copy_range(found->second, range, bytes_max, out);
  co_return out;
}

Status MemoryLog::compact(GroupId group, Index index) {
  const auto found = disk_.groups.find(group);
  if (found == disk_.groups.end() || index > found->second.last()) {
    return Error(Code::kInvalidArgument, "the log does not hold it");
  }
  MemoryDisk::Group& each = found->second;
  if (index <= each.base.id.index) {
    return ok_status();
  }
  const SnapshotMeta base = summarise(each).describe(index);
  each.log.erase(each.log.begin(),
                 each.log.begin() + static_cast<std::ptrdiff_t>(index - each.base.id.index));
  each.base = base;
  return ok_status();
}

u64 MemoryLog::stored_bytes() const {
  u64 sum = 0;
  for (const auto& [id, group] : disk_.groups) {
    sum += stored_bytes(id);
  }
  return sum;
}

u64 MemoryLog::stored_bytes(GroupId group) const {
  const auto found = disk_.groups.find(group);
  return found == disk_.groups.end() ? 0 : found->second.log.size() * 64;
}

Task<void> MemoryLog::stop() {
  stopped_ = true;
  co_await writer_.take(1);
  writer_.give(1);
}

}  // namespace pangu::raft::testing
