#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/prng.h"
#include "runtime/sync.h"
#include "wire/control.pb.h"
#include "wire/partition.h"

// The namespace groups of a cluster in memory, by the letter of docs/design/0006: every group has
// tables of its own, changes of several groups are prepared, committed and finished group by group,
// with time in between if the test says so, and what is locked waits. The truth, the tree as it is
// after the last commit, is kept beside it.
namespace pangu::client::testing {

class FakeTree {
 public:
  using Answer = Result<std::string>;  // a reply's bytes
  using Entries = std::map<std::string, pb::Entry>;
  // Directories by id: a whole tree.
  using Tree = std::map<u64, Entries>;

  // All must outlive it. `gate` runs what goes on after an answer.
  FakeTree(Reactor& reactor, Prng& prng, Gate& gate, u32 groups, u32 stream_groups);

  Task<Answer> lookup(u64 group, pb::LookupRequest request, Instant deadline);
  Task<Answer> list(u64 group, pb::ListRequest request, Instant deadline);
  Task<Answer> create(u64 group, pb::CreateFileRequest request, Instant deadline);
  Task<Answer> make_directory(u64 group, pb::MakeDirectoryRequest request, Instant deadline);
  Task<Answer> rename(u64 group, pb::RenameRequest request, Instant deadline);
  Task<Answer> remove(u64 group, pb::RemoveRequest request, Instant deadline);

  const pb::PartitionMap& map() const { return map_; }
  // A directory in the root directory with partitions of its own, empty.
  void add_subtree(u32 number, std::vector<u32> partitions, const std::string& name);
  // Nothing below this epoch is remembered: what was seen before is stale.
  void forget_moves();

  const Tree& truth() const { return truth_; }
  // What stands at a path in such a tree. kNotFound, kNotDirectory
  static Result<pb::Entry> find(const Tree& tree, const std::string& path);
  u64 group_of(u64 directory) const;
  u64 files() const { return files_; }

  // Each step of a change that touches several groups takes up to so long.
  Duration step_max;
  u64 commits = 0;
  u64 moves = 0;
  // The truth has changed.
  std::function<void()> on_commit;
  std::function<void(u64)> on_remove_file;

 private:
  enum class Kind : u8 { add_entry, erase_entry, add_directory, erase_directory, bury_directory };
  struct Step {
    Kind kind;
    u64 directory = 0;  // of the entry, or the directory itself
    std::string name;
    pb::Entry entry;
    u64 id = 0;  // erase_entry: what has to stand there
  };
  struct Part {
    std::vector<pb::Place> places;  // whose ways must be good
    std::vector<Step> steps;
  };
  using Parts = std::map<u64, Part>;  // by group
  struct Group {
    Tree directories;
    std::set<std::pair<u64, std::string>> entry_locks;
    std::set<u64> directory_locks;
    u64 moving = 0;  // the directory whose move is prepared
    std::multiset<u64> on_ways;  // directories of the ways of what is prepared: they must stay
    std::map<u64, u64> moved;
    u64 tree_epoch = 0;
    u64 tree_floor = 0;
    u64 files = 0;
  };

  Task<void> step();
  bool is_locked(const Group& group, const pb::Place& place) const;
  Status check_way(const Group& group, const pb::Place& place) const;
  Status check(const Group& group, const Part& part) const;
  Status check_step(const Group& group, const Step& step) const;
  void lock(Group& group, const Part& part, bool locked);
  static void apply(Group& group, const Step& step);
  void commit(const Parts& parts);
  // kBusy: a lock stood in the way. Everything is done in the truth when it returns.
  Task<Status> transact(Parts parts, u64 moves);
  Task<void> finish(Parts parts, u64 moved, u64 epoch);
  void finish_in(u64 group, const Part& part, u64 moved, u64 epoch);
  // The same, as often as locks are met.
  Task<Status> transact_patiently(Parts parts, u64 moves, Instant deadline);
  Task<Status> wait_unlocked(u64 group, std::vector<pb::Place> places, Instant deadline);
  void add_moves(Parts& parts, u64 moved);

  Reactor& reactor_;
  Prng& prng_;
  Gate& gate_;
  const u32 stream_groups_;
  pb::PartitionMap map_;
  std::map<u64, Group> groups_;
  Tree truth_;
  u64 files_ = 0;
  u64 root_epoch_ = 0;
  bool moving_ = false;
  WaitList unlocked_;
};

}  // namespace pangu::client::testing
