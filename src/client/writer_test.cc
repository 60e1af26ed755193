#include <gtest/gtest.h>

#include "client/testing/client_fixture.h"
#include "wire/unit.h"

namespace pangu::client::testing {
namespace {

class WriterTest : public ClientFixture {};

TEST_F(WriterTest, WhatWasAppendedIsReadBack) {
  open("/a");
  EXPECT_EQ(*append("hello "), 0u);
  EXPECT_EQ(*append("world"), 6u);
  EXPECT_EQ(writer->length(), 11u);
  EXPECT_EQ(read("/a", 0, 100), "hello world");
  EXPECT_EQ(read("/a", 3, 4), "lo w");
  EXPECT_EQ(read("/a", 11, 4), "");
  EXPECT_EQ(read("/a", 400, 4), "");
}

TEST_F(WriterTest, ABigAppendIsCutIntoRunsOfOneMebibyte) {
  open("/a");
  const std::string text = content(1, 0, 5'000'000);
  EXPECT_EQ(*append(text), 0u);
  EXPECT_EQ(counters().runs, 5u);  // 4.8 MiB
  EXPECT_EQ(counters().payload_copies, text.size());
  EXPECT_TRUE(read("/a", 0, text.size() + 1) == text);
  EXPECT_TRUE(read("/a", 1'234'567, 2'345'678) == text.substr(1'234'567, 2'345'678));
}

TEST_F(WriterTest, EveryReplicaHoldsTheSameUnits) {
  open("/a");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(append(content(1, writer->end(), 1000)).ok());
  }
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  std::vector<std::vector<std::string>> copies;
  for (u32 id = 1; id <= cluster.servers(); ++id) {
    for (const auto& [chunk, replica] : cluster.server(id).replicas()) {
      copies.push_back(replica.units);
    }
  }
  ASSERT_EQ(copies.size(), 3u);
  EXPECT_EQ(copies[0].size(), 20u);  // one at a time: a unit each
  EXPECT_TRUE(copies[0] == copies[1]);
  EXPECT_TRUE(copies[0] == copies[2]);
}

TEST_F(WriterTest, AppendsThatWaitTogetherLeaveInOneRun) {
  open("/a");
  std::vector<Result<u64>> results;
  for (u64 i = 0; i < 10; ++i) {
    start(content(1, i * 1000, 1000), results);
  }
  wait_for(results, 10);
  for (u64 i = 0; i < 10; ++i) {
    ASSERT_TRUE(results[i].ok());
    EXPECT_EQ(*results[i], i * 1000);  // acknowledged in order
  }
  // The first alone and at once, the nine that came meanwhile when its acknowledgement returned.
  EXPECT_EQ(counters().runs, 2u);
  EXPECT_TRUE(read("/a", 0, 20'000) == content(1, 0, 10'000));
}

TEST_F(WriterTest, ARunDoesNotWaitWhenSixtyFourKibibytesAreGathered) {
  cluster.network().delay_min = cluster.network().delay_max = milliseconds(5);
  open("/a");
  std::vector<Result<u64>> results;
  for (u64 i = 0; i < 1 + 32; ++i) {
    start(content(1, i * 4096, 4096), results);
  }
  cluster.run_for(milliseconds(1));  // nothing is acknowledged yet
  EXPECT_EQ(counters().runs, 3u);    // the first, and two of 64 KiB
  wait_for(results, 33);
}

TEST_F(WriterTest, AtMostEightRunsAreInFlight) {
  cluster.network().delay_min = cluster.network().delay_max = milliseconds(5);
  open("/a", {.chunk_bytes = 256 * kMiB});
  std::vector<Result<u64>> results;
  start(content(1, 0, 12'000'000), results);
  cluster.run_for(milliseconds(1));
  EXPECT_EQ(counters().runs, 8u);
  wait_for(results, 1);
  EXPECT_TRUE(read("/a", 0, 12'000'000) == content(1, 0, 12'000'000));
}

TEST_F(WriterTest, AFullChunkIsLeftAtItsAcknowledgedEnd) {
  open("/a", {.chunk_bytes = 1 * kMiB});
  const std::string text = content(1, 0, 3'500'000);
  for (u64 at = 0; at < text.size(); at += 70'000) {
    ASSERT_TRUE(append(text.substr(at, 70'000)).ok());
  }
  EXPECT_EQ(counters().chunks_filled, 3u);
  EXPECT_EQ(counters().run_bytes, text.size());  // nothing was sent twice
  EXPECT_TRUE(read("/a", 0, text.size()) == text);
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  EXPECT_EQ(cluster.master().stream("/a")->settled_length(), text.size());
  EXPECT_TRUE(read("/a", 0, text.size()) == text);
}

TEST_F(WriterTest, ExpectedOffsetMakesARetryExactlyOnce) {
  open("/a");
  EXPECT_EQ(*cluster.run(writer->append(0, bytes_in("abc"))), 0u);
  const auto again = cluster.run(writer->append(0, bytes_in("abc")));
  EXPECT_EQ(again.code(), Code::kOffsetMismatch);
  EXPECT_EQ(*cluster.run(writer->append(3, bytes_in("def"))), 3u);
  EXPECT_EQ(cluster.run(writer->append(99, bytes_in("def"))).code(), Code::kOffsetMismatch);
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  open("/a");
  EXPECT_EQ(cluster.run(writer->append(3, bytes_in("def"))).code(), Code::kOffsetMismatch);
  EXPECT_EQ(*cluster.run(writer->append(6, bytes_in("ghi"))), 6u);
  EXPECT_EQ(read("/a", 0, 100), "abcdefghi");
}

TEST_F(WriterTest, RecordsNeverStraddleUnitsOrChunks) {
  open("/a", {.chunk_bytes = 1 * kMiB});
  std::vector<Result<u64>> results;
  std::vector<std::pair<u64, u64>> records;
  Prng prng(7);
  u64 at = 0;
  struct Later {
    static Task<void> record(Writer& to, std::string text, std::vector<Result<u64>>& out) {
      auto done = co_await to.append(bytes_in(text), {.record = true});
      out.push_back(std::move(done));
    }
  };
  for (int i = 0; i < 1500; ++i) {
    const u64 size = prng.between(1, kRecordBytesMax);
    records.emplace_back(at, size);
    cluster.reactor().spawn("record", TaskClass::foreground,
                            Later::record(*writer, content(1, at, size), results));
    at += size;
  }
  wait_for(results, 1500);
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  std::set<u64> unit_ends;
  for (u32 id = 1; id <= cluster.servers(); ++id) {
    for (const auto& [chunk, replica] : cluster.server(id).replicas()) {
      for (const std::string& unit : replica.units) {
        unit_ends.insert(
            replica.base +
            wire::footer_of(reinterpret_cast<const std::byte*>(unit.data())).end_offset);
      }
    }
  }
  for (const auto& [offset, size] : records) {
    const auto end = unit_ends.upper_bound(offset);
    ASSERT_NE(end, unit_ends.end());
    ASSERT_GE(*end, offset + size) << "split at " << offset;
  }
  EXPECT_EQ(append("x", {.record = true}).code(), Code::kClosed);
  EXPECT_TRUE(read("/a", 0, at) == content(1, 0, at));
}

TEST_F(WriterTest, ARecordThatIsTooLongIsRefused) {
  open("/a");
  EXPECT_EQ(append(std::string(kRecordBytesMax + 1, 'x'), {.record = true}).code(),
            Code::kTooLarge);
  EXPECT_TRUE(append(std::string(kRecordBytesMax, 'x'), {.record = true}).ok());
}

TEST_F(WriterTest, EnqueuedBytesAreDurableAfterFlush) {
  open("/a");
  for (u64 i = 0; i < 100; ++i) {
    const std::string text = content(1, i * 777, 777);
    ASSERT_TRUE(cluster.run(writer->enqueue(Slice::copy_of(bytes_in(text)))).ok());
  }
  ASSERT_TRUE(cluster.run(writer->flush()).ok());
  EXPECT_EQ(writer->length(), 77'700u);
  EXPECT_EQ(counters().appends, 100u);
  EXPECT_TRUE(read("/a", 0, 100'000) == content(1, 0, 77'700));
}

TEST_F(WriterTest, TheWindowHoldsBackWhoeverIsTooFast) {
  ClientOptions options;
  options.window_bytes = 100'000;
  auto other = cluster.client(options);
  {
    auto opened = cluster.run(other->open_for_append("/w", {.create = true}));
    ASSERT_TRUE(opened.ok());
    for (u64 i = 0; i < 50; ++i) {
      ASSERT_TRUE(
          cluster.run((*opened)->enqueue(Slice::copy_of(bytes_in(content(1, i * 30'000, 30'000)))))
              .ok());
      EXPECT_LE((*opened)->end() - (*opened)->length(), 100'000u);
    }
    // An append larger than the window takes all of it.
    const std::string big = content(1, 1'500'000, 300'000);
    EXPECT_EQ(*cluster.run((*opened)->append(bytes_in(big))), 1'500'000u);
    ASSERT_TRUE(cluster.run((*opened)->close()).ok());
  }
  cluster.run(other->stop());
  EXPECT_TRUE(read("/w", 0, 1'800'000) == content(1, 0, 1'800'000));
}

TEST_F(WriterTest, CloseLeavesNothingToRecover) {
  open("/a");
  ASSERT_TRUE(append("abc").ok());
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  EXPECT_EQ(append("x").code(), Code::kClosed);
  const auto* stream = cluster.master().stream("/a");
  ASSERT_EQ(stream->chunks.size(), 1u);  // the spare was given back
  EXPECT_EQ(stream->chunks[0].state(), pb::CHUNK_SEALED);
  EXPECT_EQ(stream->chunks[0].length(), 3u);
  open("/a");
  EXPECT_EQ(counters().takeovers, 0u);
  EXPECT_EQ(writer->end(), 3u);
  EXPECT_EQ(*append("def"), 3u);
  EXPECT_EQ(read("/a", 0, 10), "abcdef");
}

TEST_F(WriterTest, ClosingUnusedGivesEverythingBack) {
  open("/a");
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  EXPECT_TRUE(cluster.master().stream("/a")->chunks.empty());
  EXPECT_EQ(cluster.run(client->stat("/a"))->length, 0u);
}

TEST_F(WriterTest, ASealedFileTakesNothingMore) {
  open("/a");
  ASSERT_TRUE(append("abc").ok());
  EXPECT_EQ(*cluster.run(writer->seal()), 3u);
  EXPECT_EQ(append("x").code(), Code::kClosed);
  const auto info = cluster.run(client->stat("/a"));
  EXPECT_TRUE(info->sealed);
  EXPECT_EQ(info->length, 3u);
  EXPECT_EQ(cluster.run(client->open_for_append("/a")).code(), Code::kReadOnly);
  EXPECT_EQ(read("/a", 0, 10), "abc");
}

TEST_F(WriterTest, AnybodyCanSealAFile) {
  open("/a");
  ASSERT_TRUE(append("abc").ok());
  EXPECT_EQ(*cluster.run(client->seal("/a")), 3u);  // takes it over
  EXPECT_EQ(append("x").code(), Code::kUnknownOutcome);
  EXPECT_EQ(append("x").code(), Code::kFenced);
  open("/b");
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  EXPECT_EQ(*cluster.run(client->seal("/b")), 0u);  // nothing to take over
  EXPECT_TRUE(cluster.run(client->stat("/b"))->sealed);
}

TEST_F(WriterTest, AnIdleWriterTellsItsReplicasWhatIsCommitted) {
  open("/a");
  ASSERT_TRUE(append("abc").ok());
  cluster.run_for(milliseconds(3));
  EXPECT_EQ(counters().committed_messages, 3u);  // one a server
  for (u32 id = 1; id <= cluster.servers(); ++id) {
    for (const auto& [chunk, replica] : cluster.server(id).replicas()) {
      EXPECT_EQ(replica.committed, 3u);
    }
  }
  cluster.run_for(milliseconds(50));
  EXPECT_EQ(counters().committed_messages, 3u);  // and only once
}

TEST_F(WriterTest, FilesInTheNamespace) {
  EXPECT_EQ(cluster.run(client->open_for_append("/none")).code(), Code::kNotFound);
  EXPECT_EQ(cluster.run(client->open_for_read("/none")).code(), Code::kNotFound);
  EXPECT_TRUE(cluster.run(client->make_directory("/d")).ok());
  EXPECT_EQ(cluster.run(client->open_for_read("/d")).code(), Code::kIsDirectory);
  EXPECT_TRUE(cluster.run(client->create("/d/x")).ok());
  EXPECT_EQ(cluster.run(client->create("/d/x")).code(), Code::kAlreadyExists);
  EXPECT_TRUE(cluster.run(client->create("/d/x", {.exclusive = false})).ok());
  EXPECT_TRUE(cluster.run(client->create("/d/y")).ok());
  const auto page = cluster.run(client->list("/d", "", 1));
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].name, "x");
  EXPECT_TRUE(page->more);
  EXPECT_EQ(cluster.run(client->list("/d", "x"))->entries[0].name, "y");
  EXPECT_TRUE(cluster.run(client->rename("/d/x", "/d/z")).ok());
  EXPECT_EQ(*cluster.run(client->remove("/d/z")), Removed::file);
  EXPECT_EQ(cluster.run(client->remove("/d/z")).code(), Code::kNotFound);
  EXPECT_EQ(cluster.run(client->cluster_info())->servers.size(), 5u);
}

}  // namespace
}  // namespace pangu::client::testing
