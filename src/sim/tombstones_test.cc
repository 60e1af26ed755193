#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "chunk/format/record.h"
#include "chunk/format/superblock.h"
#include "chunk/store/test_store.h"
#include "runtime/await.h"
#include "sim/cluster.h"

// A cluster on tiny devices where files come and go, many more than a device has room for
// tombstones; with old files that stay open, writers that sleep all the while, and one that comes
// back when its file has long been removed and forgotten (PROTOCOL 29).
namespace pangu::sim {
namespace {

constexpr u64 kDeviceBytes = 8 * kMiB;
constexpr u64 kOldFiles = 8;
constexpr u64 kChurners = 4;

ClusterOptions tiny_cluster() {
  ClusterOptions out{.masters = 3,
                     .chunkservers = 3,
                     .racks = 3,
                     .clients = 3,
                     .device_bytes = kDeviceBytes};
  out.client.op_timeout = seconds(5);
  out.client.suspect_time = milliseconds(200);
  return out;
}

client::OpenOptions open_options() {
  client::OpenOptions out{.create = true};
  out.file.chunk_bytes = 1 * kMiB;
  return out;
}

std::vector<std::byte> content(u64 file, u64 offset, u64 size) {
  std::vector<std::byte> out(size);
  for (u64 i = 0; i < size; ++i) {
    out[i] = static_cast<std::byte>(mix64(file * 1'000'003 + offset + i));
  }
  return out;
}

class Churn {
 public:
  explicit Churn(u64 seed)
      : world_(seed, {}), judge_(world_), prng_(seed), cluster_(world_, judge_, tiny_cluster()) {
    log_level_ = log_level();
    set_log_level(static_cast<LogLevel>(4));
    CHECK(cluster_.boot(world_.now() + seconds(60)));
    until([this] {
      return std::all_of(cluster_.clients().begin(), cluster_.clients().end(),
                         [](const auto& host) { return host->client() != nullptr; });
    });
  }
  ~Churn() { set_log_level(log_level_); }

  void until(const std::function<bool()>& done, Duration patience = seconds(600)) {
    const bool in_time =
        world_.run_until([&] { return done() || judge_.failed(); }, world_.now() + patience);
    CHECK_NOTE(!judge_.failed(), judge_.text());
    CHECK_NOTE(in_time, progress());
  }
  std::string progress() {
    std::string out = fmt::format("{} files were removed", removed_);
    for (const auto& host : cluster_.chunkservers()) {
      const chunk::Remembered remembered = store(*host).remembered();
      out += fmt::format("; {}: {} tombstones, {} ranges{}", host->name(), remembered.tombstones,
                         remembered.ranges, remembered.full ? ", full" : "");
    }
    return out;
  }
  void spawn(Host& host, Task<void> task) {
    host.reactor().spawn("test", TaskClass::foreground, std::move(task));
  }
  static chunk::ChunkStore& store(ChunkHost& host) {
    return *host.server().service().devices().begin()->second.store;
  }

  // Files that live for a moment.
  static Task<void> come_and_go(Churn& churn, ClientHost& host, u64 actor) {
    Prng prng(hash_combine(churn.prng_.next(), actor));
    client::Client& client = *host.client();
    for (u64 i = 0; !churn.enough_; ++i) {
      const std::string path = fmt::format("/churn-{}-{}", actor, i);
      auto writer = co_await client.open_for_append(path, open_options());
      bool acked = false;
      if (writer.ok()) {
        const std::vector<std::byte> bytes = content(i, 0, prng.between(1, 3000));
        auto done = co_await (*writer)->append(bytes);
        acked = done.ok();
        if (prng.chance(0.5)) {
          (void)co_await (*writer)->close();
        }
      }
      for (;;) {
        auto gone = co_await client.remove(path);
        if (gone.ok() || gone.code() == Code::kNotFound) {
          break;
        }
        co_await sleep_for(milliseconds(100));
      }
      churn.removed_ += acked ? 1 : 0;
      if (!acked) {
        co_await sleep_for(milliseconds(100));
      }
    }
    ++churn.ended_;
  }

  // Files that stay: opened again and again, so that they have dropped chunks of their own.
  struct Old {
    std::string path;
    u64 acked = 0;
    u32 appends = 0;
  };
  static Task<void> grow_old(Churn& churn, ClientHost& host) {
    Prng prng(churn.prng_.next());
    client::Client& client = *host.client();
    while (!churn.enough_) {
      Old& old = churn.old_[prng.below(kOldFiles)];
      co_await sleep_for(milliseconds(static_cast<i64>(prng.between(20, 200))));
      co_await churn.append_to(client, old, prng, prng.chance(0.3));
    }
    ++churn.ended_;
  }
  Task<void> append_to(client::Client& client, Old& old, Prng& prng, bool close) {
    auto writer = co_await client.open_for_append(old.path, open_options());
    if (!writer.ok()) {
      co_return;
    }
    const u64 number = static_cast<u64>(&old - old_.data());
    if ((*writer)->end() < old.acked) {
      judge_.fail(fmt::format("{} ends at {}, {} bytes were acknowledged", old.path,
                              (*writer)->end(), old.acked));
      co_return;
    }
    // An append whose outcome was unknown may have stayed: with the bytes that belong there.
    old.acked = (*writer)->end();
    ++reopened_;
    // Each chunk takes a block, and there are few.
    if (old.appends < 2 && prng.chance(0.2)) {
      ++old.appends;
      const u64 size = prng.between(1, 900);
      auto done = co_await (*writer)->append(content(number, old.acked, size));
      if (!done.ok()) {
        co_return;
      }
      old.acked += size;
    }
    if (close) {
      (void)co_await (*writer)->close();  // what was acknowledged stays, whatever it answers
    }
  }
  static Task<void> read_back(Churn& churn, ClientHost& host, bool& done) {
    for (size_t i = 0; i < churn.old_.size(); ++i) {
      Old& old = churn.old_[i];
      Prng prng(i);
      for (;;) {
        const u64 before = churn.reopened_;
        co_await churn.append_to(*host.client(), old, prng, true);
        if (churn.reopened_ != before) {
          break;
        }
        co_await sleep_for(milliseconds(200));
      }
      auto reader = co_await host.client()->open_for_read(old.path);
      CHECK(reader.ok());
      std::vector<std::byte> bytes(old.acked);
      u64 at = 0;
      while (at < bytes.size()) {
        auto count = co_await (*reader)->read(at, MutableBytes(bytes).subspan(at));
        CHECK_NOTE(count.ok() && *count > 0, count.ok() ? "" : count.error().message());
        at += *count;
      }
      if (bytes != content(i, 0, old.acked)) {
        churn.judge_.fail(old.path + " holds other bytes");
      }
    }
    done = true;
  }

  // A writer that opens a file, appends `first` bytes and sleeps until told to go on; then it appends
  // `more`.
  struct Sleeper {
    bool opened = false;
    bool go = false;
    u64 file = 0;
    std::optional<Result<u64>> second;
  };
  static Task<void> sleep_long(ClientHost& host, std::string path, Sleeper& sleeper, u64 first,
                               u64 more) {
    auto writer = co_await host.client()->open_for_append(path, open_options());
    CHECK_NOTE(writer.ok(), writer.ok() ? "" : writer.error().message());
    sleeper.file = (*writer)->file().number;
    if (first > 0) {
      auto done = co_await (*writer)->append(content(77, 0, first));
      CHECK(done.ok());
    }
    sleeper.opened = true;
    while (!sleeper.go) {
      co_await sleep_for(milliseconds(10));
    }
    // In pieces, as much as the window takes.
    Result<u64> done = first;
    for (u64 at = first; at < first + more && done.ok();) {
      const u64 size = std::min<u64>(first + more - at, 100'000);
      done = co_await (*writer)->append(content(77, at, size));
      at += size;
    }
    sleeper.second = std::move(done);
  }

  static Task<void> create_late(chunk::ChunkStore& store, ChunkId chunk,
                                std::optional<chunk::AppendOutcome>& out) {
    const chunk::TestRun late = chunk::TestWriter{.chunk = chunk}.next(10);
    out = co_await store.append(late.args, late.run);
  }
  static Task<void> remove_file(ClientHost& host, std::string path, bool& done) {
    while (!done) {
      auto removed = co_await host.client()->remove(path);
      done = removed.ok() || removed.code() == Code::kNotFound;
    }
  }
  // No device remembers this chunk.
  bool forgotten_everywhere(const ChunkId& id) {
    return std::all_of(
        cluster_.chunkservers().begin(), cluster_.chunkservers().end(),
        [&](const auto& host) { return store(*host).stat(id).code() == Code::kNotFound; });
  }
  void expect_late_create_refused(const ChunkId& id) {
    for (ChunkHost* host : places_) {
      std::optional<chunk::AppendOutcome> out;
      spawn(*host, create_late(store(*host), id, out));
      until([&] { return out.has_value(); });
      EXPECT_EQ(out->code, Code::kSealed) << host->name();
    }
  }
  void power_cut() {
    for (const auto& host : cluster_.chunkservers()) {
      host->crash(env::sim::Crash::power);
    }
    for (const auto& host : cluster_.masters()) {
      host->crash(env::sim::Crash::power);
    }
    world_.run_for(milliseconds(10));
    for (const auto& host : cluster_.masters()) {
      host->start();
    }
    for (const auto& host : cluster_.chunkservers()) {
      host->start();
    }
    until([this] { return cluster_.serving(); });
  }
  void run();

 private:
  env::sim::World world_;
  Judge judge_;
  Prng prng_;
  Cluster cluster_;
  LogLevel log_level_{};
  std::vector<ChunkHost*> places_;  // of the zombie's chunk
  std::vector<Old> old_{kOldFiles};
  u64 removed_ = 0;
  u64 reopened_ = 0;
  u64 ended_ = 0;
  bool enough_ = false;
};

void Churn::run() {
  chunk::Superblock device{.shards = 1, .capacity = kDeviceBytes, .block_bytes = 64 * kKiB};
  ASSERT_TRUE(chunk::divide(device).ok());
  const u64 room = device.slot_bytes / chunk::kTombstoneBytes;

  ClientHost& busy = *cluster_.clients()[0];
  ClientHost& old = *cluster_.clients()[1];
  ClientHost& zombie = *cluster_.clients()[2];
  Sleeper patient;
  Sleeper undead;
  spawn(old, sleep_long(old, "/patient", patient, 100, 1'050'000));
  // Its chunk is listed and not created when it falls asleep.
  spawn(zombie, sleep_long(zombie, "/undead", undead, 0, 100));
  until([&] { return patient.opened && undead.opened; });
  zombie.pause();
  for (u64 i = 0; i < kOldFiles; ++i) {
    old_[i].path = fmt::format("/old-{}", i);
  }
  bool removed = false;
  spawn(busy, remove_file(busy, "/undead", removed));
  until([&] { return removed; });
  world_.run_for(seconds(4));  // deleted where it was listed
  const ChunkId late{.file = {undead.file}, .sequence = 1};
  for (const auto& host : cluster_.chunkservers()) {
    if (store(*host).stat(late).ok()) {
      places_.push_back(host.get());
    }
  }
  ASSERT_GE(places_.size(), 2u);
  for (u64 i = 0; i < kChurners; ++i) {
    spawn(busy, come_and_go(*this, busy, i));
  }
  spawn(old, grow_old(*this, old));
  until([&] { return removed_ >= room; });
  power_cut();
  const u64 before = removed_;
  until([&] { return removed_ >= before + room; });
  enough_ = true;
  until([&] { return ended_ == kChurners + 1; });
  EXPECT_GT(reopened_, 100u);
  for (const auto& host : cluster_.chunkservers()) {
    const chunk::Remembered remembered = store(*host).remembered();
    EXPECT_FALSE(remembered.full) << progress();
    EXPECT_LT(remembered.tombstones, room / 2) << progress();
    // Between files that live, or lived when their neighbours were forgotten.
    EXPECT_LE(remembered.ranges, kOldFiles + 1 + 2 * kChurners) << progress();
  }

  // The zombie comes back: nobody remembers its chunks, nobody takes them.
  ASSERT_TRUE(forgotten_everywhere(late)) << progress();
  expect_late_create_refused(late);
  zombie.resume();
  undead.go = true;
  until([&] { return undead.second.has_value(); });
  EXPECT_FALSE(undead.second->ok()) << "acknowledged into nothing";
  EXPECT_TRUE(forgotten_everywhere(late));

  // The patient writer was the owner all the while; its spare is as old as the cluster.
  patient.go = true;
  until([&] { return patient.second.has_value(); });
  EXPECT_TRUE(patient.second->ok()) << patient.second->error().message();
  bool read = false;
  spawn(old, read_back(*this, old, read));
  until([&] { return read; });
  // A second time with every chunkserver new.
  power_cut();
  expect_late_create_refused(late);
  read = false;
  spawn(old, read_back(*this, old, read));
  until([&] { return read; });
  EXPECT_TRUE(cluster_.shut_down(seconds(60)));
}

TEST(Tombstones, FilesComeAndGoOnTinyDevices) {
  const char* seed = std::getenv("PANGU_SEED");
  const u64 number = seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1;
  SCOPED_TRACE("PANGU_SEED=" + std::to_string(number));
  Churn(number).run();
}

}  // namespace
}  // namespace pangu::sim
