#include <gtest/gtest.h>

#include "chunk/store/damage_rig.h"

// Copies of settled chunks, as the store sees them: what is unfinished is no replica, for nobody.
namespace pangu::chunk {
namespace {

// Units as they would come from another replica: cut into runs of many sizes, sent as they lie.
struct Original {
  TestWriter writer;
  std::vector<std::byte> units;
  std::vector<u32> ends;  // payload offset at which each unit ends

  explicit Original(u64 file, u32 runs = 20, u64 seed = 5) : writer{.chunk = chunk_id(file)} {
    Prng prng(seed);
    for (u32 i = 0; i < runs; ++i) {
      writer.committed = writer.offset;
      const TestRun run = writer.next(static_cast<u32>(prng.between(1, 9000)));
      const Bytes bytes = run.run.bytes();
      units.insert(units.end(), bytes.begin(), bytes.end());
    }
    for (size_t at = 0; at < units.size(); at += wire::kUnitBytes) {
      ends.push_back(wire::footer_of(units.data() + at).end_offset);
    }
  }
  u32 length() const { return writer.offset; }
  u32 count() const { return static_cast<u32>(ends.size()); }
  TestRun piece(u32 first, u32 units_max) const {
    const u32 many = std::min(units_max, count() - first);
    TestRun out;
    const u32 start = first == 0 ? 0 : ends[first - 1];
    out.args = {.chunk = writer.chunk,
                .epoch = kCopyEpoch,
                .owner_epoch = writer.epoch,
                .base = writer.base,
                .offset = start,
                .data_len = ends[first + many - 1] - start,
                .unit_index = first,
                .unit_count = many,
                .creates = first == 0,
                .recovers = true,
                .chunk_limit = length()};
    out.run = Slice::copy_of(Bytes(units).subspan(size_t{first} * wire::kUnitBytes,
                                                  size_t{many} * wire::kUnitBytes));
    return out;
  }
};

CopyStart begin(TestStore& on, const ChunkId& id) { return on.wait(on.store().begin_copy(id)); }

// From where it stands to the end, or to unit `stop`.
Code go_on(TestStore& on, const Original& original, u32 stop = ~u32{0}) {
  const CopyStart start = begin(on, original.writer.chunk);
  if (start.code != Code::kOk) {
    return start.code;
  }
  for (u32 unit = start.unit_count; unit < std::min(stop, original.count()); unit += 7) {
    const AppendOutcome out = on.append(original.piece(unit, std::min(7u, stop - unit)));
    if (out.code != Code::kOk) {
      return out.code;
    }
  }
  return Code::kOk;
}

void expect_whole(TestStore& on, const Original& original) {
  const ChunkId id = original.writer.chunk;
  for (u32 at = 0; at < original.length();) {
    const ReadOutcome out = on.read(id, at, original.length() - at, original.length());
    ASSERT_EQ(out.code, Code::kOk) << at;
    ASSERT_EQ(check_payload(id, at, out), "");
    at += out.length;
  }
  const ChunkInfo info = *on.store().stat(id);
  EXPECT_TRUE(info.finalized);
  EXPECT_FALSE(info.copying);
  EXPECT_EQ(info.unit_count, original.count());
  EXPECT_EQ(info.base, original.writer.base);
}

// Nobody gets anything out of it, and nobody but the copy puts anything in.
void expect_no_replica(TestStore& on, const Original& original) {
  const ChunkId id = original.writer.chunk;
  EXPECT_EQ(on.read(id, 0, 100, original.length()).code, Code::kNotHere);
  EXPECT_EQ(on.read(id, 0, 100).code, Code::kNotHere);
  EXPECT_EQ(on.read(id, 0, 100, wire::kUnsettled, original.writer.base + 50).code, Code::kNotHere);
  EXPECT_EQ(on.wait(on.store().read({.chunk = id, .length = 9, .recovers = true, .epoch = {7}})).code,
            Code::kNotHere);
  const FenceOutcome fenced = on.fence(id, 7);
  EXPECT_EQ(fenced.code, Code::kFenced);
  EXPECT_FALSE(fenced.exists);
  EXPECT_EQ(fenced.length, 0u);
  EXPECT_EQ(on.wait(on.store().close(id, original.writer.epoch)).code, Code::kFenced);
  TestWriter owner = original.writer;
  EXPECT_EQ(on.append(owner, 10).code, Code::kFenced);
  TestRun recover = original.piece(0, 1);
  recover.args.epoch = {7};
  EXPECT_EQ(on.append(recover).code, Code::kFenced);
  on.store().set_committed(id, original.writer.epoch, original.writer.base + 100);
  const WatchOutcome watched =
      on.wait(on.store().watch({.chunk = id, .beyond = 0, .deadline = on.reactor().now()}));
  EXPECT_FALSE(watched.exists);
  EXPECT_TRUE(watched.fenced_or_closed);
  EXPECT_EQ(on.read(id, 0, 100).code, Code::kNotHere);
}

TEST(Copy, IsExactAndSurvives) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const Original original(5);
  ASSERT_EQ(go_on(on, original), Code::kOk);
  expect_no_replica(on, original);
  EXPECT_EQ(on.store().unfinished_copies(), std::vector{original.writer.chunk});
  ASSERT_EQ(on.wait(on.store().finalize(original.writer.chunk, original.length(), 4)).code,
            Code::kOk);
  EXPECT_TRUE(on.store().unfinished_copies().empty());
  for (int life = 0; life < 2; ++life) {
    expect_whole(on, original);
    EXPECT_EQ(on.store().stat(original.writer.chunk)->version, 4u);
    const CopyStart again = begin(on, original.writer.chunk);
    EXPECT_EQ(again.code, Code::kSealed);
    EXPECT_EQ(again.length, original.length());
    on.reopen();
  }
}

TEST(Copy, UnfinishedIsNoReplica) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const Original original(5);
  const ChunkId id = original.writer.chunk;
  ASSERT_EQ(begin(on, id).code, Code::kOk);
  for (const u32 units : {0u, 3u, 9u, 17u}) {
    ASSERT_EQ(go_on(on, original, units), Code::kOk) << units;
    for (int life = 0; life < 2; ++life) {
      EXPECT_EQ(on.fence(id, 7).code, Code::kFenced);
      TestWriter owner = original.writer;
      owner.offset = owner.unit = 0;
      EXPECT_EQ(on.append(owner, 10).code, Code::kFenced);
      if (units > 0) {
        expect_no_replica(on, original);
        EXPECT_EQ(on.finalize(id, original.length()).code, Code::kShort);
        EXPECT_TRUE(on.store().stat(id)->copying);
        EXPECT_EQ(on.store().unfinished_copies(), std::vector{id});
      } else {
        EXPECT_TRUE(on.store().unfinished_copies().empty());
      }
      on.reopen();
    }
    EXPECT_EQ(begin(on, id).unit_count, units);
  }
  ASSERT_EQ(go_on(on, original), Code::kOk);
  ASSERT_EQ(on.finalize(id, original.length()).code, Code::kOk);
  expect_whole(on, original);
}

TEST(Copy, IsNotMadeOverAReplica) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  TestWriter writer{.chunk = chunk_id(5)};
  ASSERT_EQ(on.append(writer, 5000).code, Code::kOk);
  EXPECT_EQ(begin(on, writer.chunk).code, Code::kAlreadyExists);
  ASSERT_EQ(on.fence(writer.chunk, 3).code, Code::kOk);
  EXPECT_EQ(begin(on, writer.chunk).code, Code::kAlreadyExists);
  EXPECT_EQ(on.fence(writer.chunk, 4).length, 5000u) << "it was left as it is";
}

TEST(Copy, ComesAfterADeleteAndAForgetting) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const Original original(5);
  const ChunkId id = original.writer.chunk;
  for (u32 life = 0; life < 3; ++life) {
    if (life == 2) {
      ASSERT_TRUE(on.wait(on.store().forget_files({1}, {9})).ok());
    }
    ASSERT_EQ(go_on(on, original, 5), Code::kOk);
    ASSERT_EQ(on.remove(id).code, Code::kOk) << "given up";
    ASSERT_EQ(go_on(on, original), Code::kOk);
    on.reopen();
    expect_no_replica(on, original);
    ASSERT_EQ(on.wait(on.store().finalize(id, original.length(), life + 1)).code, Code::kOk);
    on.reopen();
    expect_whole(on, original);
    ASSERT_EQ(on.wait(on.store().remove(id, life + 1)).code, Code::kOk);
    EXPECT_EQ(on.read(id, 0, 10, original.length()).code, Code::kNotHere);
  }
  // The tombstone of a copy that has just begun is forgotten: it begins again.
  ASSERT_TRUE(on.wait(on.store().forget_files({1}, {9})).ok());
  ASSERT_EQ(begin(on, id).code, Code::kOk);
  ASSERT_TRUE(on.wait(on.store().forget_files({1}, {9})).ok());
  EXPECT_EQ(on.append(original.piece(0, 5)).code, Code::kStale);
  ASSERT_EQ(go_on(on, original), Code::kOk);
  ASSERT_EQ(on.finalize(id, original.length()).code, Code::kOk);
  expect_whole(on, original);
}

// An order to delete an earlier replica comes late, or the copy is asked for where one is already.
TEST(Copy, ALaterVersionStays) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const Original original(5);
  const ChunkId id = original.writer.chunk;
  ASSERT_EQ(go_on(on, original), Code::kOk);
  ASSERT_EQ(on.wait(on.store().finalize(id, original.length(), 4)).code, Code::kOk);
  EXPECT_EQ(on.wait(on.store().remove(id, 3)).code, Code::kOk);
  expect_whole(on, original);
  ASSERT_EQ(on.wait(on.store().finalize(id, original.length(), 6)).code, Code::kOk);
  ASSERT_EQ(on.wait(on.store().finalize(id, original.length(), 5)).code, Code::kOk);
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(on.store().stat(id)->version, 6u);
    EXPECT_EQ(on.wait(on.store().remove(id, 5)).code, Code::kOk);
    expect_whole(on, original);
    on.reopen();
  }
  EXPECT_EQ(on.wait(on.store().remove(id, 6)).code, Code::kOk);
  EXPECT_EQ(on.store().contents().chunks, 0u);
}

TEST(Copy, DamagedPiecesAreRefused) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const Original original(5);
  ASSERT_EQ(go_on(on, original, 4), Code::kOk);
  TestRun flipped = original.piece(4, 5);
  flipped.run.data()[2 * wire::kUnitBytes + 7] ^= std::byte{4};
  EXPECT_EQ(on.append(flipped).code, Code::kCorrupt);
  TestRun skipped = original.piece(5, 5);
  skipped.args.unit_index = 4;
  skipped.args.offset = original.piece(4, 1).args.offset;
  EXPECT_EQ(on.append(skipped).code, Code::kCorrupt);
  TestRun another_epoch = original.piece(4, 5);
  another_epoch.args.owner_epoch = {2};
  EXPECT_EQ(on.append(another_epoch).code, Code::kCorrupt);
  EXPECT_EQ(on.append(original.piece(5, 5)).code, Code::kGap);
  EXPECT_EQ(on.append(original.piece(4, 5)).code, Code::kOk);
}

// What stands behind a torn tail says that more was committed, elsewhere: that is no damage here.
TEST(Copy, ATornTailIsNoDamage) {
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  const Original original(5, 6);  // in one block: the log says nothing of its length
  const ChunkId id = original.writer.chunk;
  ASSERT_EQ(go_on(on, original), Code::kOk);
  const std::vector<std::byte> image = on.image();  // as a crash leaves it
  Quiet quiet;
  for (u32 lost = 0; lost < original.count(); ++lost) {
    TestStore after(kCapacity);
    std::vector<std::byte> torn = image;
    for (size_t at = 0; at < torn.size(); at += wire::kUnitBytes) {
      if (wire::check_unit(id, lost, torn.data() + at) == wire::UnitFault::ok) {
        std::memset(torn.data() + at, 0, wire::kUnitBytes);
      }
    }
    after.load_image(torn);
    ASSERT_TRUE(after.open().ok());
    const CopyStart start = begin(after, id);
    ASSERT_EQ(start.code, Code::kOk);
    EXPECT_FALSE(start.damaged);
    EXPECT_EQ(start.unit_count, lost);
    ASSERT_EQ(go_on(after, original), Code::kOk) << lost;
    ASSERT_EQ(after.finalize(id, original.length()).code, Code::kOk);
    expect_whole(after, original);
    after.reopen();
    expect_whole(after, original);
  }
}

TEST(Copy, DoesNotTakeWhatIsKeptForSealsAndTakeovers) {
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  Code code = Code::kOk;
  u64 file = 1;
  for (; code == Code::kOk && file < 1000; ++file) {
    const Original original(file, 40, file);
    code = go_on(on, original);
    if (code == Code::kOk) {
      ASSERT_EQ(on.finalize(original.writer.chunk, original.length()).code, Code::kOk);
    }
  }
  EXPECT_EQ(code, Code::kNoSpace);
  ASSERT_EQ(on.remove(chunk_id(file - 1)).code, Code::kOk);
  EXPECT_TRUE(on.store().unfinished_copies().empty());
  // A takeover may.
  const ChunkId id = chunk_id(5000);
  ASSERT_EQ(on.fence(id, 3).code, Code::kOk);
  TestWriter writer{.chunk = id};
  TestRun fill = writer.next(100'000);
  fill.args.recovers = true;
  fill.args.epoch = {3};
  EXPECT_EQ(on.append(fill).code, Code::kOk);
}

}  // namespace
}  // namespace pangu::chunk
