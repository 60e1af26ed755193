#include <gtest/gtest.h>

#include <fmt/core.h>

#include "base/crc32c.h"
#include "base/prng.h"
#include "env/linux/test_world.h"
#include "master/state/kv_snapshot.h"
#include "master/state/memory_kv.h"
#include "master/state/rocks_kv.h"
#include "runtime/await.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// Both stores, through the interface that groups know: replacement and snapshots.
namespace pangu::master {
namespace {

enum class Kind : u8 { memory, rocks };

class KvTest : public ::testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Kv> open(const std::string& name) {
    auto opened = GetParam() == Kind::memory
                      ? MemoryKv::open(env_->files(), folder_.path() + "/" + name)
                      : open_rocks_kv(folder_.path() + "/" + name, {});
    EXPECT_TRUE(opened.ok()) << opened.error().message();
    return std::move(*opened);
  }
  template <class T>
  T wait(Task<T> task) {
    return run_blocking(reactor_, std::move(task));
  }
  void close(std::unique_ptr<Kv> kv) { wait(kv->close()); }
  void put(Kv& kv, const std::string& key, const std::string& value) {
    ASSERT_TRUE(kv.apply({{key, value}}, MayWait::yes).ok());
  }
  // What was flushed need not be in memory.
  static std::string value_of(const Kv& kv, const std::string& key) {
    return value_of(*kv.blocking_view(), key);
  }
  static std::string value_of(const KvReader& kv, const std::string& key) {
    auto value = kv.get(key);
    EXPECT_TRUE(value.ok());
    return value->value_or("-");
  }
  void fill(Kv& kv, u64 seed, int entries) {
    Prng prng(seed);
    KvBatch batch;
    for (int i = 0; i < entries; ++i) {
      const std::string key = fmt::format("{:c}{:x}", static_cast<char>('a' + prng.below(5)),
                                          prng.next());
      batch[key] = std::string(prng.below(300), static_cast<char>(prng.below(256)));
    }
    ASSERT_TRUE(kv.apply(batch, MayWait::yes).ok());
  }

  env::TemporaryDirectory folder_;
  std::unique_ptr<env::Env> env_ = std::move(*env::make_env(env::EnvKind::epoll));
  Reactor reactor_{*env_, ReactorOptions{}};
};

TEST_P(KvTest, AReplacementThatIsNotCommittedLeavesNothing) {
  auto kv = open("kv");
  put(*kv, "a", "old");
  {
    auto replacement = kv->begin_replacement();
    ASSERT_TRUE(replacement->add({{"a", "new"}, {"b", "new"}}).ok());
    EXPECT_EQ(value_of(*kv, "a"), "old");
  }
  EXPECT_EQ(value_of(*kv, "a"), "old");
  EXPECT_EQ(value_of(*kv, "b"), "-");
  // Nor does it show in the next one.
  auto replacement = kv->begin_replacement();
  ASSERT_TRUE(replacement->add({{"c", "new"}}).ok());
  ASSERT_TRUE(wait(replacement->commit()).ok());
  replacement.reset();
  EXPECT_EQ(value_of(*kv, "b"), "-");
  EXPECT_EQ(value_of(*kv, "c"), "new");
  close(std::move(kv));
}

TEST_P(KvTest, AReplacementIsTheWholeContentAndSurvivesARestart) {
  auto kv = open("kv");
  put(*kv, "a", "old");
  put(*kv, "b", "old");
  ASSERT_TRUE(wait(kv->flush()).ok());
  const auto before = GetParam() == Kind::rocks ? kv->blocking_view() : nullptr;
  auto replacement = kv->begin_replacement();
  ASSERT_TRUE(replacement->add({{"b", "first"}}).ok());
  ASSERT_TRUE(replacement->add({{"b", "new"}, {"c", "new"}}).ok());
  ASSERT_TRUE(wait(replacement->commit()).ok());
  replacement.reset();
  EXPECT_EQ(value_of(*kv, "a"), "-");
  EXPECT_EQ(value_of(*kv, "b"), "new");
  if (before) {
    EXPECT_EQ(value_of(*before, "a"), "old");
    EXPECT_EQ(value_of(*before, "c"), "-");
  }
  put(*kv, "d", "later");
  kv.reset();  // without close() or flush()
  if (!before) {
    kv = open("kv");
    EXPECT_EQ(value_of(*kv, "a"), "-");
    EXPECT_EQ(value_of(*kv, "b"), "new");
    EXPECT_EQ(value_of(*kv, "c"), "new");
    EXPECT_EQ(value_of(*kv, "d"), "-");
    close(std::move(kv));
  }
}

TEST_P(KvTest, ASnapshotCarriesEverythingInPieces) {
  auto source = open("source");
  fill(*source, 1, 3000);
  const std::string pieces_at = folder_.path() + "/snapshot";
  const auto pieces =
      write_snapshot(env_->files(), *source->blocking_view(), pieces_at, 64 * kKiB);
  ASSERT_TRUE(pieces.ok()) << pieces.error().message();
  EXPECT_GT(pieces->size(), 4u);
  auto target = open("target");
  fill(*target, 2, 100);
  auto replacement = target->begin_replacement();
  for (const SnapshotPiece& piece : *pieces) {
    const auto bytes = env_->files().read_file(pieces_at + "/" + piece.name);
    ASSERT_TRUE(bytes.ok());
    ASSERT_TRUE(load_snapshot_piece(piece, *bytes, *replacement).ok());
  }
  ASSERT_TRUE(wait(replacement->commit()).ok());
  replacement.reset();
  EXPECT_EQ(content_hash(*target->blocking_view()).value(),
            content_hash(*source->blocking_view()).value());
  close(std::move(source));
  close(std::move(target));
}

TEST_P(KvTest, AnEmptyStoreHasASnapshotWithoutPieces) {
  auto kv = open("kv");
  const auto pieces =
      write_snapshot(env_->files(), *kv->blocking_view(), folder_.path() + "/snapshot");
  ASSERT_TRUE(pieces.ok());
  EXPECT_TRUE(pieces->empty());
  close(std::move(kv));
}

TEST_P(KvTest, ADamagedPieceIsNotLoaded) {
  auto source = open("source");
  put(*source, "key", "value");
  put(*source, "other", "thing");
  const std::string pieces_at = folder_.path() + "/snapshot";
  const auto pieces = write_snapshot(env_->files(), *source->blocking_view(), pieces_at);
  ASSERT_TRUE(pieces.ok());
  ASSERT_EQ(pieces->size(), 1u);
  const std::string good = *env_->files().read_file(pieces_at + "/" + pieces->front().name);
  auto target = open("target");
  auto replacement = target->begin_replacement();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(load_snapshot_piece(pieces->front(), bad, *replacement).code(), Code::kCorrupt);
  }
  // Announced as it is, but not made of entries.
  for (size_t size = 1; size < good.size(); ++size) {
    SnapshotPiece cut = pieces->front();
    cut.bytes = size;
    cut.crc32c = crc32c(as_bytes_of(std::string_view(good).substr(0, size)));
    const Status loaded = load_snapshot_piece(cut, good.substr(0, size), *replacement);
    const bool whole = size == 2 * sizeof(u32) + std::string("keyvalue").size();
    EXPECT_EQ(loaded.ok(), whole) << size;
  }
  replacement.reset();
  close(std::move(source));
  close(std::move(target));
}

INSTANTIATE_TEST_SUITE_P(Stores, KvTest, ::testing::Values(Kind::memory, Kind::rocks),
                         [](const auto& instance) {
                           return instance.param == Kind::memory ? "Memory" : "Rocks";
                         });

class RocksStoreTest : public KvTest {};

TEST_P(RocksStoreTest, GroupsOfOneDatabaseDoNotSeeEachOther) {
  auto store = open_rocks_store(folder_.path() + "/db", {});
  ASSERT_TRUE(store.ok()) << store.error().message();
  auto first = std::move(*(*store)->group(1));
  auto second = std::move(*(*store)->group(0x0102030405060708));
  put(*first, "a", "first");
  put(*second, "a", "second");
  put(*second, "z", "second");
  EXPECT_EQ(value_of(*first, "a"), "first");
  EXPECT_EQ(value_of(*first, "z"), "-");
  EXPECT_EQ(first->blocking_view()->scan("", kKeysEnd, 10)->entries.size(), 1u);
  EXPECT_EQ(*(*store)->groups(), (std::vector<u64>{1, 0x0102030405060708}));
  // A replacement of one leaves the other alone.
  auto replacement = first->begin_replacement();
  ASSERT_TRUE(replacement->add({{"b", "new"}}).ok());
  ASSERT_TRUE(wait(replacement->commit()).ok());
  replacement.reset();
  EXPECT_EQ(value_of(*second, "z"), "second");
  EXPECT_EQ(value_of(*first, "b"), "new");
  close(std::move(second));
  ASSERT_TRUE((*store)->remove_group(0x0102030405060708).ok());
  EXPECT_EQ(*(*store)->groups(), (std::vector<u64>{1}));
  second = std::move(*(*store)->group(0x0102030405060708));
  EXPECT_EQ(value_of(*second, "z"), "-");
  close(std::move(first));
  close(std::move(second));
}

TEST_P(RocksStoreTest, AnInterruptedReplacementIsDroppedAtTheNextOpen) {
  {
    auto store = open_rocks_store(folder_.path() + "/db", {});
    ASSERT_TRUE(store.ok());
    auto kv = std::move(*(*store)->group(7));
    put(*kv, "a", "old");
    auto replacement = kv->begin_replacement();
    ASSERT_TRUE(replacement->add({{"a", "new"}, {"b", "new"}}).ok());
    ASSERT_TRUE(wait(kv->flush()).ok());
    (void)replacement.release();  // as if the process ended here
    close(std::move(kv));
  }
  auto store = open_rocks_store(folder_.path() + "/db", {});
  ASSERT_TRUE(store.ok()) << store.error().message();
  auto kv = std::move(*(*store)->group(7));
  EXPECT_EQ(value_of(*kv, "a"), "old");
  auto replacement = kv->begin_replacement();
  ASSERT_TRUE(wait(replacement->commit()).ok());
  replacement.reset();
  EXPECT_EQ(value_of(*kv, "a"), "-");
  EXPECT_EQ(value_of(*kv, "b"), "-");
  close(std::move(kv));
}

INSTANTIATE_TEST_SUITE_P(Stores, RocksStoreTest, ::testing::Values(Kind::rocks),
                         [](const auto&) { return "Rocks"; });

}  // namespace
}  // namespace pangu::master
