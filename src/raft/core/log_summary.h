#pragma once
#include <optional>
#include <vector>

#include "raft/core/entry.h"
#include "raft/core/message.h"

// What the core knows of the whole log without holding it: where it begins and ends, the term of
// every entry, and every configuration in it. Terms are kept as runs and configurations are rare,
// so the size is the number of elections and membership changes since the last compaction.
//
// A driver builds it at start: LogSummary(base of the log), then append() of every entry on disk.
namespace pangu::raft {

class LogSummary {
 public:
  // A log that begins after `base`: a snapshot's description, or {0/0, the first members} for a new
  // group, or {0/0, nobody} for a member that is about to be added to one.
  explicit LogSummary(SnapshotMeta base);

  // kCorrupt: not the next index, a term that goes back, or not a configuration. Nothing changes.
  Status append(const Entry& entry);
  // Removes the entries from `first` on. REQUIRES: base().index < first
  void truncate(Index first);
  // Forgets the entries up to `index`. REQUIRES: base().index <= index <= last().index
  void compact(Index index);

  LogId base() const { return base_; }
  LogId last() const { return last_; }
  // Nothing if the log does not hold it; base() itself has a term.
  std::optional<Term> term_at(Index index) const;
  bool holds(LogId id) const { return term_at(id.index) == id.term; }
  // The last entry at or before `index` with a term of at most `term`; base() if there is none.
  LogId last_at_most(Term term, Index index) const;

  // Thesis 4.1: the latest configuration in the log is in force, committed or not.
  const Configuration& configuration() const { return configurations_.back().configuration; }
  Index configuration_index() const { return configurations_.back().index; }
  // REQUIRES: base().index <= index
  const Configuration& configuration_at(Index index) const;
  SnapshotMeta describe(Index index) const;  // REQUIRES: base().index <= index <= last().index

  // All that a summary consists of, for keeping it. The first of both is at base().index.
  struct Run {
    Index first = 0;
    Term term;
  };
  struct Configured {
    Index index = 0;
    Configuration configuration;
  };
  const std::vector<Run>& runs() const { return runs_; }
  const std::vector<Configured>& configurations() const { return configurations_; }
  // kCorrupt: no summary consists of that.
  static Result<LogSummary> from_parts(std::vector<Run> runs,
                                       std::vector<Configured> configurations, Index last);

 private:
  LogId base_;
  LogId last_;
  std::vector<Run> runs_;                   // the first begins at base_.index
  std::vector<Configured> configurations_;  // the first is the one at base_.index
};

}  // namespace pangu::raft
