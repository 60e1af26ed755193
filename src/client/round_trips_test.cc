#include <gtest/gtest.h>

#include "client/testing/client_fixture.h"

// How many requests the masters get.
namespace pangu::client::testing {
namespace {

class RoundTripsTest : public ClientFixture {
 protected:
  ~RoundTripsTest() override {
    readers.clear();
    cluster.run(other->stop());
  }
  u64 asked(wire::Method method) { return cluster.master().calls_by_method[method]; }
  u64 asked() { return cluster.master().calls; }
  void write(const std::string& path, u64 size, FileOptions file = {}) {
    open(path, file);
    ASSERT_TRUE(append(content(1, 0, size)).ok());
    ASSERT_TRUE(cluster.run(writer->close()).ok());
  }
  Result<std::string> read_some(Reader& reader, u64 offset, size_t size) {
    std::string out(size, '\0');
    auto count =
        cluster.run(reader.read(offset, {reinterpret_cast<std::byte*>(out.data()), out.size()}));
    if (!count.ok()) {
      return count.error();
    }
    out.resize(*count);
    return out;
  }
  static Task<void> open_and_read(Client& client, std::string path, u64 size, size_t& good) {
    auto reader = co_await client.open_for_read(path);
    if (!reader.ok()) {
      co_return;
    }
    std::string out(size, '\0');
    auto count =
        co_await (*reader)->read(0, {reinterpret_cast<std::byte*>(out.data()), out.size()});
    good += count.ok() && *count == size && out == content(1, 0, size) ? 1 : 0;
  }
  // A repair puts the chunk on other servers.
  void migrate(const std::string& path, size_t index) {
    pb::ChunkInfo& chunk = cluster.master().stream(path)->chunks[index];
    const ChunkId id = wire::get(chunk.chunk());
    const FakeReplica copy = cluster.server(chunk.replicas(0).server()).replicas()[id];
    for (const pb::Replica& replica : chunk.replicas()) {
      cluster.server(replica.server()).replicas().erase(id);
    }
    chunk.mutable_replicas()->DeleteSubrange(2, 1);
    for (int i = 0; i < 2; ++i) {
      const u32 to = (chunk.replicas(i).server() + 2) % 5 + 1;
      chunk.mutable_replicas(i)->set_server(to);
      wire::set(*chunk.mutable_replicas(i)->mutable_device(), cluster.server(to).device());
      cluster.server(to).replicas()[id] = copy;
    }
    chunk.set_version(chunk.version() + 1);
  }

  std::unique_ptr<Client> other = cluster.client();
  std::vector<std::unique_ptr<Reader>> readers;
};

TEST_F(RoundTripsTest, TheFirstAppendToANewFile) {
  ASSERT_TRUE(cluster.run(client->make_directory("/d")).ok());
  write("/d/warm", 10);
  cluster.network().delay_min = cluster.network().delay_max = milliseconds(1);
  const u64 before = asked();
  const Instant start = cluster.reactor().now();
  open("/d/new");
  ASSERT_TRUE(append("hello").ok());
  EXPECT_EQ(asked(), before + 2);  // the name, and the stream with its first chunk
  EXPECT_LT(cluster.reactor().now() - start, microseconds(6500));
  EXPECT_GE(cluster.reactor().now() - start, milliseconds(6));
}

TEST_F(RoundTripsTest, ASecondReadAsksNoMaster) {
  write("/a", 3'000'000, {.chunk_bytes = 1 * kMiB});
  auto reader = cluster.run(other->open_for_read("/a"));
  ASSERT_TRUE(reader.ok());
  readers.push_back(std::move(*reader));
  ASSERT_TRUE(*read_some(*readers[0], 0, 3'000'000) == content(1, 0, 3'000'000));
  cluster.run_for(milliseconds(5));
  const u64 before = asked();
  ASSERT_TRUE(*read_some(*readers[0], 0, 3'000'000) == content(1, 0, 3'000'000));
  ASSERT_TRUE(*read_some(*readers[0], 1'234'567, 1000) == content(1, 1'234'567, 1000));
  EXPECT_EQ(asked(), before);
  // Another reader of the file has only the name to look up.
  reader = cluster.run(other->open_for_read("/a"));
  readers.push_back(std::move(*reader));
  ASSERT_TRUE(*read_some(*readers[1], 77, 2'000'000) == content(1, 77, 2'000'000));
  EXPECT_EQ(asked(), before + 1);
}

TEST_F(RoundTripsTest, AColdReadInTheMiddleFetchesOnePlace) {
  write("/a", 64 * kKiB * 100, {.chunk_bytes = 64 * kKiB});
  auto reader = cluster.run(other->open_for_read("/a"));
  readers.push_back(std::move(*reader));
  const u64 before = asked();
  ASSERT_TRUE(*read_some(*readers[0], 5'000'000, 100) == content(1, 5'000'000, 100));
  EXPECT_EQ(asked(), before + 1);
}

TEST_F(RoundTripsTest, ASequentialReaderFetchesMoreAndMoreAhead) {
  constexpr u64 kLength = 64 * kKiB * 64;
  write("/a", kLength, {.chunk_bytes = 64 * kKiB});
  auto reader = cluster.run(other->open_for_read("/a"));
  readers.push_back(std::move(*reader));
  const u64 before = asked();
  for (u64 at = 0; at < kLength; at += 16 * kKiB) {
    ASSERT_TRUE(*read_some(*readers[0], at, 16 * kKiB) == content(1, at, 16 * kKiB));
  }
  // 1, 2, 4 and from then on 8 chunks at a time, before they are needed.
  EXPECT_LE(asked(), before + 12);
  EXPECT_GE(other->counters().prefetches, 8u);
}

TEST_F(RoundTripsTest, ManyColdOpensAtOnceTakeFewRequests) {
  ASSERT_TRUE(cluster.run(client->make_directory("/a/b/c/d", true)).ok());
  constexpr size_t kFiles = 200;
  for (size_t i = 0; i < kFiles; ++i) {
    write(fmt::format("/a/b/c/d/{}", i), 5000);
  }
  const u64 before = asked();
  size_t good = 0;
  for (size_t i = 0; i < kFiles; ++i) {
    cluster.reactor().spawn(
        "cold", TaskClass::foreground,
        open_and_read(*other, fmt::format("/a/b/c/d/{}", i), 5000, good));
  }
  for (int i = 0; i < 5000 && good < kFiles; ++i) {
    cluster.run_for(milliseconds(1));
  }
  EXPECT_EQ(good, kFiles);
  EXPECT_LT(asked() - before, 60u);
  EXPECT_LT(other->counters().stream_fetches, 30u);
  EXPECT_LT(other->counters().lookups, 30u);
}

TEST_F(RoundTripsTest, WhatDoesNotFitIntoOneReplyIsAskedAgain) {
  cluster.master().streams().streams_per_reply = 3;
  ASSERT_TRUE(cluster.run(client->make_directory("/d")).ok());
  for (int i = 0; i < 20; ++i) {
    write(fmt::format("/d/{}", i), 5000);
  }
  size_t good = 0;
  for (int i = 0; i < 20; ++i) {
    cluster.reactor().spawn("cold", TaskClass::foreground,
                            open_and_read(*other, fmt::format("/d/{}", i), 5000, good));
  }
  for (int i = 0; i < 1000 && good < 20; ++i) {
    cluster.run_for(milliseconds(1));
  }
  EXPECT_EQ(good, 20u);
}

TEST_F(RoundTripsTest, AChunkThatMovedIsRefreshedExactlyOnce) {
  write("/a", 20'000'000);
  auto reader = cluster.run(other->open_for_read("/a"));
  readers.push_back(std::move(*reader));
  ASSERT_TRUE(*read_some(*readers[0], 0, 100) == content(1, 0, 100));
  cluster.run_for(milliseconds(5));
  migrate("/a", 0);
  const u64 before = asked();
  // Four pieces at a time find out.
  ASSERT_TRUE(*read_some(*readers[0], 0, 20'000'000) == content(1, 0, 20'000'000));
  EXPECT_EQ(other->counters().metadata_refreshes, 1u);
  EXPECT_EQ(asked(), before + 1);
}

TEST_F(RoundTripsTest, AReplicaThatTheMasterStillListsIsNotAskedAboutAllTheTime) {
  write("/a", 100'000);
  auto reader = cluster.run(other->open_for_read("/a"));
  readers.push_back(std::move(*reader));
  ASSERT_TRUE(*read_some(*readers[0], 0, 100) == content(1, 0, 100));
  const pb::ChunkInfo& chunk = cluster.master().stream("/a")->chunks[0];
  for (int i = 0; i < 2; ++i) {
    cluster.server(chunk.replicas(i).server()).replicas().erase(wire::get(chunk.chunk()));
  }
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(*read_some(*readers[0], 100, 5000) == content(1, 100, 5000));
  }
  EXPECT_LE(other->counters().metadata_refreshes, 1u);
}

TEST_F(RoundTripsTest, AMovedStreamGroupIsFoundAgainWhileWritingAndReading) {
  open("/a");
  ASSERT_TRUE(append("hello ").ok());
  const u64 group = wire::stream_group_of({cluster.master().file_id("/a")});
  cluster.master().elect(group, 0);
  cluster.master().believe(group, 0);
  ASSERT_TRUE(append("world").ok());  // needs no master
  cluster.master().elect(group, 1);
  cluster.master().believe(group, 1);
  ASSERT_TRUE(cluster.run(writer->close()).ok());
  EXPECT_EQ(read("/a", 0, 100), "hello world");
}

}  // namespace
}  // namespace pangu::client::testing
