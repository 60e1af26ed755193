#include <gtest/gtest.h>

#include "chunk/store/test_store.h"

// Devices without room: appends are refused at once; what reads, fences, closes, seals and deletes
// the chunks that are here never is; and appends go on by themselves when there is room again.
namespace pangu::chunk {
namespace {

constexpr u64 kCapacity = 8 * kMiB;

// Operations on `chunk` that must never need space: read, fence, close, seal, delete.
void expect_all_but_appends(TestStore& on, const TestWriter& closed, const TestWriter& sealed) {
  EXPECT_EQ(on.read(closed.chunk, 0, 100, closed.offset).code, Code::kOk);
  EXPECT_EQ(on.wait(on.store().close(closed.chunk, Epoch{1})).code, Code::kOk);
  EXPECT_EQ(on.fence(closed.chunk, 2).code, Code::kOk);
  EXPECT_EQ(on.fence(sealed.chunk, 3).code, Code::kOk);
  EXPECT_EQ(on.finalize(sealed.chunk, sealed.offset).code, Code::kOk);
  EXPECT_EQ(on.read(sealed.chunk, sealed.offset - 1, 1).code, Code::kOk);
  EXPECT_EQ(on.remove(closed.chunk).code, Code::kOk);
}

TEST(Space, TheEndOfTheRoomForTombstones) {
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  std::vector<TestWriter> kept;
  for (u64 i = 1; i <= 7; ++i) {
    kept.push_back({.chunk = chunk_id(i)});
    ASSERT_EQ(on.append(kept.back(), 9000).code, Code::kOk);
  }
  // Chunks come and go, and nobody says that their files are dead.
  Code code = Code::kOk;
  u64 file = 100;
  for (; code == Code::kOk && file < 100'000; ++file) {
    TestWriter writer{.chunk = chunk_id(file)};
    code = on.append(writer, 10).code;
    ASSERT_EQ(on.remove(writer.chunk).code, Code::kOk) << file;
  }
  ASSERT_EQ(code, Code::kNoSpace) << file;
  EXPECT_TRUE(on.store().space().full);
  EXPECT_EQ(on.append(kept[0], 5000).code, Code::kOk) << "a chunk that is here goes on";
  expect_all_but_appends(on, kept[0], kept[1]);
  // Servers that are asked about chunks they never had remember as many as they can, and then say so.
  code = Code::kOk;
  for (; code == Code::kOk && file < 200'000; ++file) {
    code = on.fence(chunk_id(file), 2).code;
  }
  ASSERT_EQ(code, Code::kNoSpace) << file;
  EXPECT_EQ(on.fence(chunk_id(file - 2), 3).code, Code::kOk) << "this one is remembered already";
  EXPECT_EQ(on.wait(on.store().close(chunk_id(300'000), Epoch{1})).code, Code::kNoSpace);
  EXPECT_EQ(on.remove(chunk_id(300'000)).code, Code::kNoSpace);
  EXPECT_EQ(on.store().stat(chunk_id(300'000)).code(), Code::kNotFound);
  expect_all_but_appends(on, kept[2], kept[3]);
  // It does not hang in its log either, however long this goes on, nor when it is opened again.
  for (u32 epoch = 10; epoch < 1500; ++epoch) {
    ASSERT_EQ(on.fence(kept[4].chunk, epoch).code, Code::kOk) << epoch;
  }
  on.reopen();
  expect_all_but_appends(on, kept[5], kept[6]);
  const u64 checkpoints = on.store().counters().checkpoints;
  ASSERT_TRUE(on.wait(on.store().forget_files(FileId{100}, FileId{250'000})).ok());
  TestWriter fresh{.chunk = chunk_id(300'001)};
  EXPECT_EQ(on.append(fresh, 5000).code, Code::kOk) << "writable again by itself";
  EXPECT_FALSE(on.store().space().full);
  EXPECT_EQ(on.store().counters().checkpoints, checkpoints) << "before any checkpoint";
  TestWriter late{.chunk = chunk_id(150)};
  EXPECT_EQ(on.append(late, 10).code, Code::kSealed);
  on.reopen();
  EXPECT_EQ(on.store().stat(fresh.chunk)->length, 5000u);
}

// Chunks with the longest histories there are: their records are thirty times the usual size.
TEST(Space, LongHistoriesDoNotOverrunACheckpoint) {
  TestStore on(64 * kMiB);
  ASSERT_TRUE(on.open().ok());
  std::vector<TestWriter> writers;
  Code code = Code::kOk;
  while (code == Code::kOk && writers.size() < 2000) {
    TestWriter writer{.chunk = chunk_id(writers.size() + 1), .limit = 64 * kKiB};
    for (u32 i = 0; i < wire::kHistoryMax; ++i) {
      writer.history.push_back({.sequence = i, .zero = 0, .base = i});
    }
    code = on.append(writer, 100).code;
    writers.push_back(writer);
  }
  ASSERT_EQ(code, Code::kNoSpace);
  writers.pop_back();
  on.reopen();
  EXPECT_GT(on.store().counters().checkpoints, 0u) << "one at open";
  for (const TestWriter& writer : writers) {
    ASSERT_EQ(on.fence(writer.chunk, 2).code, Code::kOk);
  }
  for (const TestWriter& writer : writers) {
    ASSERT_EQ(on.finalize(writer.chunk, writer.offset).code, Code::kOk);
  }
  on.reopen();
  TestWriter fresh{.chunk = chunk_id(99'999)};
  EXPECT_EQ(on.append(fresh, 100).code, Code::kOk) << "sealed chunks need no history";
  for (const TestWriter& writer : writers) {
    ASSERT_EQ(on.remove(writer.chunk).code, Code::kOk);
  }
}

TEST(Space, AFullDeviceRefusesAtOnce) {
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  std::vector<TestWriter> writers;
  Code code = Code::kOk;
  while (code == Code::kOk) {
    writers.push_back({.chunk = chunk_id(writers.size() + 1), .limit = 256 * kKiB});
    while (code == Code::kOk && writers.back().offset + 16'000 <= 256 * kKiB) {
      code = on.append(writers.back(), 16'000).code;
    }
  }
  ASSERT_EQ(code, Code::kNoSpace);
  // Time stands still here: whatever had to wait for it would never end.
  for (u64 i = 0; i < 20; ++i) {
    TestWriter fresh{.chunk = chunk_id(1000 + i)};
    const AppendOutcome out = on.append(fresh, 100'000);
    EXPECT_EQ(out.code, Code::kNoSpace);
    EXPECT_EQ(on.store().stat(fresh.chunk).code(), Code::kNotFound) << "nothing is left of it";
  }
  for (size_t i = 0; i + 3 < writers.size(); i += 2) {
    expect_all_but_appends(on, writers[i], writers[i + 1]);
    TestWriter fresh{.chunk = chunk_id(2000 + i)};
    EXPECT_EQ(on.append(fresh, 16'000).code, Code::kOk) << "writable again by itself";
  }
}

// The device is a file on a file system that others have filled.
TEST(Space, AFullFileSystemRefusesAppendsOnly) {
  TestStore on(kCapacity, false);
  FormatOptions format = test_format(kCapacity);
  format.prewrite = true;
  ASSERT_TRUE(on.wait(format_device(on.file(), format)).ok());
  on.options().prewrite = true;
  ASSERT_TRUE(on.open().ok());
  std::vector<TestWriter> writers;
  for (u64 i = 1; i <= 6; ++i) {
    writers.push_back({.chunk = chunk_id(i)});
    ASSERT_EQ(on.append(writers.back(), 9000).code, Code::kOk);
  }
  on.settle();
  on.file().refuse_growth(true);
  Code code = Code::kOk;
  TestWriter filler{.chunk = chunk_id(50)};
  for (int i = 0; i < 1000 && code == Code::kOk; ++i) {
    code = on.append(filler, 16'000).code;
  }
  ASSERT_EQ(code, Code::kNoSpace);
  expect_all_but_appends(on, writers[0], writers[1]);
  for (u32 epoch = 10; epoch < 1500; ++epoch) {  // the log goes round and round
    ASSERT_EQ(on.fence(writers[2].chunk, epoch).code, Code::kOk) << epoch;
  }
  EXPECT_GT(on.store().counters().checkpoints, 10u);
  on.reopen();
  expect_all_but_appends(on, writers[3], writers[4]);
  on.file().refuse_growth(false);
  on.reopen();
  EXPECT_EQ(on.append(writers[5], 100'000).code, Code::kOk);
  EXPECT_FALSE(on.store().space().failed);
}

}  // namespace
}  // namespace pangu::chunk
