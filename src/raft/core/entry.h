#pragma once
#include <vector>

#include "raft/core/payload.h"
#include "raft/core/types.h"

namespace pangu::raft {

// On disk and wire: never renumber.
enum class EntryKind : u8 {
  command = 1,        // for the state machine
  empty = 2,          // a new leader's first entry (paper 8): nothing to apply
  configuration = 3,  // payload: configuration.h; in force from when it is in the log (thesis 4.1)
};

struct Entry {
  Term term;
  Index index = 0;
  EntryKind kind = EntryKind::command;
  Payload payload;

  LogId id() const { return {term, index}; }
  // What it counts against windows and limits; near what it takes in memory and on the wire.
  u64 bytes() const { return payload.size() + 32; }
};

using Entries = std::vector<Entry>;

// Reads what on_persisted() covers and compact() has not removed. Implemented by the driver, over a
// bounded cache of recent entries in front of its log on disk. Must outlive the core.
class LogView {
 public:
  enum class Found : u8 { here, not_in_memory };
  virtual ~LogView() = default;
  // Appends to `out` the entries from range.first on, in order, up to range.last or until they
  // have `bytes_max` bytes, at least one. not_in_memory: `out` is untouched, and the core asks for
  // an asynchronous fetch (Ready::fetches).
  virtual Found read(IndexRange range, u64 bytes_max, Entries& out) const = 0;
};

}  // namespace pangu::raft
