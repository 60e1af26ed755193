#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>

#include "client/client_core.h"
#include "client/testing/client_fixture.h"

// Clients look up, list and change one small tree while its directories move about and groups finish
// their parts at different times. The truth after each commit is kept: every answer must have been
// true at one of the moments between its call and its return.
//
// PANGU_SEEDS=N runs N trees instead of the usual few; PANGU_SEED=S runs only that one.
namespace pangu::client::testing {
namespace {

using Tree = FakeTree::Tree;

class Forest {
 public:
  explicit Forest(u64 seed)
      : seed_(seed),
        prng_(hash_combine(seed, 2)),
        cluster_(seed, 3,
                 {.processes = static_cast<u32>(1 + Prng(seed).below(3)),
                  .namespace_groups = static_cast<u32>(1 + Prng(seed + 1).below(4))}) {
    FakeTree& tree = cluster_.master().tree();
    tree.step_max = prng_.chance(0.2) ? Duration{} : microseconds(static_cast<i64>(
                                                         prng_.between(1, 3000)));
    if (prng_.chance(0.3)) {
      tree.add_subtree(3, {0}, "a");
    }
    moments_.push_back(tree.truth());
    tree.on_commit = [this] { moments_.push_back(cluster_.master().tree().truth()); };
    cluster_.network().delay_max = microseconds(static_cast<i64>(prng_.between(20, 1000)));
    cluster_.network().loss = prng_.chance(0.5) ? 0 : prng_.unit() * 0.05;
    for (int i = 0; i < 4; ++i) {
      const u32 ways = prng_.chance(0.2) ? static_cast<u32>(prng_.below(4)) : 1000;
      clients_.push_back(cluster_.client({.ways_cached = ways}));
    }
  }

  void run() {
    for (auto& client : clients_) {
      for (int i = 0; i < 3; ++i) {
        gate_.spawn(cluster_.reactor(), "act", TaskClass::foreground, act(*client));
      }
    }
    gate_.spawn(cluster_.reactor(), "trouble", TaskClass::foreground, make_trouble());
    cluster_.run(gate_.close());
    for (auto& client : clients_) {
      cluster_.run(client->stop());
    }
    cluster_.run_for(seconds(1));
  }
  u64 answers() const { return answers_; }
  u64 moves() { return cluster_.master().tree().moves; }
  u64 stale() const {
    u64 sum = 0;
    for (const auto& client : clients_) {
      sum += client->counters().ways_stale;
    }
    return sum;
  }

 private:
  static constexpr std::string_view kNames[] = {"a", "b", "c"};
  std::string draw_path() {
    std::string out;
    do {
      out += '/';
      out += kNames[prng_.below(std::size(kNames))];
    } while (out.size() < 10 && prng_.chance(0.65));
    return out;
  }
  // Some moment since `first` at which `holds` was true.
  template <class F>
  void expect_moment(size_t first, const std::string& what, F holds) {
    ++answers_;
    for (size_t i = first; i < moments_.size(); ++i) {
      if (holds(i)) {
        return;
      }
    }
    ADD_FAILURE() << "seed " << seed_ << ": " << what << " was never so in moments " << first
                  << " to " << moments_.size() - 1;
  }
  static Code code_of(const Tree& tree, const std::string& path) {
    return FakeTree::find(tree, path).code();
  }
  static u64 id_of(const Tree& tree, const std::string& path) {
    const auto found = FakeTree::find(tree, path);
    return found.ok() ? found->id() : 0;
  }
  static bool says_nothing(Code code) {
    return code == Code::kUnavailable || code == Code::kUnknownOutcome;
  }

  Task<void> look(Client& client, std::string path) {
    const size_t first = moments_.size() - 1;
    auto found = co_await core_of(client).names.lookup(path, cluster_.reactor().now() + seconds(5));
    const Code code = found.code();
    if (says_nothing(code)) {
      co_return;
    }
    const u64 id = found.ok() ? found->id() : 0;
    expect_moment(first, fmt::format("{}: {} {:x}", path, code_name(code), id), [&](size_t i) {
      return code_of(moments_[i], path) == code && id_of(moments_[i], path) == id;
    });
  }

  Task<void> list(Client& client, std::string path) {
    const size_t first = moments_.size() - 1;
    auto page = co_await client.list(path);
    const Code code = page.code();
    if (says_nothing(code)) {
      co_return;
    }
    std::map<std::string, u64> listed;
    for (size_t i = 0; page.ok() && i < page->entries.size(); ++i) {
      listed[page->entries[i].name] = page->entries[i].id;
    }
    expect_moment(first, fmt::format("list {}: {}", path, code_name(code)), [&](size_t i) {
      const auto directory = FakeTree::find(moments_[i], path);
      if (!directory.ok() || directory->type() != pb::ENTRY_DIRECTORY) {
        return code == (directory.ok() ? Code::kNotDirectory : directory.code());
      }
      std::map<std::string, u64> there;
      for (const auto& [name, entry] : moments_[i].at(directory->id())) {
        there[name] = entry.id();
      }
      return code == Code::kOk && there == listed;
    });
  }

  // A change that was made: one commit after the call made it.
  template <class F>
  void expect_commit(size_t first, const std::string& what, F made) {
    expect_moment(first + 1, what,
                  [&](size_t i) { return made(moments_[i - 1], moments_[i]); });
  }
  void expect_refusal(size_t first, const std::string& what, Code code, const std::string& path,
                      const std::string& to) {
    expect_moment(first, what + " " + std::string(code_name(code)), [&](size_t i) {
      const Tree& tree = moments_[i];
      const Code here = code_of(tree, path);
      switch (code) {
        case Code::kAlreadyExists:
          return code_of(tree, to) == Code::kOk;
        case Code::kIsDirectory:
          return here == Code::kOk;
        case Code::kNotEmpty: {
          const auto directory = FakeTree::find(tree, path);
          return directory.ok() && directory->type() == pb::ENTRY_DIRECTORY &&
                 !tree.at(directory->id()).empty();
        }
        case Code::kInvalidArgument:
          return to.starts_with(path + "/");
        case Code::kNotFound:
        case Code::kNotDirectory:
          return here == code || code_of(tree, parent_path(to)) == code ||
                 code_of(tree, parent_path(path)) == code ||
                 (code == Code::kNotDirectory && code_of(tree, to) == code);
        default:
          return false;
      }
    });
  }

  Task<void> create(Client& client, std::string path) {
    const size_t first = moments_.size() - 1;
    auto made = co_await client.create(path, {.exclusive = true});
    if (made.ok()) {
      const u64 id = made->id;
      expect_commit(first, "create " + path, [&](const Tree& before, const Tree& after) {
        return id_of(before, path) == 0 && id_of(after, path) == id;
      });
    } else if (!says_nothing(made.code())) {
      expect_refusal(first, "create " + path, made.code(), path, path);
    }
  }

  Task<void> make_directory(Client& client, std::string path, bool parents) {
    const size_t first = moments_.size() - 1;
    auto made = co_await client.make_directory(path, parents);
    const std::string what = "mkdir " + path;
    if (made.ok() && parents) {
      const u64 id = made->id;
      expect_moment(first, what, [&](size_t i) { return id_of(moments_[i], path) == id; });
    } else if (made.ok()) {
      const u64 id = made->id;
      expect_commit(first, what, [&](const Tree& before, const Tree& after) {
        return id_of(before, path) == 0 && id_of(after, path) == id;
      });
    } else if (!says_nothing(made.code())) {
      expect_refusal(first, what, made.code(), path, path);
    }
  }

  Task<void> rename(Client& client, std::string from, std::string to) {
    const size_t first = moments_.size() - 1;
    auto done = co_await client.rename(from, to);
    const std::string what = "rename " + from + " " + to;
    if (done.ok()) {
      expect_commit(first, what, [&](const Tree& before, const Tree& after) {
        return id_of(before, from) != 0 && id_of(before, to) == 0 &&
               id_of(after, to) == id_of(before, from) && id_of(after, from) == 0;
      });
    } else if (!says_nothing(done.code())) {
      expect_refusal(first, what, done.code(), from, to);
    }
  }

  Task<void> remove(Client& client, std::string path, bool recursive) {
    const size_t first = moments_.size() - 1;
    auto removed = co_await client.remove(path, recursive);
    const std::string what = "remove " + path;
    if (removed.ok()) {
      expect_commit(first, what, [&](const Tree& before, const Tree& after) {
        return id_of(before, path) != 0 && id_of(after, path) == 0;
      });
    } else if (!says_nothing(removed.code())) {
      expect_refusal(first, what, removed.code(), path, path);
    }
  }

  Task<void> act(Client& client) {
    for (int i = 0; i < 60; ++i) {
      const std::string path = draw_path();
      const u64 kind = prng_.below(12);
      const bool flag = prng_.chance(0.5);
      if (kind < 4) {
        co_await look(client, path);
      } else if (kind < 5) {
        co_await list(client, path);
      } else if (kind < 7) {
        co_await create(client, path);
      } else if (kind < 9) {
        co_await make_directory(client, path, flag);
      } else if (kind < 11) {
        const std::string to = draw_path();
        co_await rename(client, path, to);
      } else {
        const bool recursive = prng_.chance(0.3);
        co_await remove(client, path, recursive);
      }
      if (prng_.chance(0.1)) {
        co_await sleep_for(microseconds(static_cast<i64>(prng_.below(3000))));
      }
    }
  }

  Task<void> make_trouble() {
    for (int i = 0; i < 10; ++i) {
      co_await sleep_for(microseconds(static_cast<i64>(prng_.below(30'000))));
      FakeMaster& master = cluster_.master();
      const std::vector<u64> groups = master.groups();
      const u64 group = groups[prng_.below(groups.size())];
      const u64 node = 1 + prng_.below(cluster_.masters());
      if (prng_.chance(0.3)) {
        master.tree().forget_moves();
      } else if (prng_.chance(0.5)) {
        master.elect(group, node);
        master.believe(group, node);
      } else {
        master.move_group(group, {node});
      }
    }
  }

  const u64 seed_;
  Prng prng_;
  FakeCluster cluster_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Tree> moments_;
  u64 answers_ = 0;
  Gate gate_;
};

TEST(TreeProperty, EveryAnswerWasTrueAtSomeMoment) {
  const char* one = std::getenv("PANGU_SEED");
  const char* many = std::getenv("PANGU_SEEDS");
  const u64 first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const u64 count = one != nullptr ? 1 : many != nullptr ? std::strtoull(many, nullptr, 10) : 15;
  u64 answers = 0;
  u64 moves = 0;
  u64 stale = 0;
  for (u64 seed = first; seed < first + count && !HasFailure(); ++seed) {
    Forest forest(seed);
    forest.run();
    answers += forest.answers();
    moves += forest.moves();
    stale += forest.stale();
  }
  EXPECT_GT(answers, count * 400);
  EXPECT_GT(moves, count);
  EXPECT_GT(stale, count);
}

}  // namespace
}  // namespace pangu::client::testing
