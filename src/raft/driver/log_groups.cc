#include "raft/driver/log_groups.h"

#include <fmt/core.h>
#include <iterator>

#include "base/reached.h"

namespace pangu::raft {
namespace {

Error corrupt(std::string text) {
  return Error(Code::kCorrupt, std::move(text));
}

}  // namespace

// ---- segments ----

void LogSegments::add_live(const Place& place) {
  LogSegment& segment = at(place.segment);
  ++segment.live_entries;
  segment.live_bytes += place.bytes;
  live_bytes_ += place.bytes;
}

void LogSegments::drop_live(const Place& place) {
  if (place.segment == 0) {
    return;
  }
  LogSegment& segment = at(place.segment);
  --segment.live_entries;
  segment.live_bytes -= place.bytes;
  live_bytes_ -= place.bytes;
}

u64 LogSegments::bytes() const {
  u64 sum = 0;
  for (const LogSegment& segment : list_) {
    sum += segment.bytes;
  }
  return sum;
}

u64 LogSegments::record_bytes() const {
  u64 sum = 0;
  for (const LogSegment& segment : list_) {
    sum += segment.record_bytes();
  }
  return sum;
}

// ---- groups ----

GroupLog::GroupLog(StateBody state)
    : hard_state(state.hard_state), summary(std::move(state.summary)) {
  places.resize(summary.last().index - summary.base().index);
}

GroupLog* LogGroups::find(GroupId group) {
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : &found->second;
}

const GroupLog* LogGroups::find(GroupId group) const {
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : &found->second;
}

bool LogGroups::was_removed(GroupId group) const {
  const auto after = removed_.upper_bound(group.value());
  return after != removed_.begin() && std::prev(after)->second >= group.value();
}

void LogGroups::add_removed(u64 id) {
  const auto after = removed_.upper_bound(id);
  const bool joins_next = after != removed_.end() && after->first == id + 1;
  const u64 last = joins_next ? after->second : id;
  if (after != removed_.begin() && std::prev(after)->second + 1 == id) {
    std::prev(after)->second = last;
  } else {
    removed_.emplace(id, last);
  }
  if (joins_next) {
    removed_.erase(id + 1);
  }
}

Result<GroupLog*> LogGroups::existing(GroupId group) {
  GroupLog* log = find(group);
  if (log == nullptr) {
    return corrupt(fmt::format("of group {}, which is not there", group.value()));
  }
  return log;
}

void LogGroups::drop_last(GroupLog& log) {
  segments_.drop_live(log.places.back());
  log.live_bytes -= log.places.back().bytes;
  log.places.pop_back();
}

void LogGroups::drop_all(GroupLog& log) {
  while (!log.places.empty()) {
    drop_last(log);
  }
}

Status LogGroups::create(GroupId group, SnapshotMeta base) {
  if (groups_.contains(group) || was_removed(group)) {
    return corrupt(fmt::format("group {} begins a second time", group.value()));
  }
  groups_.emplace(group, GroupLog(std::move(base)));
  return ok_status();
}

Status LogGroups::remove(GroupId group) {
  TRY(log, existing(group));
  drop_all(*log);
  groups_.erase(group);
  add_removed(group.value());
  return ok_status();
}

Status LogGroups::install(GroupId group, SnapshotMeta base) {
  TRY(log, existing(group));
  drop_all(*log);
  log->summary = LogSummary(std::move(base));
  return ok_status();
}

Status LogGroups::set_hard_state(GroupId group, const HardState& hard_state) {
  TRY(log, existing(group));
  if (hard_state.term < log->hard_state.term || hard_state.commit < log->hard_state.commit) {
    return corrupt(fmt::format("the hard state of group {} goes back", group.value()));
  }
  log->hard_state = hard_state;
  return ok_status();
}

Status LogGroups::append(GroupId group, const Entry& entry, const Place& place) {
  TRY(log, existing(group));
  LogSummary& summary = log->summary;
  const auto before = summary.term_at(entry.index - 1);
  if (entry.index == 0 || !before || *before > entry.term || entry.term == Term{}) {
    return corrupt(fmt::format("entry {} of group {} cannot stand in a log of {} to {}",
                               to_string(entry.id()), group.value(), to_string(summary.base()),
                               to_string(summary.last())));
  }
  if (entry.kind == EntryKind::configuration) {
    TRY_VOID(decode_configuration(entry.payload.bytes()));
  }
  summary.truncate(entry.index);
  while (log->places.size() > summary.last().index - summary.base().index) {
    drop_last(*log);
  }
  TRY_VOID(summary.append(entry));
  log->places.push_back(place);
  log->live_bytes += place.bytes;
  segments_.add_live(place);
  return ok_status();
}

Status LogGroups::relocate(GroupId group, LogId id, const Place& place) {
  TRY(log, existing(group));
  if (!log->holds(id.index) || !log->summary.holds(id)) {
    return corrupt(fmt::format("a copy of entry {} of group {}, whose log does not hold it",
                               to_string(id), group.value()));
  }
  Place& old = log->places[id.index - log->summary.base().index - 1];
  segments_.drop_live(old);
  log->live_bytes = log->live_bytes - old.bytes + place.bytes;
  old = place;
  segments_.add_live(place);
  return ok_status();
}

void LogGroups::compact(GroupId group, Index index) {
  GroupLog& log = groups_.find(group)->second;
  for (Index i = log.summary.base().index; i < index; ++i) {
    segments_.drop_live(log.places.front());
    log.live_bytes -= log.places.front().bytes;
    log.places.pop_front();
  }
  log.summary.compact(index);
}

// ---- tables ----

TableBody LogGroups::describe() const {
  TableBody table{.groups = groups_.size(), .removed = {}};
  for (const auto& [first, last] : removed_) {
    table.removed.push_back({first, last});
  }
  return table;
}

void LogGroups::add_table(RecordWriter& writer) const {
  const std::string table = encode_table(describe());
  writer.add({.type = RecordType::table, .more = !groups_.empty()},
             as_bytes_of(std::string_view(table)));
  size_t left = groups_.size();
  for (const auto& [group, log] : groups_) {
    const std::string state = encode_state(log.hard_state, log.summary);
    --left;
    writer.add({.type = RecordType::state, .more = left > 0, .group = group},
               as_bytes_of(std::string_view(state)));
  }
}

void LogGroups::begin(const TableBody& table) {
  for (const TableBody::Range& range : table.removed) {
    removed_.emplace(range.first, range.last);
  }
}

Status LogGroups::restore(GroupId group, StateBody state) {
  return groups_.emplace(group, GroupLog(std::move(state))).second
             ? ok_status()
             : corrupt("two states of one group in a table");
}

Status LogGroups::verify(const TableBody& table) const {
  const TableBody expected = describe();
  return table.groups == expected.groups && table.removed == expected.removed
             ? ok_status()
             : corrupt("the table of a segment is not what the records before it lead to");
}

Status LogGroups::verify(GroupId group, const StateBody& state) {
  TRY(log, existing(group));
  const Index base = state.summary.base().index;
  if (base >= log->summary.base().index && base <= log->summary.last().index) {
    compact(group, base);
  }
  if (encode_state(log->hard_state, log->summary) !=
      encode_state(state.hard_state, state.summary)) {
    return corrupt(
        fmt::format("the state of group {} in the table of a segment is not what the "
                    "records before it lead to",
                    group.value()));
  }
  return ok_status();
}

Status LogGroups::settle(bool segments_were_deleted) {
  for (auto& [group, log] : groups_) {
    Index gone = 0;
    for (size_t i = log.places.size(); i > 0 && gone == 0; --i) {
      gone = log.places[i - 1].segment == 0 ? log.summary.base().index + i : 0;
    }
    if (gone > 0 && !segments_were_deleted) {
      return corrupt(fmt::format("entries of group {} up to {} are missing", group.value(), gone));
    }
    if (gone > 0) {
      REACHED("raft log: entries of deleted segments are compacted at open");
      compact(group, gone);
    }
    if (log.hard_state.commit > log.summary.last().index) {
      return corrupt(fmt::format("the log of group {} ends at {}, but {} was committed",
                                 group.value(), to_string(log.summary.last()),
                                 log.hard_state.commit));
    }
  }
  return ok_status();
}

}  // namespace pangu::raft
