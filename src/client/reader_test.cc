#include <gtest/gtest.h>

#include "client/testing/client_fixture.h"

// Readers: of settled and of growing files, from good and from bad replicas.
namespace pangu::client::testing {
namespace {

class ReaderTest : public ClientFixture {
 protected:
  ~ReaderTest() override {
    reader.reset();
    cluster.run(other->stop());
  }
  void append_ok(u64 size) {
    const std::string text = content(1, writer->end(), size);
    const auto done = append(text);
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  // A reader in another client: it learns only from servers.
  void open_reader() {
    auto opened = cluster.run(other->open_for_read("/a"));
    ASSERT_TRUE(opened.ok());
    reader = std::move(*opened);
  }
  Result<std::string> read_some(u64 offset, size_t size) {
    std::string out(size, '\0');
    auto count =
        cluster.run(reader->read(offset, {reinterpret_cast<std::byte*>(out.data()), out.size()}));
    if (!count.ok()) {
      return count.error();
    }
    out.resize(*count);
    return out;
  }
  void write_and_close(u64 size, FileOptions file = {}) {
    open("/a", file);
    append_ok(size);
    ASSERT_TRUE(cluster.run(writer->close()).ok());
  }

  std::unique_ptr<Client> other = cluster.client();
  std::unique_ptr<Reader> reader;
};

TEST_F(ReaderTest, AnotherClientSeesWhatIsCommitted) {
  open("/a");
  append_ok(10'000);
  cluster.run_for(milliseconds(3));
  open_reader();
  EXPECT_EQ(*cluster.run(reader->length()), 10'000u);
  EXPECT_TRUE(*read_some(0, 20'000) == content(1, 0, 10'000));
  EXPECT_TRUE(*read_some(4000, 100) == content(1, 4000, 100));
  append_ok(500);
  cluster.run_for(milliseconds(3));
  EXPECT_TRUE(*read_some(9000, 20'000) == content(1, 9000, 1500));
}

TEST_F(ReaderTest, RandomPlacesAcrossUnitsAndChunks) {
  open("/a", {.chunk_bytes = 1 * kMiB});
  Prng prng(3);
  while (writer->end() < 4'000'000) {
    append_ok(prng.between(1, 120'000));
  }
  const u64 length = writer->length();
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  open_reader();
  for (int i = 0; i < 100; ++i) {
    const u64 from = prng.below(length);
    const u64 size = prng.chance(0.1) ? prng.below(3'000'000) : prng.below(20'000);
    const auto got = read_some(from, size);
    ASSERT_TRUE(got.ok()) << got.error().message();
    ASSERT_TRUE(*got == content(1, from, std::min(size, length - from))) << from << " " << size;
  }
}

TEST_F(ReaderTest, AReaderOfALongFileFetchesItsChunkListInParts) {
  open("/a", {.chunk_bytes = 64 * kKiB});
  append_ok(64 * kKiB * 200);
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  open_reader();
  const u64 length = 64 * kKiB * 200;
  for (u64 at = 0; at < length; at += 100'000) {
    ASSERT_TRUE(*read_some(at, 100'000) == content(1, at, std::min<u64>(100'000, length - at)));
  }
  EXPECT_LT(other->counters().master_calls, 35u);  // 8 chunks each after the first few
  EXPECT_GT(other->counters().prefetches, 20u);
  open_reader();
  EXPECT_TRUE(*read_some(length / 2, 100) == content(1, length / 2, 100));
}

TEST_F(ReaderTest, ADamagedReplicaIsReplacedByAnotherAtOnce) {
  write_and_close(200'000);
  for (u32 id = 1; id <= 4; ++id) {
    cluster.server(id).damages_reads = id != 3;
  }
  open_reader();
  EXPECT_TRUE(*read_some(0, 300'000) == content(1, 0, 200'000));
  EXPECT_GT(other->counters().read_corrupt, 0u);
}

TEST_F(ReaderTest, DeadAndSilentReplicasAreReplacedByAnother) {
  write_and_close(200'000);
  cluster.faults(1).down = true;
  cluster.faults(2).silent = true;
  open_reader();
  EXPECT_TRUE(*read_some(0, 300'000) == content(1, 0, 200'000));
  // From then on it knows whom to ask.
  const Instant start = cluster.reactor().now();
  EXPECT_TRUE(*read_some(100, 1000) == content(1, 100, 1000));
  EXPECT_LT(cluster.reactor().now() - start, milliseconds(1));
}

TEST_F(ReaderTest, TheErrorNamesEveryReplica) {
  write_and_close(1000);
  for (u32 id = 1; id <= 5; ++id) {
    cluster.server(id).damages_reads = true;
  }
  open_reader();
  const auto refused = read_some(0, 1000);
  ASSERT_EQ(refused.code(), Code::kUnavailable);
  const std::string text = refused.error().message();
  for (const char* name : {"server 1: ", "server 2: ", "server 3: ", "checksum mismatch"}) {
    EXPECT_NE(text.find(name), std::string::npos) << text;
  }
}

TEST_F(ReaderTest, AChunkThatMovedIsLookedUpOnce) {
  write_and_close(10'000);
  open_reader();
  EXPECT_TRUE(*read_some(0, 100) == content(1, 0, 100));
  // A repair puts the chunk somewhere else entirely.
  pb::ChunkInfo& chunk = cluster.master().stream("/a")->chunks[0];
  const ChunkId id{.file = {chunk.chunk().file()}, .sequence = chunk.chunk().sequence()};
  const FakeReplica copy = cluster.server(chunk.replicas(0).server()).replicas()[id];
  for (int i = 0; i < 3; ++i) {
    cluster.server(chunk.replicas(i).server()).replicas().erase(id);
  }
  chunk.mutable_replicas()->DeleteSubrange(2, 1);
  for (int i = 0; i < 2; ++i) {
    const u32 server = 4 + static_cast<u32>(i);
    chunk.mutable_replicas(i)->set_server(server);
    wire::set(*chunk.mutable_replicas(i)->mutable_device(), cluster.server(server).device());
    cluster.server(server).replicas()[id] = copy;
  }
  chunk.set_version(2);
  EXPECT_TRUE(*read_some(0, 20'000) == content(1, 0, 10'000));
  EXPECT_EQ(other->counters().metadata_refreshes, 1u);
  EXPECT_TRUE(*read_some(0, 20'000) == content(1, 0, 10'000));
  EXPECT_EQ(other->counters().metadata_refreshes, 1u);
}

TEST_F(ReaderTest, NothingUncommittedIsEverRead) {
  open("/a");
  append_ok(1000);
  cluster.run_for(milliseconds(3));
  cluster.run(other->stop());
  other = cluster.client({.read_timeout = milliseconds(20)});
  // Only one replica gets the next append: it is not acknowledged.
  const pb::ChunkInfo chunk = cluster.master().stream("/a")->chunks[0];
  cluster.faults(chunk.replicas(0).server()).frozen = true;
  cluster.faults(chunk.replicas(1).server()).frozen = true;
  std::vector<Result<u64>> results;
  start(content(1, 1000, 1000), results);
  cluster.run_for(milliseconds(20));
  open_reader();
  EXPECT_TRUE(*read_some(0, 5000) == content(1, 0, 1000));
  EXPECT_EQ(*cluster.run(reader->length()), 1000u);
  cluster.thaw(chunk.replicas(0).server());
  cluster.thaw(chunk.replicas(1).server());
  wait_for(results, 1);
}

TEST_F(ReaderTest, ARestartedReplicaLearnsFromItsReader) {
  open("/a");
  append_ok(5000);
  cluster.run_for(milliseconds(3));
  open_reader();
  EXPECT_EQ(*cluster.run(reader->length()), 5000u);
  // All replicas forget what is committed: the reader still knows.
  for (u32 id = 1; id <= 5; ++id) {
    cluster.restart(id);
  }
  EXPECT_TRUE(*read_some(0, 5000) == content(1, 0, 5000));
  EXPECT_EQ(*cluster.run(reader->length()), 5000u);  // never shrinks
}

Task<void> tail(Reader& reader, u64 total, std::string& got, Duration& longest, Reactor& reactor) {
  while (got.size() < total) {
    const u64 from = got.size();
    const Instant start = reactor.now();
    auto length = co_await reader.read_wait(from, reactor.now() + seconds(5));
    longest = std::max(longest, reactor.now() - start);
    if (!length.ok() || *length <= from) {
      co_return;
    }
    std::string more(*length - from, '\0');
    auto count =
        co_await reader.read(from, {reinterpret_cast<std::byte*>(more.data()), more.size()});
    if (!count.ok()) {
      co_return;
    }
    got += more.substr(0, *count);
  }
}

TEST_F(ReaderTest, ATailReaderFollowsAcrossChunksAndFailures) {
  open("/a", {.chunk_bytes = 64 * kKiB});
  open_reader();
  std::string got;
  Duration longest;
  constexpr u64 kTotal = 400'000;
  cluster.reactor().spawn("tail", TaskClass::foreground,
                          tail(*reader, kTotal, got, longest, cluster.reactor()));
  Prng prng(5);
  while (writer->end() < kTotal) {
    append_ok(std::min<u64>(prng.between(1, 9000), kTotal - writer->end()));
    cluster.run_for(milliseconds(static_cast<i64>(prng.below(15))));
    if (prng.chance(0.05)) {
      const u32 id = static_cast<u32>(prng.between(1, 5));
      cluster.faults(id).down = true;
      append_ok(1);
      cluster.run_for(milliseconds(20));
      cluster.restart(id);
    }
  }
  for (int i = 0; i < 5000 && got.size() < writer->end(); ++i) {
    cluster.run_for(milliseconds(1));
  }
  EXPECT_EQ(got.size(), writer->end());
  EXPECT_TRUE(got == content(1, 0, got.size()));
  EXPECT_LT(longest, seconds(2));
}

TEST_F(ReaderTest, ReadWaitEndsAtItsDeadlineAndAtTheSeal) {
  open("/a");
  append_ok(10);
  open_reader();
  const Instant start = cluster.reactor().now();
  EXPECT_EQ(*cluster.run(reader->read_wait(10, start + milliseconds(300))), 10u);
  EXPECT_GE(cluster.reactor().now() - start, milliseconds(300));
  EXPECT_LT(cluster.reactor().now() - start, milliseconds(400));
  ASSERT_TRUE(cluster.run(writer->seal()).ok());
  const Instant sealed = cluster.reactor().now();
  EXPECT_EQ(*cluster.run(reader->read_wait(10, sealed + seconds(5))), 10u);
  EXPECT_LT(cluster.reactor().now() - sealed, milliseconds(100));
}

TEST_F(ReaderTest, ARemovedFileIsNotFound) {
  write_and_close(100);
  open_reader();
  ASSERT_TRUE(cluster.run(client->remove("/a")).ok());
  EXPECT_EQ(cluster.run(reader->length()).code(), Code::kNotFound);
}

}  // namespace
}  // namespace pangu::client::testing
