#include "env/sim/disk.h"

#include <gtest/gtest.h>

#include "env/sim/world.h"

namespace pangu::env::sim {
namespace {

// Starts operations and remembers their results.
struct Call : Operation {
  std::optional<i64> result;
  Call() {
    done = [](Operation* op, i64 outcome) noexcept { static_cast<Call*>(op)->result = outcome; };
  }
};

struct Bench {
  World world;
  Node& node;
  explicit Bench(u64 seed, const WorldOptions& options = {})
      : world(seed, options), node(world.add_node("n")) {}
  SimEnv& env() { return node.env(); }
  i64 finish(Call& call) {
    while (!call.result) {
      env().wait(env().now() + seconds(100));
    }
    return *call.result;
  }
  i64 write(File& file, u64 offset, Bytes from,
            Durability durability = Durability::volatile_write) {
    Call call;
    file.write(call, offset, from, durability, -1);
    return finish(call);
  }
  i64 flush(File& file) {
    Call call;
    file.flush(call);
    return finish(call);
  }
  std::vector<std::byte> read(File& file, u64 offset, size_t size) {
    std::vector<std::byte> bytes(size);
    Call call;
    file.read(call, offset, bytes);
    const i64 got = finish(call);
    bytes.resize(static_cast<size_t>(std::max<i64>(got, 0)));
    return bytes;
  }
  std::unique_ptr<File> open(std::string_view path) {
    auto file = env().files().open(path, {.create = true});
    CHECK(file.ok());
    return std::move(*file);
  }
};

std::vector<std::byte> pattern(size_t size, u64 seed) {
  Prng prng(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& each : bytes) {
    each = static_cast<std::byte>(prng.next());
  }
  return bytes;
}

TEST(SimDisk, ReadsBackWhatWasWritten) {
  Bench bench(1);
  auto file = bench.open("f");
  const auto bytes = pattern(10'000, 1);
  EXPECT_EQ(bench.write(*file, 3000, bytes), 10'000);
  EXPECT_EQ(file->size(), 13'000u);
  EXPECT_EQ(bench.read(*file, 3000, 10'000), bytes);
  EXPECT_EQ(bench.read(*file, 0, 3000), std::vector<std::byte>(3000));
  EXPECT_EQ(bench.read(*file, 12'000, 4096).size(), 1000u) << "short at the end of the file";
  EXPECT_TRUE(bench.read(*file, 99'999, 10).empty());
}

TEST(SimDisk, SparseFilesCostOnlyWhatWasWritten) {
  Bench bench(1);
  auto file = bench.open("disk.img");
  ASSERT_TRUE(file->resize(64 * kGiB).ok());
  EXPECT_EQ(bench.write(*file, 63 * kGiB, pattern(4096, 1)), 4096);
  EXPECT_EQ(bench.node.disk().used(), 4096u);
  EXPECT_EQ(bench.read(*file, 64 * kGiB - 100, 4096), std::vector<std::byte>(100));
  EXPECT_EQ(bench.read(*file, 63 * kGiB, 4096), pattern(4096, 1));
}

// A mirror of what a file must hold: for each sector the set of contents that a power loss may
// leave.
class Mirror {
 public:
  explicit Mirror(size_t sectors) : allowed_(sectors, {0}), current_(sectors, 0) {}
  void write(size_t sector, u8 value, bool durable) {
    if (durable) {
      allowed_[sector].clear();
    }
    allowed_[sector].insert(value);
    current_[sector] = value;
  }
  // What completed before a flush: the older contents are out of the question.
  void flushed() {
    for (size_t i = 0; i < current_.size(); ++i) {
      allowed_[i] = {current_[i]};
    }
  }
  void crashed(size_t sector, u8 found) { allowed_[sector] = {current_[sector] = found}; }
  bool allows(size_t sector, u8 value) const { return allowed_[sector].contains(value); }
  u8 current(size_t sector) const { return current_[sector]; }

 private:
  std::vector<std::set<u8>> allowed_;
  std::vector<u8> current_;
};

// The contract of disk.h, clauses 1, 3 and a, against a model.
void check_power_losses(u64 seed, u32 sector_bytes) {
  WorldOptions options;
  options.disk.tear.sector = sector_bytes;
  Bench bench(seed, options);
  Prng prng(seed);
  constexpr size_t kSectors = 64;
  Mirror mirror(kSectors);
  auto file = bench.open("f");
  ASSERT_TRUE(file->resize(kSectors * sector_bytes).ok());
  ASSERT_EQ(bench.flush(*file), 0);
  u8 value = 0;
  size_t differences = 0;
  for (int round = 0; round < 30; ++round) {
    for (u64 n = prng.below(12); n > 0; --n) {
      const size_t first = prng.below(kSectors);
      const size_t count = 1 + prng.below(std::min<u64>(20, kSectors - first));
      const bool durable = prng.below(4) == 0;
      ++value;
      const std::vector<std::byte> bytes(count * sector_bytes, static_cast<std::byte>(value));
      ASSERT_EQ(bench.write(*file, first * sector_bytes, bytes,
                            durable ? Durability::durable_write : Durability::volatile_write),
                static_cast<i64>(bytes.size()));
      for (size_t i = 0; i < count; ++i) {
        mirror.write(first + i, value, durable);
      }
      if (prng.below(6) == 0) {
        ASSERT_EQ(bench.flush(*file), 0);
        mirror.flushed();
      }
    }
    Call in_flight;  // one that is cut off by the crash
    ++value;
    const std::vector<std::byte> last(8 * sector_bytes, static_cast<std::byte>(value));
    const size_t at = prng.below(kSectors - 8);
    file->write(in_flight, at * sector_bytes, last, Durability::durable_write, -1);
    for (size_t i = 0; i < 8; ++i) {
      mirror.write(at + i, value, false);
    }
    bench.node.crash(Crash::power);
    file.reset();
    EXPECT_FALSE(in_flight.result.has_value());
    bench.node.restart();
    file = bench.open("f");
    ASSERT_EQ(file->size(), kSectors * sector_bytes);
    const auto found = bench.read(*file, 0, kSectors * sector_bytes);
    for (size_t i = 0; i < kSectors; ++i) {
      const u8 first = static_cast<u8>(found[i * sector_bytes]);
      for (size_t b = 0; b < sector_bytes; ++b) {
        ASSERT_EQ(static_cast<u8>(found[i * sector_bytes + b]), first) << "a half-written sector";
      }
      ASSERT_TRUE(mirror.allows(i, first)) << "seed " << seed << " sector " << i;
      differences += first != mirror.current(i) ? 1 : 0;
      mirror.crashed(i, first);
    }
  }
  EXPECT_GT(differences, 0u) << "power losses that lose nothing test nothing";
}

TEST(SimDisk, PowerLossObeysTheContract) {
  for (u64 seed = 1; seed <= 15; ++seed) {
    check_power_losses(seed, 512);
    check_power_losses(seed, 4096);
  }
}

TEST(SimDisk, FileSizeIsVolatileToo) {
  std::set<u64> sizes;
  for (u64 seed = 1; seed <= 40; ++seed) {
    Bench bench(seed);
    auto file = bench.open("f");
    EXPECT_EQ(bench.write(*file, 0, pattern(1000, 1), Durability::durable_write), 1000);
    EXPECT_EQ(bench.write(*file, 1000, pattern(1000, 2)), 1000);
    bench.node.crash(Crash::power);
    file.reset();
    bench.node.restart();
    file = bench.open("f");
    sizes.insert(file->size());
    EXPECT_EQ(bench.read(*file, 0, 1000), pattern(1000, 1));
  }
  EXPECT_EQ(sizes, (std::set<u64>{1000, 2000}));
}

TEST(SimDisk, TheDeathOfTheProcessKeepsWhatCompleted) {
  for (u64 seed = 1; seed <= 20; ++seed) {
    Bench bench(seed);
    auto file = bench.open("f");
    EXPECT_EQ(bench.write(*file, 0, pattern(9000, seed)), 9000);
    Call in_flight;
    const auto more = pattern(9000, seed + 1);
    file->write(in_flight, 9000, more, Durability::volatile_write, -1);
    bench.node.crash(Crash::process);
    file.reset();
    bench.node.restart();
    file = bench.open("f");
    EXPECT_EQ(bench.read(*file, 0, 9000), pattern(9000, seed));
  }
}

TEST(SimDisk, AFailedFlushDoomsWhatItCovered) {
  size_t survived = 0;
  for (u64 seed = 1; seed <= 30; ++seed) {
    Bench bench(seed);
    auto file = bench.open("f");
    EXPECT_EQ(bench.write(*file, 0, pattern(8192, 1)), 8192);
    bench.node.disk().fail_next(DiskAction::flush, 1);
    EXPECT_EQ(bench.flush(*file), -EIO);
    EXPECT_EQ(bench.write(*file, 4096, pattern(8192, 2)), 8192);
    EXPECT_EQ(bench.flush(*file), 0);
    EXPECT_EQ(bench.read(*file, 0, 4096), [] {
      auto bytes = pattern(8192, 1);
      bytes.resize(4096);
      return bytes;
    }());
    bench.node.crash(Crash::power);
    file.reset();
    bench.node.restart();
    file = bench.open("f");
    EXPECT_EQ(bench.read(*file, 4096, 8192), pattern(8192, 2)) << "a later flush is a flush";
    survived += bench.read(*file, 0, 4096) == std::vector<std::byte>(4096) ? 0 : 1;
  }
  EXPECT_EQ(survived, 0u);
}

TEST(SimDisk, FullDisk) {
  WorldOptions options;
  options.disk.capacity = 64 * kKiB;
  Bench bench(1, options);
  auto file = bench.open("f");
  EXPECT_EQ(bench.write(*file, 0, pattern(60'000, 1)), 60'000);
  EXPECT_EQ(bench.write(*file, 65'536, pattern(4096, 1)), 4096);
  EXPECT_EQ(bench.write(*file, 90'000, pattern(4096, 1)), -ENOSPC);
  EXPECT_EQ(bench.write(*file, 0, pattern(4096, 2)), 4096) << "overwriting needs no room";
  EXPECT_FALSE(bench.env().files().replace_file("g", std::string(5000, 'x')).ok());
  ASSERT_TRUE(file->resize(0).ok());
  EXPECT_EQ(bench.write(*file, 0, pattern(4096, 1)), 4096);
}

TEST(SimDisk, ErrorsStuckSlowAndDead) {
  Bench bench(1);
  Disk& disk = bench.node.disk();
  auto file = bench.open("f");
  disk.fail_next(DiskAction::write, 1);
  EXPECT_EQ(bench.write(*file, 0, pattern(4096, 1)), -EIO);
  EXPECT_EQ(bench.write(*file, 0, pattern(4096, 1)), 4096);
  disk.fail_next(DiskAction::read, 1);
  EXPECT_TRUE(bench.read(*file, 0, 10).empty());
  EXPECT_EQ(bench.read(*file, 0, 10).size(), 10u);

  disk.set_stuck(true);
  Call call;
  const auto bytes = pattern(100, 1);
  file->write(call, 0, bytes, Durability::durable_write, -1);
  bench.env().wait(bench.env().now() + seconds(1000));
  EXPECT_FALSE(call.result.has_value());
  disk.set_stuck(false);
  EXPECT_EQ(bench.finish(call), 100);

  disk.slow_down(1000);
  const Instant start = bench.world.now();
  EXPECT_EQ(bench.write(*file, 0, bytes), 100);
  EXPECT_GT(bench.world.now() - start, milliseconds(10));
  disk.slow_down(1);

  disk.fail();
  EXPECT_EQ(bench.write(*file, 0, bytes), -EIO);
  EXPECT_EQ(bench.flush(*file), -EIO);
  EXPECT_EQ(bench.env().files().open("f", {}).code(), Code::kIoError);
  disk.replace();
  EXPECT_EQ(bench.write(*file, 0, bytes), -EIO) << "a handle of the old disk";
  EXPECT_EQ(bench.env().files().open("f", {}).code(), Code::kNotFound);
  EXPECT_EQ(disk.used(), 0u);
}

TEST(SimDisk, CorruptFlipsOneBit) {
  Bench bench(1);
  auto file = bench.open("f");
  auto bytes = pattern(5000, 1);
  EXPECT_EQ(bench.write(*file, 0, bytes), 5000);
  EXPECT_TRUE(bench.node.disk().corrupt("f", 4500, 3).ok());
  bytes[4500] ^= std::byte{8};
  EXPECT_EQ(bench.read(*file, 0, 5000), bytes);
  EXPECT_EQ(bench.node.disk().corrupt("f", 5000, 0).code(), Code::kInvalidArgument);
  EXPECT_EQ(bench.node.disk().corrupt("g", 0, 0).code(), Code::kNotFound);
}

TEST(SimDisk, RandomFaultsAreDrawn) {
  WorldOptions options;
  options.disk.bit_flip_rate = 0.2;
  options.disk.misdirect_rate = 0.1;
  options.disk.lost_flush_rate = 0.5;
  options.disk.write_error_rate = 0.1;
  Bench bench(4, options);
  auto file = bench.open("f");
  int errors = 0;
  for (u64 i = 0; i < 100; ++i) {
    errors += bench.write(*file, i * 4096, pattern(4096, i)) < 0 ? 1 : 0;
    EXPECT_EQ(bench.flush(*file), 0);
  }
  EXPECT_GT(errors, 0);
  int wrong = 0;
  for (u64 i = 0; i < 100; ++i) {
    wrong += bench.read(*file, i * 4096, 4096) == pattern(4096, i) ? 0 : 1;
  }
  EXPECT_GT(wrong, errors);
  EXPECT_LT(wrong, 80);
}

TEST(SimFileSystem, NamesLocksAndReplacement) {
  Bench bench(1);
  FileSystem& files = bench.env().files();
  EXPECT_EQ(files.open("a/b", {.create = true}).code(), Code::kNotFound) << "no such directory";
  ASSERT_TRUE(files.make_directories("/a/b/c").ok());
  EXPECT_TRUE(files.make_directories("a/b/c/").ok());
  ASSERT_TRUE(files.replace_file("a/b/x", "one").ok());
  ASSERT_TRUE(files.replace_file("a/b/x", "two").ok());
  EXPECT_EQ(*files.read_file("/a//b/./x"), "two");
  EXPECT_EQ(*files.list("a/b"), (std::vector<std::string>{"c", "x"}));
  EXPECT_EQ(files.remove("a/b").code(), Code::kIoError) << "not empty";
  EXPECT_EQ(files.open("a/b/x", {.create = true, .exclusive = true}).code(), Code::kAlreadyExists);
  {
    auto held = files.open("a/b/x", {.lock = true});
    ASSERT_TRUE(held.ok());
    EXPECT_EQ(files.open("a/b/x", {.lock = true}).code(), Code::kInUse);
  }
  auto again = files.open("a/b/x", {.lock = true});
  ASSERT_TRUE(again.ok());
  bench.node.crash(Crash::power);
  bench.node.restart();
  EXPECT_EQ(*bench.env().files().read_file("a/b/x"), "two") << "replace_file is durable";
  EXPECT_TRUE(bench.env().files().open("a/b/x", {.lock = true}).ok()) << "the lock died";
  EXPECT_TRUE(bench.env().files().remove("a/b/x").ok());
  EXPECT_FALSE(bench.env().files().exists("a/b/x"));
  EXPECT_TRUE(bench.env().files().exists("a/b/c"));
}

TEST(SimFileSystem, DisksAreMounted) {
  Bench bench(1);
  Disk& second = bench.node.add_disk("/d1", {.capacity = 8192});
  FileSystem& files = bench.env().files();
  ASSERT_TRUE(files.replace_file("/d1/x", "data").ok());
  EXPECT_EQ(second.used(), 4096u);
  EXPECT_EQ(bench.node.disk().used(), 0u);
  second.fail();
  EXPECT_FALSE(files.read_file("/d1/x").ok());
  EXPECT_TRUE(files.replace_file("/y", "data").ok());
}

TEST(SimFile, DirectMeansAligned) {
  Bench bench(1);
  auto file = bench.env().files().open("f", {.create = true, .direct = true});
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->alignment(), 4096u);
  alignas(4096) static std::array<std::byte, 8192> block{};
  EXPECT_EQ(bench.write(**file, 0, block), 8192);
  EXPECT_EQ(bench.write(**file, 100, block), -EINVAL);
  EXPECT_EQ(bench.write(**file, 0, Bytes(block).subspan(1, 4096)), -EINVAL);
}

}  // namespace
}  // namespace pangu::env::sim
