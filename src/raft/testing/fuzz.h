#pragma once
#include <queue>
#include <string>
#include <vector>

#include "base/prng.h"
#include "raft/testing/checker.h"

// A group under an adversary drawn from one seed: lost, doubled, late and reordered messages,
// one-way partitions, crashes that lose writes under way, slow disks, clocks of different speed,
// changes of members, snapshots and compaction, handovers, reads everywhere, sleeping groups. The
// checkers watch every step. Then the adversary rests, and the group must become one again: a
// leader, one log, a new command applied by every member.
namespace pangu::raft::testing {

struct FuzzReport {
  std::string failure;  // empty: everything held
  std::string scenario;
  u64 events = 0;
  u64 committed = 0;
  u64 elections = 0;
  u64 reads = 0;
  u64 crashes = 0;
  u64 changes = 0;
  u64 installs = 0;
};

struct FuzzOptions {
  u64 seed = 0;
  Duration chaos = milliseconds(4000);
  // Mutants are searched for broken safety only.
  bool check_recovery = true;
  void (*print)(const std::string& line) = nullptr;
};

class Fuzz {
 public:
  explicit Fuzz(const FuzzOptions& options);
  FuzzReport run();

 private:
  enum class Kind : u8 { deliver, persist, apply, tick, fetch, pull, restart, mischief, hunt };
  struct Event {
    Instant at;
    u64 order = 0;
    Kind kind = Kind::deliver;
    NodeId node;
    u64 incarnation = 0;
    Message message;
    bool operator<(const Event& other) const {
      return at != other.at ? other.at < at : other.order < order;
    }
  };
  // What the adversary of this seed likes.
  struct Manner {
    double loss = 0;
    double twice = 0;
    u64 delay_us_max = 0;
    u64 disk_us_max = 0;
    u64 mischief_us = 0;
    u64 weight_propose = 0;
    u64 weight_crash = 0;
    u64 weight_cut = 0;
    u64 weight_change = 0;
    u64 weight_compact = 0;
    u64 weight_transfer = 0;
    u64 weight_read = 0;
    u64 weight_reset = 0;
    // New leaders do not live long: what brings logs apart.
    u64 hunt_us_max = 0;
  };

  void draw();
  void schedule(Duration after, Kind kind, NodeId node);
  void send(const Message& message);
  void handle(Event& event);
  void wake_disk(NodeId id);
  void drive_until(Instant end);

  void mischief();
  void mischief_on(Node& node);
  void propose(Node& node);
  void crash(Node& node);
  void change_members(Node& node);
  void cut();
  void notice_leader(const Message& message);
  void hunt(Node& node);
  void recover();
  std::string not_recovered();
  Node* leader();
  std::vector<NodeId> members();

  FuzzOptions options_;
  Prng prng_;
  Manner manner_;
  Group group_;
  Checker checker_;
  std::priority_queue<Event> events_;
  u64 order_ = 0;
  bool calm_ = false;
  Term hunted_;
  std::vector<std::pair<NodeId, NodeId>> cuts_;
  std::vector<NodeId> nodes_;
  // A scheduled disk, apply, fetch or pull event per node: {incarnation, kind}.
  std::map<std::pair<NodeId, Kind>, u64> scheduled_;
  u64 next_read_ = 1;
  u64 next_command_ = 1;
  FuzzReport report_;
};

}  // namespace pangu::raft::testing
