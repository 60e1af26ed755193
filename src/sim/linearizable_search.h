#pragma once
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "sim/history.h"

// The search of linearizable.h, step by step.
namespace pangu::sim {

// Trees by number, each once; and what each call makes of each.
class TreeTable {
 public:
  explicit TreeTable(const std::vector<RecordedCall>& calls) : calls_(calls) {}

  u32 add(NamespaceTree tree);
  const NamespaceTree& tree(u32 number) const { return trees_[number]; }
  // The tree after the call took place in that one; nothing: its answer would be another. A call
  // without an answer has to change the tree: one that does not may as well never take place.
  std::optional<u32> step(u32 number, u32 call);
  u64 steps() const { return steps_; }
  size_t size() const { return trees_.size(); }
  // Keeps only those trees, and of their ids of removed files only those; renumbers `numbers`.
  void keep(std::vector<u32*> numbers, const std::set<u64>& ids);

 private:
  struct NumberHash {
    size_t operator()(u64 number) const { return hash64(number); }
  };
  template <class Value>
  using ByNumber = std::unordered_map<u64, Value, NumberHash>;  // never iterated
  static constexpr u32 kImpossible = ~u32{0};
  u32 compute(u32 number, const RecordedCall& call);

  const std::vector<RecordedCall>& calls_;
  std::deque<NamespaceTree> trees_;
  ByNumber<std::vector<u32>> by_hash_;
  ByNumber<u32> known_;  // by tree and call
  u64 steps_ = 0;
};

// A way in which everything up to now may have happened.
struct Configuration {
  u32 tree = 0;
  std::vector<u32> open;  // calls that have not taken place, ascending
  auto operator<=>(const Configuration&) const = default;
};

class Search {
 public:
  Search(const std::vector<RecordedCall>& calls, const NamespaceTree& initial, u64 steps_max);

  // The next event: a call is made, or its answer comes. After the latter there may be no
  // configuration left.
  void called(u32 call);
  void returned(u32 call);

  const std::vector<Configuration>& configurations() const { return configurations_; }
  const NamespaceTree& tree(const Configuration& configuration) const {
    return table_.tree(configuration.tree);
  }
  // What `call` may be answered if it takes place next, or after others that are open.
  std::set<std::string> possible(u32 call);
  bool gave_up() const { return table_.steps() > steps_max_; }
  u64 steps() const { return table_.steps(); }
  size_t configurations_max() const { return configurations_max_; }

 private:
  struct Path {
    Configuration configuration;
    std::vector<u32> taken;  // what took place to get here
  };

  // Lets it take place; nothing: it cannot. REQUIRES: it is open
  std::optional<Configuration> take(const Configuration& from, u32 call);
  // Lets everything take place that changes nothing.
  void settle(Configuration& configuration);
  // Goes through what may be just before `call` takes place: `visit` gets each Path. Where the call
  // is not open any more, it took place at the Path's end because it changes nothing.
  template <class Visit>
  void explore(const Configuration& from, u32 call, Visit visit);
  void expand(const Configuration& from, u32 call, std::set<Configuration>& found);
  // Whether one of the calls taken could as well take place after the last of them.
  bool can_wait(const Configuration& from, const std::vector<u32>& taken, u32 call,
                const Configuration& result);
  // The open calls that may make a difference to `call`, directly or through others.
  std::set<u32> relevant(const Configuration& from, u32 call) const;
  std::vector<Configuration> without_weaker(const std::set<Configuration>& found) const;
  void renew_table(u64 event);

  const std::vector<RecordedCall>& calls_;
  const u64 steps_max_;
  TreeTable table_;
  std::vector<Configuration> configurations_;
  size_t configurations_max_ = 1;
  std::map<u64, u64> last_told_;  // by id: the last event that tells it
};

}  // namespace pangu::sim
