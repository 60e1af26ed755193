#include <gtest/gtest.h>

#include "client/client_core.h"
#include "client/testing/client_fixture.h"

// Paths, ways and changes of the tree over several groups.
namespace pangu::client::testing {
namespace {

class NamesTest : public ClientFixture {
 protected:
  ~NamesTest() override { cluster.run(other->stop()); }
  void make(const std::string& path) {
    const auto made = cluster.run(client->make_directory(path, true));
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
  void create(const std::string& path) {
    const auto made = cluster.run(client->create(path));
    ASSERT_TRUE(made.ok()) << made.error().message();
  }
  u64 id(const std::string& path) {
    const auto found = FakeTree::find(cluster.master().tree().truth(), path);
    return found.ok() ? found->id() : 0;
  }
  // As `other` sees it.
  Result<pb::Entry> look(const std::string& path) {
    return cluster.run(
        core_of(*other).names.lookup(path, cluster.reactor().now() + seconds(10)));
  }
  void rename(const std::string& from, const std::string& to) {
    const auto done = cluster.run(client->rename(from, to));
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  static std::string deep(int depth) {
    std::string out;
    for (int i = 1; i <= depth; ++i) {
      out += fmt::format("/directory-{}", i);
    }
    return out;
  }

  std::unique_ptr<Client> other = cluster.client();
};

TEST_F(NamesTest, APathOfAnyDepthTakesOneParallelRound) {
  make(deep(15));
  create(deep(15) + "/file");
  cluster.network().delay_min = cluster.network().delay_max = milliseconds(1);
  ASSERT_TRUE(look("/").ok());
  ASSERT_EQ(look("/nothing").code(), Code::kNotFound);  // now it has the map
  const ClientCounters& counters = other->counters();
  const u64 calls = counters.master_calls;
  const u64 rounds = counters.lookup_rounds;
  const Instant start = cluster.reactor().now();
  ASSERT_EQ(look(deep(15) + "/file")->id(), id(deep(15) + "/file"));
  EXPECT_EQ(counters.lookup_rounds, rounds + 1);
  EXPECT_LE(counters.master_calls, calls + 3);  // one a group
  EXPECT_LT(cluster.reactor().now() - start, microseconds(2100));  // one there and back
  // From then on the group that has the directory is asked, once.
  const u64 warm = counters.master_calls;
  ASSERT_EQ(look(deep(15) + "/file")->id(), id(deep(15) + "/file"));
  ASSERT_EQ(look(deep(15) + "/nothing").code(), Code::kNotFound);
  ASSERT_EQ(look(deep(7) + "/directory-8")->id(), id(deep(8)));
  EXPECT_EQ(counters.master_calls, warm + 3);
  EXPECT_EQ(counters.lookup_rounds, rounds + 1);
}

TEST_F(NamesTest, ErrorsNameTheFirstPartThatIsWrong) {
  make("/a/b");
  create("/a/b/f");
  const auto text = [this](const std::string& path) {
    const auto found = look(path);
    return found.ok() ? "ok" : found.error().message();
  };
  EXPECT_EQ(text("/a/x/y/z"), "not found: '/a/x' does not exist");
  EXPECT_EQ(text("/a/b/f/y/z"), "not a directory: '/a/b/f' is a file");
  EXPECT_EQ(text("/x"), "not found: '/x' does not exist");
  EXPECT_EQ(text("/a/b/x"), "not found: '/a/b/x' does not exist");
  EXPECT_EQ(look("a").code(), Code::kInvalidArgument);
  EXPECT_EQ(cluster.run(other->list("/a/b/f")).code(), Code::kNotDirectory);
  EXPECT_EQ(cluster.run(other->create("/a/c/d")).error().message(),
            "not found: '/a/c' does not exist");
  EXPECT_EQ(cluster.run(other->create("/a/b")).code(), Code::kIsDirectory);
  EXPECT_EQ(cluster.run(other->create("/a/b/f")).error().message(),
            "already exists: '/a/b/f' exists");
  EXPECT_EQ(cluster.run(other->create("/")).code(), Code::kIsDirectory);
  EXPECT_EQ(cluster.run(other->make_directory("/")).code(), Code::kAlreadyExists);
  EXPECT_EQ(cluster.run(other->make_directory("/", true))->id, 1u);
  EXPECT_EQ(cluster.run(other->make_directory("/a/b/f/g", true)).code(), Code::kNotDirectory);
  EXPECT_EQ(cluster.run(other->make_directory("/a/b/f", true)).code(), Code::kAlreadyExists);
  EXPECT_EQ(cluster.run(other->remove("/")).code(), Code::kInvalidArgument);
  EXPECT_EQ(cluster.run(other->remove("/a")).error().message(),
            "directory is not empty: '/a' holds entries");
  EXPECT_EQ(cluster.run(other->rename("/a", "/a/b/c")).code(), Code::kInvalidArgument);
  EXPECT_EQ(cluster.run(other->rename("/a/b", "/a/b")).code(), Code::kAlreadyExists);
  EXPECT_EQ(cluster.run(other->rename("/x", "/a/x")).code(), Code::kNotFound);
  EXPECT_EQ(cluster.run(other->rename("/a/b/f", "/x/f")).code(), Code::kNotFound);
}

TEST_F(NamesTest, AMovedDirectoryIsFoundInOneRoundMoreAndThenRemembered) {
  make("/a/b/c/d");
  create("/a/b/c/d/f");
  make("/z");
  rename("/a/b", "/z/new");
  const ClientCounters& counters = other->counters();
  ASSERT_TRUE(look("/z").ok());
  const u64 rounds = counters.lookup_rounds;
  EXPECT_EQ(look("/z/new/c/d/f")->id(), id("/z/new/c/d/f"));
  EXPECT_EQ(counters.lookup_rounds, rounds + 2);
  create("/z/new/c/g");
  EXPECT_EQ(look("/z/new/c/g")->id(), id("/z/new/c/g"));
  EXPECT_EQ(counters.lookup_rounds, rounds + 2);
  // The old name is free; its new bearer gets another id.
  make("/a/b/c");
  EXPECT_NE(id("/a/b"), id("/z/new"));
  EXPECT_EQ(look("/a/b/c")->id(), id("/a/b/c"));
  EXPECT_EQ(look("/a/b/c/d").code(), Code::kNotFound);
}

TEST_F(NamesTest, AWayThatBecameOldIsLookedUpAgainAndNothingElse) {
  make("/a/b/c");
  make("/k/l");
  create("/a/b/c/f");
  create("/k/l/f");
  ASSERT_TRUE(look("/a/b/c/f").ok());
  ASSERT_TRUE(look("/k/l/f").ok());
  rename("/a/b", "/moved");
  const ClientCounters& counters = other->counters();
  const u64 stale = counters.ways_stale;
  EXPECT_EQ(look("/a/b/c/f").code(), Code::kNotFound);
  EXPECT_EQ(counters.ways_stale, stale + 1);
  EXPECT_EQ(look("/moved/c/f")->id(), id("/moved/c/f"));
  const u64 rounds = counters.lookup_rounds;
  EXPECT_TRUE(look("/k/l/f").ok());
  EXPECT_EQ(counters.ways_stale, stale + 1);
  EXPECT_EQ(counters.lookup_rounds, rounds);
  // Changes through old ways do not go astray either.
  rename("/moved/c", "/c");
  EXPECT_EQ(cluster.run(other->create("/moved/c/g")).code(), Code::kNotFound);
  make("/moved/c");
  EXPECT_TRUE(cluster.run(other->create("/moved/c/g")).ok());
  EXPECT_NE(id("/moved/c/g"), 0u);
  EXPECT_EQ(id("/c/g"), 0u);
}

TEST_F(NamesTest, ADirectoryThatWasRemovedAndMadeAgainIsTheNewOne) {
  make("/a/b");
  ASSERT_TRUE(look("/a/b").ok());
  ASSERT_EQ(cluster.run(other->list("/a/b"))->entries.size(), 0u);
  ASSERT_EQ(*cluster.run(client->remove("/a/b")), Removed::empty_directory);
  EXPECT_EQ(cluster.run(other->list("/a/b")).code(), Code::kNotFound);
  EXPECT_EQ(cluster.run(other->create("/a/b/f")).code(), Code::kNotFound);
  make("/a/b/c");
  EXPECT_TRUE(cluster.run(other->create("/a/b/f")).ok());
  EXPECT_EQ(cluster.run(other->list("/a/b"))->entries.size(), 2u);
  EXPECT_EQ(cluster.run(client->remove("/a/b")).code(), Code::kNotEmpty);
  EXPECT_EQ(*cluster.run(client->remove("/a/b", true)), Removed::tree);
  EXPECT_EQ(cluster.run(other->create("/a/b/c/g")).code(), Code::kNotFound);
  make("/a/b/c");
  EXPECT_TRUE(cluster.run(other->create("/a/b/c/g")).ok());
  EXPECT_EQ(*cluster.run(client->remove("/a/b/c/g", true)), Removed::file);
  EXPECT_EQ(*cluster.run(client->remove("/a/b/c", true)), Removed::empty_directory);
}

TEST_F(NamesTest, SeveralClientsMakeTheSameDirectoriesAtOnce) {
  cluster.master().tree().step_max = milliseconds(2);
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<Result<Entry>> made;
  const auto one = [](Client& by, std::vector<Result<Entry>>& into) -> Task<void> {
    auto done = co_await by.make_directory("/x/y/z/w", true);
    into.push_back(std::move(done));
  };
  for (int i = 0; i < 8; ++i) {
    clients.push_back(cluster.client());
    cluster.reactor().spawn("mkdir", TaskClass::foreground, one(*clients.back(), made));
  }
  while (made.size() < clients.size()) {
    cluster.run_for(milliseconds(1));
  }
  for (const auto& each : made) {
    ASSERT_TRUE(each.ok()) << each.error().message();
    EXPECT_EQ(each->id, id("/x/y/z/w"));
  }
  for (auto& each : clients) {
    cluster.run(each->stop());
  }
}

TEST_F(NamesTest, ASubtreeOfItsOwnIsGuessedToo) {
  ASSERT_EQ(look("/nothing").code(), Code::kNotFound);  // it has the old map
  cluster.master().tree().add_subtree(5, {2}, "logs");
  make("/logs/2026/11");
  create("/logs/2026/11/f");
  EXPECT_EQ(cluster.master().tree().group_of(id("/logs/2026/11")), 4098u);
  EXPECT_EQ(look("/logs/2026/11/f")->id(), id("/logs/2026/11/f"));
  EXPECT_EQ(other->counters().maps_fetched, 2u);
  auto third = cluster.client();
  EXPECT_TRUE(cluster.run(third->list("/logs/2026/11")).ok());
  EXPECT_EQ(third->counters().lookup_rounds, 1u);
  cluster.run(third->stop());
}

TEST_F(NamesTest, WaysFromBeforeAnybodyRemembersAreLookedUpAgain) {
  make("/a/b");
  create("/a/f");
  ASSERT_TRUE(look("/a/b").ok());
  make("/k");
  rename("/k", "/l");
  cluster.master().tree().forget_moves();
  EXPECT_EQ(look("/a/f")->id(), id("/a/f"));
  EXPECT_TRUE(cluster.run(other->create("/a/b/f")).ok());
  // And of the root directory, for one that has just come.
  auto third = cluster.client();
  EXPECT_TRUE(cluster.run(third->create("/g")).ok());
  EXPECT_EQ(cluster.run(third->list("/"))->entries.size(), 3u);
  cluster.run(third->stop());
}

TEST_F(NamesTest, FilesAreRenamedAcrossGroups) {
  make("/from");
  std::vector<std::string> folders;
  for (int i = 0; i < 9; ++i) {
    folders.push_back(fmt::format("/to-{}", i));
    make(folders.back());
  }
  for (const std::string& folder : folders) {
    create("/from/f");
    const u64 file = id("/from/f");
    rename("/from/f", folder + "/g");
    EXPECT_EQ(id(folder + "/g"), file);
    EXPECT_EQ(look("/from/f").code(), Code::kNotFound);
    create("/from/f");
    EXPECT_EQ(cluster.run(client->rename("/from/f", folder + "/g")).error().message(),
              fmt::format("already exists: '{}/g' exists", folder));
    EXPECT_EQ(*cluster.run(client->remove("/from/f")), Removed::file);
  }
  EXPECT_EQ(cluster.master().tree().moves, 0u);
}

TEST_F(NamesTest, LongDirectoriesComeInPages) {
  make("/long");
  for (int i = 0; i < 2500; ++i) {
    create(fmt::format("/long/{:05}", i));
  }
  std::vector<std::string> names;
  std::string after;
  for (bool more = true; more;) {
    const auto page = cluster.run(other->list("/long", after, 999));
    ASSERT_TRUE(page.ok());
    for (const Entry& entry : page->entries) {
      names.push_back(entry.name);
    }
    after = names.back();
    more = page->more;
  }
  ASSERT_EQ(names.size(), 2500u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(other->counters().lookup_rounds, 1u);
}

TEST_F(NamesTest, FewWaysAreEnoughToGoOn) {
  auto forgetful = cluster.client({.ways_cached = 3});
  for (int i = 0; i < 30; ++i) {
    const std::string path = fmt::format("/a/b-{}/c", i % 7);
    EXPECT_TRUE(cluster.run(forgetful->make_directory(path, true)).ok());
    EXPECT_TRUE(cluster.run(forgetful->create(fmt::format("{}/{}", path, i))).ok());
  }
  EXPECT_EQ(cluster.run(forgetful->list("/a"))->entries.size(), 7u);
  cluster.run(forgetful->stop());
}

}  // namespace
}  // namespace pangu::client::testing
