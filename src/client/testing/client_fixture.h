#pragma once
#include <gtest/gtest.h>

#include "client/testing/fake_cluster.h"
#include "client/testing/stream_check.h"
#include "runtime/await.h"

namespace pangu::client::testing {

// A cluster, a client and plain functions around their tasks.
class ClientFixture : public ::testing::Test {
 protected:
  explicit ClientFixture(size_t servers = 5, const FakeMasterOptions& masters = {})
      : cluster(0x3a11, servers, masters), client(cluster.client()) {}
  ~ClientFixture() override {
    writer.reset();
    cluster.run(client->stop());
  }

  void open(const std::string& path, FileOptions file = {}) {
    auto opened = cluster.run(client->open_for_append(path, {.create = true, .file = file}));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    writer = std::move(*opened);
  }
  Result<u64> append(const std::string& text, AppendOptions options = {}) {
    return cluster.run(writer->append(bytes_in(text), options));
  }
  std::string read(const std::string& path, u64 offset, size_t size) {
    auto reader = cluster.run(client->open_for_read(path));
    EXPECT_TRUE(reader.ok()) << reader.error().message();
    std::string out(size, '\0');
    auto count = cluster.run(
        (*reader)->read(offset, {reinterpret_cast<std::byte*>(out.data()), out.size()}));
    EXPECT_TRUE(count.ok()) << count.error().message();
    out.resize(count.ok() ? *count : 0);
    return out;
  }
  static Task<void> append_later(Writer& to, std::string text, std::vector<Result<u64>>& results) {
    auto done = co_await to.append(bytes_in(text));
    results.push_back(std::move(done));
  }
  // Begins an append without waiting for it.
  void start(std::string text, std::vector<Result<u64>>& results) {
    cluster.reactor().spawn("test append", TaskClass::foreground,
                            append_later(*writer, std::move(text), results));
  }
  void wait_for(const std::vector<Result<u64>>& results, size_t count) {
    for (int i = 0; i < 20'000 && results.size() < count; ++i) {
      cluster.run_for(milliseconds(1));
    }
    ASSERT_EQ(results.size(), count);
  }
  const ClientCounters& counters() const { return client->counters(); }

  FakeCluster cluster;
  std::unique_ptr<Client> client;
  std::unique_ptr<Writer> writer;
};

}  // namespace pangu::client::testing
