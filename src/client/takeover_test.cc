#include <gtest/gtest.h>

#include "client/testing/client_fixture.h"
#include "wire/unit.h"

// What the next opener does with a file that its writer left open.
namespace pangu::client::testing {
namespace {

class TakeoverTest : public ClientFixture {
 protected:
  TakeoverTest() : ClientFixture(3) {}
  ~TakeoverTest() override {
    next.reset();
    cluster.run(other->stop());
  }

  void append_ok(u64 size) {
    const std::string text = content(1, writer->end(), size);
    const auto done = append(text);
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  // The second client opens the file; the first knows nothing of it.
  Result<u64> take_over() {
    auto opened = cluster.run(other->open_for_append("/a"));
    if (!opened.ok()) {
      return opened.error();
    }
    next = std::move(*opened);
    return next->length();
  }
  FakeReplica& replica(u32 server, u32 chunk) {
    const u64 file = cluster.master().file_id("/a");
    return cluster.server(server).replicas()[{.file = {file}, .sequence = chunk}];
  }
  // The replica loses everything from unit `units` on: as if the rest had never arrived.
  void cut(u32 server, u32 chunk, size_t units) { replica(server, chunk).units.resize(units); }
  size_t holders(u32 chunk, u32 length) {
    size_t out = 0;
    for (u32 id = 1; id <= 3; ++id) {
      out += replica(id, chunk).length() >= length;
    }
    return out;
  }

  std::unique_ptr<Client> other = cluster.client();
  std::unique_ptr<Writer> next;
};

TEST_F(TakeoverTest, EverythingAcknowledgedIsKept) {
  open("/a");
  append_ok(10'000);
  append_ok(5);
  EXPECT_EQ(*take_over(), 10'005u);
  EXPECT_EQ(next->epoch().number, 2u);
  EXPECT_EQ(other->counters().takeovers_published, 1u);
  EXPECT_EQ(other->counters().takeover_copied_bytes, 0u);
  const auto& chunks = cluster.master().stream("/a")->chunks;
  EXPECT_EQ(chunks[0].state(), pb::CHUNK_SEALED);
  EXPECT_EQ(chunks[0].length(), 10'005u);
  EXPECT_EQ(chunks.size(), 3u);  // the old spare is gone, a new chunk and a spare are there
  cluster.run_for(milliseconds(5));
  for (u32 id = 1; id <= 3; ++id) {
    EXPECT_TRUE(replica(id, 1).finalized);
    EXPECT_FALSE(replica(id, 2).exists);  // a tombstone
    EXPECT_EQ(replica(id, 2).fence, 2u);
  }
}

TEST_F(TakeoverTest, TheLongestAnswerIsCopiedToAMajorityFirst) {
  open("/a");
  for (int i = 0; i < 10; ++i) {
    append_ok(5000);  // two units each
  }
  cluster.run_for(milliseconds(1));
  cut(1, 1, 12);
  cut(2, 1, 4);
  cluster.faults(3).slow = milliseconds(2);
  EXPECT_EQ(*take_over(), 50'000u);
  EXPECT_EQ(other->counters().takeover_copied_bytes, 20'000u);  // to the one that lacked least
  EXPECT_GE(holders(1, 50'000), 2u);
  EXPECT_TRUE(replica(1, 1).units == replica(3, 1).units);  // the very same units
  EXPECT_TRUE(read("/a", 0, 100'000) == content(1, 0, 50'000));
}

TEST_F(TakeoverTest, ATombstoneIsFilledWhenNobodyElseIsLeft) {
  open("/a");
  append_ok(3'000'000);
  cluster.run_for(milliseconds(1));
  cluster.server(1).replicas().erase({.file = {cluster.master().file_id("/a")}, .sequence = 1});
  cluster.faults(2).down = true;
  EXPECT_EQ(*take_over(), 3'000'000u);
  EXPECT_EQ(other->counters().takeover_copied_bytes, 3'000'000u);
  EXPECT_TRUE(replica(1, 1).units == replica(3, 1).units);
  EXPECT_EQ(replica(1, 1).base, 0u);
  EXPECT_TRUE(read("/a", 0, 4'000'000) == content(1, 0, 3'000'000));
}

TEST_F(TakeoverTest, TheErrorNamesWhoIsMissing) {
  open("/a");
  append_ok(1000);
  cluster.faults(1).down = true;
  cluster.faults(3).silent = true;
  const Instant start = cluster.reactor().now();
  const auto refused = take_over();
  EXPECT_LE(cluster.reactor().now() - start, seconds(11));
  ASSERT_EQ(refused.code(), Code::kUndecidable);
  const std::string text = refused.error().message();
  EXPECT_NE(text.find("server 1 at 127.0.0.1:7101"), std::string::npos) << text;
  EXPECT_NE(text.find("server 3 at 127.0.0.1:7103"), std::string::npos) << text;
  EXPECT_EQ(text.find("server 2"), std::string::npos) << text;
  // Nothing was published; when they come back the next opener gets everything.
  EXPECT_EQ(cluster.master().streams().publishes, 0u);
  cluster.restart(1);
  EXPECT_EQ(*take_over(), 1000u);
  EXPECT_EQ(next->epoch().number, 3u);
}

TEST_F(TakeoverTest, ItWaitsForAServerThatIsBackInTime) {
  open("/a");
  append_ok(1000);
  cluster.faults(1).down = true;
  cluster.faults(3).frozen = true;
  std::vector<Result<u64>> results;
  struct Later {
    static Task<void> open(Client& by, std::unique_ptr<Writer>& into,
                           std::vector<Result<u64>>& out) {
      auto opened = co_await by.open_for_append("/a");
      if (opened.ok()) {
        into = std::move(*opened);
        out.push_back(into->length());
      } else {
        out.push_back(opened.error());
      }
    }
  };
  cluster.reactor().spawn("open", TaskClass::foreground, Later::open(*other, next, results));
  cluster.run_for(seconds(3));
  EXPECT_TRUE(results.empty());
  cluster.thaw(3);
  wait_for(results, 1);
  EXPECT_EQ(*results[0], 1000u);
}

TEST_F(TakeoverTest, ADamagedSourceIsNoSource) {
  open("/a", {.copies_max = 3, .copies_min = 3});
  for (int i = 0; i < 4; ++i) {
    append_ok(4048);
  }
  cluster.run_for(milliseconds(1));
  cut(1, 1, 2);
  cluster.server(3).damages_reads = true;
  cluster.faults(2).slow = milliseconds(1);  // so that the damaged one is asked first
  EXPECT_EQ(*take_over(), 4 * 4048u);
  EXPECT_EQ(other->counters().takeover_copied_bytes, 2 * 4048u);
  EXPECT_TRUE(replica(1, 1).units == replica(2, 1).units);
}

TEST_F(TakeoverTest, WithoutItsOnlyHolderAnUnacknowledgedTailIsDecidedByTheOthers) {
  open("/a");
  for (int i = 0; i < 4; ++i) {
    append_ok(4048);
  }
  cluster.run_for(milliseconds(1));
  cut(1, 1, 3);
  cut(2, 1, 2);  // so only unit 0 and 1 can have been acknowledged, and unit 2 may be
  cluster.server(3).damages_reads = true;
  EXPECT_EQ(*take_over(), 3 * 4048u);
  EXPECT_GE(holders(1, 3 * 4048), 2u);
}

TEST_F(TakeoverTest, TheLaterOfTwoOpenersWins) {
  open("/a");
  append_ok(20'000);
  for (u64 seed = 0; seed < 40; ++seed) {
    std::vector<std::string> outcomes(2);
    struct Later {
      static Task<void> open(Client& by, std::unique_ptr<Writer>& into, std::string& outcome) {
        auto opened = co_await by.open_for_append("/a");
        if (opened.ok()) {
          into = std::move(*opened);
          outcome = "ok";
        } else {
          outcome = std::string(code_name(opened.code()));
        }
      }
    };
    writer.reset();
    next.reset();
    std::unique_ptr<Writer> first;
    std::unique_ptr<Writer> second;
    cluster.network().delay_max = microseconds(static_cast<i64>(100 + seed * 50));
    cluster.reactor().spawn("first", TaskClass::foreground,
                            Later::open(*client, first, outcomes[0]));
    cluster.run_for(microseconds(static_cast<i64>(seed * 25)));
    cluster.reactor().spawn("second", TaskClass::foreground,
                            Later::open(*other, second, outcomes[1]));
    for (int i = 0; i < 1000 && (outcomes[0].empty() || outcomes[1].empty()); ++i) {
      cluster.run_for(milliseconds(1));
    }
    // At most one of them can append: the one with the higher epoch, which did not fail.
    ASSERT_TRUE(first || second) << outcomes[0] << " " << outcomes[1];
    Writer* winner =
        first && (!second || second->epoch() < first->epoch()) ? first.get() : second.get();
    Writer* loser = winner == first.get() ? second.get() : first.get();
    const u64 end = winner->length();
    ASSERT_GE(end, 20'000u);
    const std::string text = content(1, end, 100);
    ASSERT_EQ(*cluster.run(winner->append(bytes_in(text))), end);
    if (loser != nullptr) {
      ASSERT_FALSE(cluster.run(loser->append(bytes_in(text))).ok());
    } else {
      ASSERT_EQ(outcomes[first ? 1 : 0], "WRONG_EPOCH");
    }
  }
  cluster.run_for(milliseconds(3));
  const u64 length = cluster.run(client->stat("/a"))->length;
  EXPECT_TRUE(read("/a", 0, length) == content(1, 0, length));
  EXPECT_EQ(length, 20'000u + 40 * 100);
}

TEST_F(TakeoverTest, ChunksThatWereLeftAreDecidedByTheirSuccessors) {
  cluster.master().streams().no_placement = false;
  open("/a", {.chunk_bytes = 1 * kMiB});
  append_ok(900'000);
  cluster.run_for(milliseconds(5));
  // From here on no report gets through: the master hears nothing until the takeover.
  cluster.master_faults().frozen = true;
  append_ok(300'000);  // fills chunk 1, goes on in chunk 2
  cluster.master_faults().frozen = false;
  writer.reset();  // dies
  cluster.faults(2).down = true;
  cluster.thaw_master(1);
  cluster.run_for(milliseconds(5));
  EXPECT_EQ(*take_over(), 1'200'000u);
  EXPECT_TRUE(read("/a", 0, 2'000'000) == content(1, 0, 1'200'000));
}

TEST_F(TakeoverTest, SealingRecoversToo) {
  open("/a");
  append_ok(1000);
  cut(1, 1, 0);
  EXPECT_EQ(*cluster.run(other->seal("/a")), 1000u);
  EXPECT_TRUE(cluster.run(other->stat("/a"))->sealed);
  EXPECT_EQ(append("x").code(), Code::kUnknownOutcome);
  EXPECT_EQ(take_over().code(), Code::kReadOnly);
}

TEST_F(TakeoverTest, APublishWithoutNewChunksStillOpens) {
  open("/a");
  append_ok(1000);
  cluster.master().streams().no_placement = true;
  EXPECT_EQ(*take_over(), 1000u);
  std::vector<Result<u64>> results;
  cluster.reactor().spawn("append", TaskClass::foreground,
                          append_later(*next, content(1, 1000, 1000), results));
  cluster.run_for(seconds(1));
  EXPECT_TRUE(results.empty());
  cluster.master().streams().no_placement = false;
  wait_for(results, 1);
  EXPECT_EQ(*results[0], 1000u);
}

}  // namespace
}  // namespace pangu::client::testing
