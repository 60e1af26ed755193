#include <gtest/gtest.h>

#include "chunk/store/test_store.h"

// What each operation answers, one by one.
namespace pangu::chunk {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(on_.open().ok()); }
  ChunkStore& store() { return on_.store(); }
  TestStore on_;
  const ChunkId id_ = chunk_id(5);
  TestWriter writer_{.chunk = id_};
};

TEST_F(StoreTest, AppendedBytesAreReadBack) {
  EXPECT_EQ(on_.append(writer_, 4096).code, Code::kOk);
  EXPECT_EQ(on_.append(writer_, 100).code, Code::kOk);
  writer_.committed = writer_.offset;
  const AppendOutcome third = on_.append(writer_, 50'000);
  EXPECT_EQ(third.code, Code::kOk);
  EXPECT_EQ(third.length, 54'196u);
  for (const u32 offset : {0u, 1u, 4047u, 4048u, 4095u, 4096u, 4195u}) {
    const ReadOutcome out = on_.read(id_, offset, 10'000);
    ASSERT_EQ(out.code, Code::kOk) << offset;
    EXPECT_EQ(out.readable, 4196u);
    EXPECT_GT(out.length, 0u);
    EXPECT_LE(out.unit_offset, offset);
    EXPECT_EQ(check_payload(id_, offset, out), "");
  }
  EXPECT_EQ(on_.read(id_, 4196, 1).code, Code::kNotCommitted);
  store().set_committed(id_, Epoch{1}, 1000 + 54'196);
  u32 at = 0;
  while (at < 54'196) {
    const ReadOutcome out = on_.read(id_, at, 1 << 20);
    ASSERT_EQ(out.code, Code::kOk);
    ASSERT_EQ(check_payload(id_, at, out), "");
    at += out.length;
  }
  EXPECT_EQ(at, 54'196u);
}

TEST_F(StoreTest, AppendsSurviveReopening) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(on_.append(writer_, 4096).code, Code::kOk);
  }
  on_.reopen();
  EXPECT_EQ(store().stat(id_)->length, 409'600u);
  const ReadOutcome out = on_.read(id_, 300'000, 5000, wire::kUnsettled, 1000 + 409'600);
  ASSERT_EQ(out.code, Code::kOk);
  EXPECT_EQ(check_payload(id_, 300'000, out), "");
  EXPECT_EQ(on_.append(writer_, 4096).code, Code::kOk);
}

TEST_F(StoreTest, OneDeviceWriteAnAppend) {
  TestWriter other{.chunk = chunk_id(6)};
  for (int i = 0; i < 400; ++i) {
    ASSERT_EQ(on_.append(i % 2 == 0 ? writer_ : other, 4096).code, Code::kOk);
  }
  EXPECT_EQ(store().counters().appends, 400u);
  EXPECT_EQ(store().counters().append_writes, 400u);
  EXPECT_EQ(store().counters().payload_copies, 0u);
}

TEST_F(StoreTest, ARetryIsADuplicate) {
  const TestRun first = writer_.next(5000);
  const TestRun second = writer_.next(5000);
  EXPECT_EQ(on_.append(first).code, Code::kOk);
  EXPECT_EQ(on_.append(second).code, Code::kOk);
  const AppendOutcome again = on_.append(first);
  EXPECT_EQ(again.code, Code::kDuplicate);
  EXPECT_EQ(again.length, 10'000u);
  on_.reopen();
  EXPECT_EQ(on_.append(second).code, Code::kDuplicate);
}

TEST_F(StoreTest, OtherBytesAreAConflict) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  TestWriter liar{.chunk = id_};
  EXPECT_EQ(on_.append(liar, 4999).code, Code::kConflict);
  TestWriter cutter{.chunk = id_};
  EXPECT_EQ(on_.append(cutter, 4048).code, Code::kDuplicate);
  // The same bytes, cut in another way.
  EXPECT_EQ(on_.append(cutter, 900).code, Code::kConflict);
}

TEST_F(StoreTest, AHoleIsAGap) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  (void)writer_.next(100);
  const AppendOutcome out = on_.append(writer_, 100);
  EXPECT_EQ(out.code, Code::kGap);
  EXPECT_EQ(out.length, 5000u);
  TestWriter absent{.chunk = chunk_id(99)};
  (void)absent.next(100);
  EXPECT_EQ(on_.append(absent, 100).code, Code::kGap);
}

TEST_F(StoreTest, ARunThatIsStoredInPartIsCompleted) {
  TestWriter front{.chunk = id_};
  EXPECT_EQ(on_.append(front, 2 * wire::kUnitDataMax).code, Code::kOk);
  const AppendOutcome out = on_.append(writer_, 20'000);
  EXPECT_EQ(out.code, Code::kOk);
  EXPECT_EQ(out.length, 20'000u);
}

TEST_F(StoreTest, ADamagedRunStoresNothing) {
  TestRun run = writer_.next(5000);
  run.run.data()[100] ^= std::byte{1};
  EXPECT_EQ(on_.append(run).code, Code::kCorrupt);
  EXPECT_EQ(store().stat(id_).code(), Code::kNotFound);
}

TEST_F(StoreTest, FenceStopsTheOwnerForEver) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  FenceOutcome fence = on_.fence(id_, 2);
  EXPECT_EQ(fence.code, Code::kOk);
  EXPECT_TRUE(fence.exists);
  EXPECT_EQ(fence.length, 5000u);
  EXPECT_EQ(fence.base, 1000u);
  EXPECT_EQ(fence.owner_epoch, Epoch{1});
  EXPECT_EQ(fence.copies_max, 3);
  const AppendOutcome late = on_.append(writer_, 100);
  EXPECT_EQ(late.code, Code::kFenced);
  EXPECT_EQ(late.fence, Epoch{2});
  EXPECT_EQ(on_.fence(id_, 1).code, Code::kFenced);
  EXPECT_EQ(on_.fence(id_, 2).code, Code::kOk);
  on_.reopen();
  EXPECT_EQ(on_.append(writer_, 100).code, Code::kFenced);
  fence = on_.fence(id_, 3);
  EXPECT_EQ(fence.code, Code::kOk);
  EXPECT_EQ(fence.length, 5000u);
}

TEST_F(StoreTest, FenceOfAnUnseenChunkLeavesATombstone) {
  const FenceOutcome fence = on_.fence(id_, 2);
  EXPECT_EQ(fence.code, Code::kOk);
  EXPECT_FALSE(fence.exists);
  EXPECT_EQ(on_.append(writer_, 100).code, Code::kFenced);
  on_.reopen();
  TestWriter again{.chunk = id_};
  EXPECT_EQ(on_.append(again, 100).code, Code::kFenced);
  // Also an owner whose epoch is not below the fence.
  TestWriter later{.chunk = id_, .epoch = {2}};
  EXPECT_EQ(on_.append(later, 100).code, Code::kSealed);
}

TEST_F(StoreTest, RecoverAppendNeedsItsFence) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  TestRun fill = writer_.next(6000);
  fill.args.recovers = true;
  fill.args.epoch = {2};
  EXPECT_EQ(on_.append(fill).code, Code::kStale);
  EXPECT_EQ(on_.fence(id_, 2).code, Code::kOk);
  EXPECT_EQ(on_.append(fill).code, Code::kOk);
  EXPECT_EQ(on_.append(fill).code, Code::kDuplicate);
  EXPECT_EQ(on_.fence(id_, 3).length, 11'000u);
  fill.args.epoch = {2};
  EXPECT_EQ(on_.append(fill).code, Code::kFenced);
  EXPECT_EQ(on_.finalize(id_, 11'000).code, Code::kOk);
  fill.args.epoch = {3};
  EXPECT_EQ(on_.append(fill).code, Code::kSealed);
}

TEST_F(StoreTest, RecoverAppendMayCreateOverATombstone) {
  TestRun fill = writer_.next(6000);
  fill.args.recovers = true;
  fill.args.epoch = {2};
  EXPECT_EQ(on_.append(fill).code, Code::kStale);
  EXPECT_FALSE(on_.fence(id_, 2).exists);
  EXPECT_EQ(on_.append(fill).code, Code::kOk);
  for (int i = 0; i < 2; ++i) {
    const FenceOutcome fence = on_.fence(id_, 2);
    EXPECT_TRUE(fence.exists);
    EXPECT_EQ(fence.length, 6000u);
    EXPECT_EQ(fence.owner_epoch, Epoch{1});
    EXPECT_EQ(fence.base, 1000u);
    TestWriter owner{.chunk = id_, .offset = 6000, .unit = 2};
    EXPECT_EQ(on_.append(owner, 10).code, Code::kFenced);
    on_.reopen();
  }
}

TEST_F(StoreTest, FinalizeDecidesTheLength) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  const LengthOutcome too_long = on_.finalize(id_, 10'001);
  EXPECT_EQ(too_long.code, Code::kShort);
  EXPECT_EQ(too_long.length, 10'000u);
  EXPECT_EQ(on_.finalize(id_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.finalize(id_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.finalize(id_, 10'000).code, Code::kConflict);
  EXPECT_EQ(on_.append(writer_, 10).code, Code::kSealed);
  for (int i = 0; i < 2; ++i) {
    const ReadOutcome out = on_.read(id_, 4000, 10'000);
    EXPECT_EQ(out.code, Code::kOk);
    EXPECT_EQ(out.length, 1000u);
    EXPECT_EQ(out.readable, 5000u);
    EXPECT_EQ(check_payload(id_, 4000, out), "");
    const FenceOutcome fence = on_.fence(id_, 5);
    EXPECT_TRUE(fence.finalized);
    EXPECT_EQ(fence.length, 5000u);
    on_.reopen();
  }
  EXPECT_EQ(on_.finalize(chunk_id(77), 10).code, Code::kShort);
}

TEST_F(StoreTest, SettledReadsGoByTheServicesLength) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  ReadOutcome out = on_.read(id_, 0, 20'000, 5000);
  EXPECT_EQ(out.code, Code::kOk);
  EXPECT_EQ(out.length, 5000u);
  EXPECT_EQ(on_.read(id_, 5000, 10, 5000).code, Code::kOk);
  EXPECT_EQ(on_.read(id_, 5000, 10, 5000).length, 0u);
  out = on_.read(id_, 0, 20'000, 30'000);
  EXPECT_EQ(out.code, Code::kOk);
  EXPECT_EQ(out.readable, 10'000u);
  EXPECT_EQ(on_.read(id_, 10'000, 10, 30'000).code, Code::kShort);
  EXPECT_EQ(on_.read(chunk_id(77), 0, 10, 100).code, Code::kNotHere);
}

TEST_F(StoreTest, CloseStopsTheOwnerOnly) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.wait(store().close(id_, Epoch{2})).code, Code::kStale);
  const LengthOutcome closed = on_.wait(store().close(id_, Epoch{1}));
  EXPECT_EQ(closed.code, Code::kOk);
  EXPECT_EQ(closed.length, 5000u);
  EXPECT_EQ(on_.append(writer_, 10).code, Code::kSealed);
  on_.reopen();
  EXPECT_EQ(on_.append(writer_, 10).code, Code::kSealed);
  EXPECT_EQ(on_.fence(id_, 2).length, 5000u);
  TestWriter filler{.chunk = id_, .offset = 5000, .unit = 2};
  TestRun fill = filler.next(700);
  fill.args.recovers = true;
  fill.args.epoch = {2};
  EXPECT_EQ(on_.append(fill).code, Code::kOk);
  EXPECT_EQ(on_.wait(store().close(id_, Epoch{1})).code, Code::kFenced);
}

TEST_F(StoreTest, CloseBeforeTheCreateArrives) {
  EXPECT_EQ(on_.wait(store().close(id_, Epoch{1})).code, Code::kOk);
  on_.reopen();
  EXPECT_EQ(on_.append(writer_, 10).code, Code::kSealed);
  EXPECT_FALSE(on_.fence(id_, 2).exists);
}

TEST_F(StoreTest, RemovedChunksAreGoneAndCannotComeBack) {
  on_.settle();
  const u64 free = store().space().free + store().space().prepared;
  EXPECT_EQ(on_.append(writer_, 500'000).code, Code::kOk);
  EXPECT_EQ(on_.remove(id_).code, Code::kOk);
  EXPECT_EQ(on_.remove(id_).code, Code::kOk);
  on_.settle();
  EXPECT_EQ(store().space().free + store().space().prepared, free);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(on_.read(id_, 0, 10, 100).code, Code::kNotHere);
    TestWriter again{.chunk = id_};
    EXPECT_EQ(on_.append(again, 10).code, Code::kSealed);
    EXPECT_FALSE(on_.fence(id_, 1).exists);
    on_.reopen();
  }
  EXPECT_EQ(on_.remove(chunk_id(77)).code, Code::kOk);
  TestWriter never{.chunk = chunk_id(77)};
  EXPECT_EQ(on_.append(never, 10).code, Code::kSealed);
}

TEST_F(StoreTest, ADeletedChunkMayBeCopiedHereAgain) {
  EXPECT_EQ(on_.append(writer_, 300'000).code, Code::kOk);
  EXPECT_EQ(on_.remove(id_).code, Code::kOk);
  EXPECT_EQ(on_.fence(id_, 9).code, Code::kOk);
  TestWriter copier{.chunk = id_};
  for (int i = 0; i < 4; ++i) {
    TestRun run = copier.next(50'000);
    run.args.recovers = true;
    run.args.epoch = {9};
    EXPECT_EQ(on_.append(run).code, Code::kOk);
    on_.reopen();
  }
  EXPECT_EQ(store().stat(id_)->length, 200'000u);
  EXPECT_EQ(on_.finalize(id_, 200'000).code, Code::kOk);
  const ReadOutcome out = on_.read(id_, 123'456, 10);
  EXPECT_EQ(out.code, Code::kOk);
  EXPECT_EQ(check_payload(id_, 123'456, out), "");
}

TEST_F(StoreTest, HistoryIsKeptWithTheCreate) {
  for (u32 i = 0; i < wire::kHistoryMax; ++i) {
    writer_.history.push_back({.sequence = i + 10, .zero = 0, .base = i * 100});
  }
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  for (int i = 0; i < 2; ++i) {
    const FenceOutcome fence = on_.fence(id_, 1);
    ASSERT_EQ(fence.history.size(), wire::kHistoryMax);
    EXPECT_EQ(fence.history[255].sequence, 265u);
    EXPECT_EQ(fence.history[255].base, 25'500u);
    on_.reopen();
  }
  EXPECT_EQ(store().stat(id_)->length, 10'000u);
}

TEST_F(StoreTest, WatchWaitsForNews) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  WatchOutcome out = on_.wait(store().watch({.chunk = id_}));
  EXPECT_EQ(out.committed, 1000u);
  EXPECT_TRUE(out.exists);
  EXPECT_FALSE(out.fenced_or_closed);
  bool woken = false;
  const auto watch = [](ChunkStore& store, ChunkId id, bool& done, WatchOutcome& into) -> Task<void> {
    into = co_await store.watch({.chunk = id, .beyond = 1000, .deadline = Instant::never()});
    done = true;
  };
  on_.reactor().spawn("watch", TaskClass::foreground, watch(store(), id_, woken, out));
  on_.settle();
  EXPECT_FALSE(woken);
  store().set_committed(id_, Epoch{2}, 9000);
  on_.settle();
  EXPECT_FALSE(woken) << "not the owner's word";
  store().set_committed(id_, Epoch{1}, 9000);
  on_.settle();
  EXPECT_TRUE(woken);
  EXPECT_EQ(out.committed, 6000u) << "what is not here cannot be read here";
  woken = false;
  const auto watch_more = [](ChunkStore& store, ChunkId id, bool& done,
                             WatchOutcome& into) -> Task<void> {
    into = co_await store.watch({.chunk = id, .beyond = 6000, .deadline = Instant::never()});
    done = true;
  };
  on_.reactor().spawn("watch", TaskClass::foreground, watch_more(store(), id_, woken, out));
  on_.settle();
  EXPECT_FALSE(woken);
  on_.fence(id_, 2);
  on_.settle();
  EXPECT_TRUE(woken);
  EXPECT_TRUE(out.fenced_or_closed);
}

TEST_F(StoreTest, KnownCommittedIsAdopted) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  EXPECT_EQ(on_.read(id_, 0, 10).code, Code::kNotCommitted);
  EXPECT_EQ(on_.read(id_, 0, 10, wire::kUnsettled, 1000 + 5001).code, Code::kNotCommitted)
      << "this replica does not reach it";
  EXPECT_EQ(on_.read(id_, 0, 10, wire::kUnsettled, 1000 + 4000).code, Code::kOk);
  EXPECT_EQ(on_.read(id_, 0, 10).readable, 4000u);
}

TEST_F(StoreTest, ATakeoverReadsToTheEnd) {
  EXPECT_EQ(on_.append(writer_, 5000).code, Code::kOk);
  ReadArgs args{.chunk = id_, .length = 10'000, .recovers = true, .epoch = {2}};
  EXPECT_EQ(on_.wait(store().read(args)).code, Code::kStale);
  on_.fence(id_, 2);
  const ReadOutcome out = on_.wait(store().read(args));
  EXPECT_EQ(out.code, Code::kOk);
  EXPECT_EQ(out.length, 5000u);
  args.epoch = {1};
  EXPECT_EQ(on_.wait(store().read(args)).code, Code::kFenced);
}

TEST_F(StoreTest, IrregularUnitsAreFound) {
  Prng prng(11);
  std::vector<u32> ends;
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(on_.append(writer_, static_cast<u32>(prng.between(1, 6000))).code, Code::kOk);
    ends.push_back(writer_.offset);
  }
  const u32 length = writer_.offset;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 300; ++i) {
      const auto offset = static_cast<u32>(prng.below(length));
      const auto size = static_cast<u32>(prng.between(1, 20'000));
      const ReadOutcome out = on_.read(id_, offset, size, length);
      ASSERT_EQ(out.code, Code::kOk) << offset;
      ASSERT_GT(out.length, 0u);
      ASSERT_EQ(check_payload(id_, offset, out), "") << offset;
    }
    if (round == 1) {
      EXPECT_EQ(on_.finalize(id_, length).code, Code::kOk);
      on_.settle();
    } else {
      on_.reopen();
    }
  }
}

TEST_F(StoreTest, ListIsInOrder) {
  for (u32 i = 10; i > 0; --i) {
    TestWriter writer{.chunk = chunk_id(i)};
    ASSERT_EQ(on_.append(writer, 100).code, Code::kOk);
  }
  on_.remove(chunk_id(3));
  std::vector<ChunkInfo> all = store().list({}, 100);
  ASSERT_EQ(all.size(), 10u);
  for (u32 i = 0; i < 10; ++i) {
    EXPECT_EQ(all[i].chunk, chunk_id(i + 1));
    EXPECT_EQ(all[i].exists, i != 2);
  }
  all = store().list(chunk_id(2), 3);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].chunk, chunk_id(3));
  EXPECT_EQ(all[2].chunk, chunk_id(5));
}

TEST_F(StoreTest, ForgottenFilesRefuseCreates) {
  on_.fence(chunk_id(5, 9), 4);
  EXPECT_TRUE(on_.wait(store().forget_files({4}, {6})).ok());
  EXPECT_EQ(store().contents().tombstones, 0u);
  for (int i = 0; i < 2; ++i) {
    TestWriter writer{.chunk = id_};
    EXPECT_EQ(on_.append(writer, 100).code, Code::kSealed);
    on_.reopen();
  }
  TestWriter writer{.chunk = chunk_id(7)};
  EXPECT_EQ(on_.append(writer, 100).code, Code::kOk);
}

TEST(Device, SomebodysSmallFileIsNotBlank) {
  TestStore small(1000, false);
  const std::string text = "precious";
  small.file().poke(0, as_bytes_of(std::string_view(text)));
  EXPECT_FALSE(*small.wait(is_blank(small.file())));
  TestStore empty(0, false);
  EXPECT_TRUE(*empty.wait(is_blank(empty.file())));
}

}  // namespace
}  // namespace pangu::chunk
