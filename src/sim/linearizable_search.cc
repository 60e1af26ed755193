#include "sim/linearizable_search.h"

#include <algorithm>

namespace pangu::sim {

namespace {

// Trees that nobody can reach any more are thrown away when there are so many.
constexpr size_t kTreesSoft = 4096;
// More configurations than this are not compared with each other.
constexpr size_t kComparedMax = 512;

u64 hash_of(const NamespaceTree& tree) {
  u64 hash = tree.gone().size();
  for (const auto& [path, node] : tree.nodes()) {
    hash = hash_combine(hash64(path, hash), node.id << 1 | (node.directory ? 1 : 0));
  }
  return hash;
}

void drop(std::vector<u32>& calls, u32 call) {
  calls.erase(std::lower_bound(calls.begin(), calls.end(), call));
}
bool holds(const std::vector<u32>& calls, u32 call) {
  return std::binary_search(calls.begin(), calls.end(), call);
}

bool on_one_way(std::string_view a, std::string_view b) {
  return a == b || is_below(a, b) || is_below(b, a);
}

// What a call may look at or change: everything on the ways to and below these paths, and the ids.
struct Reach {
  std::vector<std::string_view> paths;
  std::vector<u64> ids;
};

Reach reach_of(const RecordedCall& call, const NamespaceTree& tree) {
  Reach reach{.paths = {call.op.path}, .ids = {}};
  if (!call.op.to.empty()) {
    reach.paths.push_back(call.op.to);
  }
  for (const NamespaceItem& item : call.answer.items) {
    reach.ids.push_back(item.id);
    for (const auto& [path, node] : tree.nodes()) {
      if (node.id == item.id) {
        reach.paths.push_back(path);
      }
    }
  }
  return reach;
}

bool meet(const Reach& a, const Reach& b) {
  for (const std::string_view one : a.paths) {
    for (const std::string_view other : b.paths) {
      if (on_one_way(one, other)) {
        return true;
      }
    }
  }
  return std::any_of(a.ids.begin(), a.ids.end(), [&](u64 id) {
    return std::find(b.ids.begin(), b.ids.end(), id) != b.ids.end();
  });
}

}  // namespace

u32 TreeTable::add(NamespaceTree tree) {
  std::vector<u32>& same_hash = by_hash_[hash_of(tree)];
  for (const u32 number : same_hash) {
    if (trees_[number] == tree) {
      return number;
    }
  }
  same_hash.push_back(static_cast<u32>(trees_.size()));
  trees_.push_back(std::move(tree));
  return same_hash.back();
}

std::optional<u32> TreeTable::step(u32 number, u32 call) {
  ++steps_;
  const auto [known, fresh] = known_.try_emplace(u64{number} << 32 | call, kImpossible);
  if (fresh) {
    known->second = compute(number, calls_[call]);
  }
  return known->second == kImpossible ? std::nullopt : std::optional(known->second);
}

u32 TreeTable::compute(u32 number, const RecordedCall& call) {
  const NamespaceAnswer expected = trees_[number].look(call.op);
  const bool ok = expected.code == Code::kOk;
  const bool changes = ok && trees_[number].changes(call.op);
  if (!call.answered() && !changes) {
    return kImpossible;
  }
  if (call.answered() && call.answer.code != expected.code) {
    return kImpossible;
  }
  if (!ok) {
    return number;
  }
  NamespaceTree next = trees_[number];
  if (changes) {
    next.change(call.op);
  }
  if (call.answered() && !next.learn(call.op, call.answer, expected)) {
    return kImpossible;
  }
  return add(std::move(next));
}

void TreeTable::keep(std::vector<u32*> numbers, const std::set<u64>& ids) {
  std::deque<NamespaceTree> old;
  old.swap(trees_);
  by_hash_.clear();
  known_.clear();
  for (u32* number : numbers) {
    NamespaceTree tree = old[*number];
    tree.forget_gone(ids);
    *number = add(std::move(tree));
  }
}

Search::Search(const std::vector<RecordedCall>& calls, const NamespaceTree& initial, u64 steps_max)
    : calls_(calls), steps_max_(steps_max), table_(calls) {
  configurations_.push_back({.tree = table_.add(initial), .open = {}});
  for (const RecordedCall& call : calls) {
    for (const NamespaceItem& item : call.answer.items) {
      u64& last = last_told_[item.id];
      last = std::max(last, call.returned);
    }
  }
}

void Search::settle(Configuration& configuration) {
  std::erase_if(configuration.open, [&](u32 call) {
    return calls_[call].answered() && table_.step(configuration.tree, call) == configuration.tree;
  });
}

std::optional<Configuration> Search::take(const Configuration& from, u32 call) {
  const auto tree = table_.step(from.tree, call);
  if (!tree) {
    return std::nullopt;
  }
  Configuration next{.tree = *tree, .open = from.open};
  drop(next.open, call);
  if (next.tree != from.tree) {
    settle(next);
  }
  return next;
}

void Search::called(u32 call) {
  for (Configuration& each : configurations_) {
    each.open.push_back(call);
    settle(each);
  }
}

std::set<u32> Search::relevant(const Configuration& from, u32 call) const {
  const NamespaceTree& tree = table_.tree(from.tree);
  std::vector<Reach> chosen = {reach_of(calls_[call], tree)};
  std::vector<std::pair<u32, Reach>> others;
  for (const u32 each : from.open) {
    if (each != call) {
      others.emplace_back(each, reach_of(calls_[each], tree));
    }
  }
  std::set<u32> out;
  for (size_t i = 0; i < chosen.size(); ++i) {  // grows while it goes
    for (auto& [number, reach] : others) {
      if (!out.contains(number) && meet(chosen[i], reach)) {
        out.insert(number);
        chosen.push_back(reach);
      }
    }
  }
  return out;
}

template <class Visit>
void Search::explore(const Configuration& from, u32 call, Visit visit) {
  const std::set<u32> others = relevant(from, call);
  std::vector<Path> paths = {{.configuration = from, .taken = {}}};
  std::set<Configuration> seen = {from};
  while (!paths.empty() && !gave_up()) {
    const Path path = std::move(paths.back());
    paths.pop_back();
    visit(path);
    if (!holds(path.configuration.open, call)) {
      continue;  // it took place because it changes nothing
    }
    for (const u32 other : path.configuration.open) {
      if (!others.contains(other)) {
        continue;
      }
      auto next = take(path.configuration, other);
      if (next && seen.insert(*next).second) {
        std::vector<u32> taken = path.taken;
        taken.push_back(other);
        paths.push_back({.configuration = std::move(*next), .taken = std::move(taken)});
      }
    }
  }
}

bool Search::can_wait(const Configuration& from, const std::vector<u32>& taken, u32 call,
                      const Configuration& result) {
  for (const u32 late : taken) {
    std::optional<Configuration> way = from;
    for (const u32 each : taken) {
      if (way && each != late && holds(way->open, each)) {
        way = take(*way, each);
      }
    }
    if (way && holds(way->open, call)) {
      way = take(*way, call);
    }
    if (way && holds(way->open, late)) {
      way = take(*way, late);
      if (way == result) {
        return true;
      }
    }
  }
  return false;
}

void Search::expand(const Configuration& from, u32 call, std::set<Configuration>& found) {
  explore(from, call, [&](const Path& path) {
    std::optional<Configuration> result = path.configuration;
    if (holds(path.configuration.open, call)) {
      result = take(path.configuration, call);
    }
    if (result && !found.contains(*result) && !can_wait(from, path.taken, call, *result)) {
      found.insert(std::move(*result));
    }
  });
}

void Search::returned(u32 call) {
  std::set<Configuration> found;
  for (const Configuration& each : configurations_) {
    if (!holds(each.open, call)) {
      found.insert(each);
    } else {
      expand(each, call, found);
    }
  }
  configurations_ = without_weaker(found);
  configurations_max_ = std::max(configurations_max_, configurations_.size());
  renew_table(calls_[call].returned);
}

std::set<std::string> Search::possible(u32 call) {
  std::set<std::string> out;
  for (const Configuration& each : configurations_) {
    explore(each, call, [&](const Path& path) {
      out.insert(to_string(table_.tree(path.configuration.tree).look(calls_[call].op)));
    });
  }
  return out;
}

std::vector<Configuration> Search::without_weaker(const std::set<Configuration>& found) const {
  const auto weaker = [&](const Configuration& a, const Configuration& b) {
    // Calls with answers must be open in both; those without only have to be in b.
    return a.tree == b.tree && a.open.size() < b.open.size() &&
           std::includes(b.open.begin(), b.open.end(), a.open.begin(), a.open.end()) &&
           std::all_of(
               b.open.begin(), b.open.end(),
               [&](u32 call) { return !calls_[call].answered() || holds(a.open, call); });
  };
  std::vector<Configuration> out;
  if (found.size() > kComparedMax) {
    out.assign(found.begin(), found.end());
    return out;
  }
  for (auto first = found.begin(); first != found.end();) {  // those of one tree stand together
    const auto end = std::find_if(first, found.end(),
                                  [&](const Configuration& c) { return c.tree != first->tree; });
    for (auto a = first; a != end; ++a) {
      if (std::none_of(first, end, [&](const Configuration& b) { return weaker(*a, b); })) {
        out.push_back(*a);
      }
    }
    first = end;
  }
  return out;
}

void Search::renew_table(u64 event) {
  if (table_.size() < kTreesSoft + 4 * configurations_.size()) {
    return;
  }
  std::set<u64> told;
  for (auto it = last_told_.begin(); it != last_told_.end();) {
    if (it->second > event) {
      told.insert((it++)->first);
    } else {
      it = last_told_.erase(it);
    }
  }
  std::vector<u32*> numbers;
  for (Configuration& each : configurations_) {
    numbers.push_back(&each.tree);
  }
  table_.keep(std::move(numbers), told);
}

}  // namespace pangu::sim
