#pragma once
#include <optional>
#include <vector>

#include "raft/core/entry.h"
#include "raft/core/message.h"
#include "raft/core/read_queue.h"
#include "raft/core/types.h"

namespace pangu::raft {

// A snapshot to pull from `from`; then Core::on_snapshot_fetched() or on_snapshot_failed().
struct SnapshotFetch {
  NodeId from;
  SnapshotMeta meta;
};

// Entries for a member that LogView did not have in memory; then, in any case, Core::on_fetched():
// there is at most one such request for a member at a time.
struct EntryFetch {
  NodeId to;
  IndexRange range;
  u64 bytes_max = 0;
};

// What a driver has to do now. The parts do not wait for each other; what waits is kept in the core
// and comes out in a later Ready.
struct Ready {
  // Not 0: number of a write: `install`, then hard_state, then entries, all durable; then
  // Core::on_persisted(write). Writes complete in order; several may be under way. A crash may keep
  // any prefix of them.
  u64 write = 0;
  // Replace log and state machine by this fetched snapshot, so that a crash leaves either the old
  // ones or the new ones.
  std::optional<SnapshotMeta> install;
  std::optional<HardState> hard_state;
  // In order. If the first index is not the one after the stored log's end, cut the log there
  // first.
  Entries entries;
  // May leave at once, before and beside the write. In order per receiver, if that costs nothing.
  std::vector<Message> messages;
  // Newly to apply: durable here and committed. Then Core::on_applied(), in any steps.
  IndexRange committed;
  std::vector<ReadState> reads;
  std::vector<u64> reads_failed;  // contexts: ask again, perhaps elsewhere
  std::vector<EntryFetch> fetches;
  // Members that need a snapshot: make or pick one and call Core::offer_snapshot().
  std::vector<NodeId> snapshots_wanted;
  std::optional<SnapshotFetch> snapshot_fetch;

  bool empty() const {
    return write == 0 && messages.empty() && committed.empty() && reads.empty() &&
           reads_failed.empty() && fetches.empty() && snapshots_wanted.empty() && !snapshot_fetch;
  }
};

}  // namespace pangu::raft
