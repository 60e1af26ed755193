#include "raft/core/log_summary.h"

#include <fmt/format.h>

namespace pangu::raft {

LogSummary::LogSummary(SnapshotMeta base)
    : base_(base.id),
      last_(base.id),
      runs_{{base.id.index, base.id.term}},
      configurations_{{base.id.index, std::move(base.configuration)}} {}

Result<LogSummary> LogSummary::from_parts(std::vector<Run> runs,
                                          std::vector<Configured> configurations, Index last) {
  const Error bad(Code::kCorrupt, "not the summary of a log");
  if (runs.empty() || configurations.empty() || runs.front().first > last ||
      configurations.front().index != runs.front().first) {
    return bad;
  }
  for (size_t i = 1; i < runs.size(); ++i) {
    if (runs[i].first <= runs[i - 1].first || runs[i].first > last ||
        runs[i].term <= runs[i - 1].term) {
      return bad;
    }
  }
  for (size_t i = 1; i < configurations.size(); ++i) {
    if (configurations[i].index <= configurations[i - 1].index ||
        configurations[i].index > last) {
      return bad;
    }
  }
  LogSummary out(SnapshotMeta{});
  out.base_ = {runs.front().term, runs.front().first};
  out.last_ = {runs.back().term, last};
  out.runs_ = std::move(runs);
  out.configurations_ = std::move(configurations);
  return out;
}

Status LogSummary::append(const Entry& entry) {
  if (entry.index != last_.index + 1 || entry.term < last_.term || entry.term == Term{}) {
    return Error(Code::kCorrupt,
                 fmt::format("entry {} cannot follow {}", to_string(entry.id()), to_string(last_)));
  }
  if (entry.kind == EntryKind::configuration) {
    TRY(configuration, decode_configuration(entry.payload.bytes()));
    configurations_.push_back({entry.index, std::move(configuration)});
  }
  if (entry.term != last_.term) {
    runs_.push_back({entry.index, entry.term});
  }
  last_ = entry.id();
  return ok_status();
}

void LogSummary::truncate(Index first) {
  CHECK(first > base_.index);
  if (first > last_.index) {
    return;
  }
  last_ = {*term_at(first - 1), first - 1};
  while (runs_.back().first >= first) {
    runs_.pop_back();
  }
  while (configurations_.back().index >= first) {
    configurations_.pop_back();
  }
}

void LogSummary::compact(Index index) {
  CHECK(base_.index <= index && index <= last_.index);
  base_ = {*term_at(index), index};
  while (runs_.size() > 1 && runs_[1].first <= index) {
    runs_.erase(runs_.begin());
  }
  runs_.front().first = index;
  while (configurations_.size() > 1 && configurations_[1].index <= index) {
    configurations_.erase(configurations_.begin());
  }
  configurations_.front().index = index;
}

std::optional<Term> LogSummary::term_at(Index index) const {
  if (index < base_.index || index > last_.index) {
    return std::nullopt;
  }
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                      [](Index at, const Run& run) { return at < run.first; });
  return std::prev(after)->term;
}

LogId LogSummary::last_at_most(Term term, Index index) const {
  index = std::min(index, last_.index);
  auto run = runs_.end();
  while (run != runs_.begin()) {
    --run;
    if (run->first <= index && run->term <= term) {
      return {run->term, index};
    }
    if (run->first <= index && run->first > 0) {
      index = run->first - 1;
    }
  }
  return base_;
}

const Configuration& LogSummary::configuration_at(Index index) const {
  CHECK(index >= base_.index);
  auto at = std::prev(configurations_.end());
  while (at->index > index) {
    --at;
  }
  return at->configuration;
}

SnapshotMeta LogSummary::describe(Index index) const {
  CHECK(base_.index <= index && index <= last_.index);
  return {{*term_at(index), index}, configuration_at(index)};
}

}  // namespace pangu::raft
