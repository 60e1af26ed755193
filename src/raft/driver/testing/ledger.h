#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "raft/driver/replica.h"

// A state machine whose every state is known, and the oracle that knows it.
namespace pangu::raft::testing {

// Sees every operation and every command that any member applies.
//
// The object is a list of commands with "append" and "read all". Both happen at an index of the log:
// an append at its own, a read at what its member had applied. That is linearizable if and only if
// the order of indexes agrees with time: whatever began after another operation had ended stands
// behind it (a read may stand at the same place).
class Oracle {
 public:
  // What stood in the list for sure when an operation began.
  Index begin() const { return floor_; }
  std::string new_command(u64 size);
  void appended(u64 id, Index floor, Index index);
  void refused(u64 id);  // nothing happened, and never will
  void read(Index floor, Index index);
  // Member `node` applied this.
  void applied(u64 node, Index index, std::string_view command);

  static u64 id_of(std::string_view command);
  void fail(const std::string& what);
  const std::string& failure() const { return failure_; }
  u64 appends() const { return appends_; }
  u64 reads() const { return reads_; }
  // Every acknowledged append is in the list of who has applied all.
  void check_end(Index applied);

 private:
  Index floor_ = 0;
  u64 next_id_ = 1;
  std::map<Index, std::string> chosen_;
  std::map<u64, Index> place_;
  std::map<u64, Index> promised_;
  std::set<u64> refused_;
  std::string failure_;
  u64 appends_ = 0;
  u64 reads_ = 0;
};

// A state: the index and a hash of all commands up to it.
struct LedgerState {
  Index index = 0;
  u64 chain = 0;
  u64 commands = 0;
  bool operator==(const LedgerState&) const = default;
};

// What a crash keeps of a Ledger. Belongs to the test.
struct LedgerDisk {
  LedgerState flushed;
  std::map<Index, LedgerState> snapshots;
  // A snapshot on its way in.
  SnapshotImage staged;
  std::vector<std::string> staged_bytes;

  u64 snapshot_bytes = 100;  // how large a snapshot is
  Duration apply_max;        // a command takes a draw below this, now and then
  bool full = false;
  bool broken = false;
};

class Ledger final : public StateMachine {
 public:
  Ledger(Reactor& reactor, u64 node, LedgerDisk& disk, Oracle& oracle);

  Task<Status> apply(Index index, Payload command) override;
  Index applied() const override { return state_.index; }
  Index durable() const override { return disk_.flushed.index; }
  Task<Result<SnapshotImage>> make_snapshot() override;
  Task<Result<std::string>> read_piece(Index index, u32 piece, u64 offset, u32 length) override;
  void release_snapshot(Index index) override { disk_.snapshots.erase(index); }
  Task<Result<std::unique_ptr<SnapshotSink>>> begin_install(SnapshotImage image) override;

  // Makes all of it durable.
  void flush() { disk_.flushed = state_; }
  const LedgerState& state() const { return state_; }

 private:
  class Sink;
  // Pieces: the state itself, an empty one, and filling that follows from it.
  std::vector<std::string> pieces_of(const LedgerState& state) const;
  Status commit(const SnapshotImage& image);

  const u64 node_;
  LedgerDisk& disk_;
  Oracle& oracle_;
  Prng prng_;
  LedgerState state_;
  bool busy_ = false;
};

}  // namespace pangu::raft::testing
