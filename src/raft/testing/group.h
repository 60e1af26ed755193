#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raft/core/core.h"

// A group of real cores on simulated disks, state machines and clocks. It decides nothing: scripts
// and the fuzzer say what happens next. All nodes share one simulated time.
namespace pangu::raft::testing {

// An entry and the hash of the log up to it: equal chains mean equal logs, and, because that hash
// is also what applying the entries makes of a state machine, equal states.
struct Stored {
  Entry entry;
  u64 chain = 0;
};
u64 extend(u64 chain, const Entry& entry);

// A place in the log and the chain there.
struct Point {
  LogId id;
  u64 chain = 0;
};

// What survives a crash.
struct Disk {
  HardState hard_state;
  SnapshotMeta base;
  u64 base_chain = 0;
  std::deque<Stored> log;  // from base.id.index + 1 on
  Point flushed;           // what the state machine has durably applied

  Index last() const { return base.id.index + log.size(); }
  const Stored* find(Index index) const {
    return index <= base.id.index || index > last() ? nullptr : &log[index - base.id.index - 1];
  }
  // The chain at index, if the disk knows it.
  std::optional<u64> chain_at(Index index) const;
};

class Node : public LogView {
 public:
  NodeId id;
  Disk disk;
  u64 incarnation = 0;
  std::unique_ptr<Core> core;  // null: crashed
  // Handed out and not yet durable, in order; entries with their chains.
  struct Write {
    Ready ready;
    std::vector<Stored> entries;
    std::optional<u64> install_chain;
  };
  std::deque<Write> writes;
  // The log as the core has it in memory: for the checkers.
  Disk memory;
  Point applied;
  std::vector<std::string> commands;  // applied since the start, for scripts
  Index to_apply = 0;                 // the core said so
  std::vector<EntryFetch> fetches;
  struct Pull {
    SnapshotMeta meta;
    u64 chain = 0;
  };
  std::optional<Pull> pull;
  std::optional<Pull> pulled;  // fetched, and not yet durably installed
  // Latest finished reads.
  std::map<u64, Index> reads;
  // Every n-th entry is answered as not in memory; 0: none.
  u64 forgets_every = 0;

  Found read(IndexRange range, u64 bytes_max, Entries& out) const override;
};

// Sees everything that happens; complains by Group::fail().
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_ready(Node& node, const Ready& ready) = 0;  // before anything of it is done
  virtual void after_step(Node& node) = 0;
  virtual void on_read_asked(u64 context) = 0;
  virtual void on_crash(Node& node) = 0;
  virtual void on_applied(Node& node) = 0;
};

class Group {
 public:
  using Send = std::function<void(const Message&)>;
  using Trace = std::function<void(const std::string&)>;

  // `send` takes every message that leaves a node; `trace` may be null.
  Group(Options options, u64 seed, Send send, Trace trace);

  Options options;
  Instant now = Instant{1'000'000'000};
  std::map<NodeId, Node> nodes;
  Observer* observer = nullptr;

  // A node that begins with these members at the beginning of the log.
  Node& add(NodeId id, const Configuration& configuration);
  Node& at(NodeId id) { return nodes.at(id); }
  // The node's own clock.
  Instant local(NodeId id) const;
  // Clocks run at different speeds, in thousandths.
  void set_speed(NodeId id, i64 thousandths) { speed_[id] = thousandths; }

  void step(NodeId id, const Message& message);
  void tick(NodeId id);
  // Any event of the core, then what follows from it.
  template <class Action>
  auto act(NodeId id, Action action) {
    Node& node = at(id);
    node.core->note_time(local(id));
    auto result = action(*node.core);
    drive(node);
    return result;
  }
  Status read(NodeId id, u64 context);

  bool persist_one(NodeId id);   // the oldest write becomes durable
  bool apply_one(NodeId id);     // the next committed entry
  void flush(NodeId id);         // what is applied becomes durable
  bool finish_fetch(NodeId id);  // entries read from disk
  bool finish_pull(NodeId id,
                   const Node* source);  // a snapshot arrived; null, or not applied there: failed
  void compact(NodeId id, Index index);  // flushes as far as needed

  // Writes under way are lost, but for the first `survive` of them; `torn`: and of the one after
  // those everything but the entries after the first so many.
  void crash(NodeId id, size_t survive, std::optional<size_t> torn = std::nullopt);
  void restart(NodeId id);

  void fail(const std::string& what);
  const std::string& failure() const { return failure_; }
  void trace(const std::string& line) {
    if (trace_) {
      trace_(line);
    }
  }
  bool tracing() const { return static_cast<bool>(trace_); }

 private:
  void drive(Node& node);
  void take(Node& node, Ready ready);
  void make_durable(Node& node, Node::Write& write);

  u64 seed_;
  Send send_;
  Trace trace_;
  std::map<NodeId, i64> speed_;
  std::string failure_;
};

}  // namespace pangu::raft::testing
