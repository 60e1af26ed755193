#include <gtest/gtest.h>

#include <cerrno>

#include "chunk/format/checkpoint_slot.h"
#include "chunk/format/log_batch.h"
#include "chunk/store/damage_rig.h"

// Devices that are damaged, full or failing: bad bytes are never handed out and never crash the
// store, and what cannot be promised any more is not.
namespace pangu::chunk {
namespace {

TEST(Damage, ABitFlipAnywhereIsNeverServed) {
  const Quiet quiet;
  TestStore source(kCapacity);
  ASSERT_TRUE(source.open().ok());
  const Populated populated(source);
  const std::vector<std::byte> image = source.image();  // as after a crash
  std::vector<u64> interesting;
  for (u64 at = 0; at < image.size(); at += 64) {
    const auto line = Bytes(image).subspan(at, 64);
    if (std::any_of(line.begin(), line.end(), [](std::byte b) { return b != std::byte{0}; })) {
      interesting.push_back(at);
    }
  }
  Prng prng(3);
  u64 opened = 0;
  for (int i = 0; i < 250; ++i) {
    std::vector<std::byte> bad = image;
    const u64 at = prng.chance(0.8) ? interesting[prng.below(interesting.size())] + prng.below(64)
                                    : prng.below(image.size());
    bad[at] ^= static_cast<std::byte>(1u << prng.below(8));
    TestStore on(kCapacity, false);
    on.load_image(bad);
    open_and_use(on, populated, opened);
    if (HasFailure()) {
      FAIL() << "flipped a bit at " << at;
    }
  }
  EXPECT_GT(opened, 200u) << "one flipped bit costs at most a chunk, hardly ever a device";
}

TEST(Damage, ABitFlipUnderARunningStoreIsNeverServed) {
  const Quiet quiet;
  TestStore on(kCapacity);
  on.options().tail_bytes_max = 0;
  ASSERT_TRUE(on.open().ok());
  const Populated populated(on);
  const Layout layout;
  Prng prng(4);
  const u32 before = populated.read_all(on);
  for (int i = 0; i < 3000; ++i) {
    const u64 at = prng.between(layout.shard.blocks_offset, kCapacity - 1);
    std::byte byte;
    on.file().peek(at, {&byte, 1});
    byte ^= std::byte{4};
    on.file().poke(at, {&byte, 1});
  }
  EXPECT_LT(populated.read_all(on), before);
  EXPECT_GT(on.store().counters().bad_units, 0u);
  for (const TestWriter& writer : populated.writers) {
    const auto info = on.store().stat(writer.chunk);
    if (info.ok() && info->damaged && !info->finalized) {
      TestWriter owner = writer;
      EXPECT_NE(on.append(owner, 10).code, Code::kOk);
      EXPECT_EQ(on.fence(writer.chunk, 20).code, Code::kCorrupt);
    }
  }
}

TEST(Damage, GarbageAnywhereNeverCrashes) {
  const Quiet quiet;
  TestStore source(kCapacity);
  ASSERT_TRUE(source.open().ok());
  const Populated populated(source);
  const std::vector<std::byte> image = source.image();
  u64 opened = 0;
  for (u64 seed = 1; seed <= 60; ++seed) {
    Prng prng(seed);
    std::vector<std::byte> bad = image;
    for (u64 k = prng.between(1, 30); k > 0; --k) {
      const u64 at = prng.between(kHeadBytes, image.size() - 1);
      const u64 size = std::min<u64>(prng.between(1, 9000), image.size() - at);
      for (u64 i = 0; i < size; ++i) {
        bad[at + i] = static_cast<std::byte>(prng.next());
      }
    }
    TestStore on(kCapacity, false);
    on.load_image(bad);
    open_and_use(on, populated, opened);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

// Damage with right checksums: as if written by a faulty program.
TEST(Damage, WrongRecordsNeverCrash) {
  const Quiet quiet;
  TestStore source(kCapacity);
  ASSERT_TRUE(source.open().ok());
  const Populated populated(source);
  source.reopen();  // so that there is a checkpoint with everything
  const std::vector<std::byte> image = source.image();
  const Layout layout;
  u64 opened = 0;
  for (u64 seed = 1; seed <= 300; ++seed) {
    Prng prng(seed);
    std::vector<std::byte> bad = image;
    for (const u64 slot : layout.shard.slot_offset) {
      auto header = decode_slot_header(bad.data() + slot, kTestDevice, 0, layout.shard.slot_bytes);
      if (!header || header->body_bytes == 0) {
        continue;
      }
      std::byte* body = bad.data() + slot + kSectorBytes;
      for (u64 k = prng.between(1, 4); k > 0; --k) {
        const u64 at = prng.below(header->body_bytes);
        body[at] = static_cast<std::byte>(prng.chance(0.5) ? prng.next() : 0xff);
      }
      header->body_crc = crc32c({body, header->body_bytes});
      encode_slot_header(*header, bad.data() + slot);
    }
    TestStore on(kCapacity, false);
    on.load_image(bad);
    open_and_use(on, populated, opened);
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
  EXPECT_GT(opened, 20u);
}

TEST(Damage, EitherSuperblockWillDo) {
  const Quiet quiet;
  TestStore on(kCapacity);
  const std::vector<std::byte> zero(kSectorBytes);
  std::vector<std::byte> junk(kSectorBytes, std::byte{7});
  on.file().poke(0, zero);
  ASSERT_TRUE(on.open().ok());
  on.stop();
  on.file().poke(kSuperblockOffsets[1], junk);
  const Status status = on.open();
  ASSERT_EQ(status.code(), Code::kNotOurs);
  EXPECT_NE(status.error().message().find("other data"), std::string::npos);
  on.file().poke(kSuperblockOffsets[1], zero);
  EXPECT_NE(on.open().error().message().find("blank"), std::string::npos);
}

TEST(Damage, ADeviceIsNotFormattedTwice) {
  TestStore on(kCapacity);
  const Status again = on.wait(format_device(on.file(), test_format(kCapacity)));
  ASSERT_EQ(again.code(), Code::kAlreadyExists);
  EXPECT_NE(again.error().message().find(to_string(kTestDevice)), std::string::npos);
  FormatOptions options = test_format(kCapacity);
  options.overwrite = true;
  EXPECT_TRUE(on.wait(format_device(on.file(), options)).ok());
  options.capacity = kMiB;
  EXPECT_EQ(on.wait(format_device(on.file(), options)).code(), Code::kInvalidArgument);
}

TEST(Damage, TheOlderCheckpointServes) {
  const Quiet quiet;
  TestStore on(kCapacity);
  const Layout layout;
  ASSERT_TRUE(on.open().ok());
  const Populated populated(on);
  const u32 whole = populated.read_all(on);
  on.reopen();
  on.fence(chunk_id(2000), 8);
  std::vector<std::byte> image = on.image();  // a crash: the last fence is in the log only
  u64 newest = 0;
  u64 newest_number = 0;
  for (const u64 slot : layout.shard.slot_offset) {
    const auto header =
        decode_slot_header(image.data() + slot, kTestDevice, 0, layout.shard.slot_bytes);
    ASSERT_TRUE(header);
    if (header->number > newest_number) {
      newest_number = header->number;
      newest = slot;
    }
  }
  for (const u64 hurt : {newest + 5000, newest + 10}) {  // its body; its header
    std::vector<std::byte> bad = image;
    bad[hurt] ^= std::byte{1};
    TestStore after(kCapacity, false);
    after.load_image(bad);
    ASSERT_TRUE(after.open().ok());
    EXPECT_EQ(after.store().recovery().used_older_checkpoint, hurt != newest + 10);
    EXPECT_EQ(populated.read_all(after), whole);
    EXPECT_EQ(after.store().stat(chunk_id(2000))->fence, Epoch{8});
    EXPECT_EQ(after.store().stat(chunk_id(1000))->fence, Epoch{3});
  }
  for (const u64 slot : layout.shard.slot_offset) {
    image[slot + 10] ^= std::byte{1};
  }
  TestStore after(kCapacity, false);
  after.load_image(image);
  EXPECT_EQ(after.open().code(), Code::kCorrupt);
}

TEST(Damage, AHoleInTheLogIsNoTornTail) {
  const Quiet quiet;
  const Layout layout;
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  for (u32 i = 0; i < 10; ++i) {
    on.fence(chunk_id(i + 1), 2);
  }
  const std::vector<std::byte> image = on.image();
  std::vector<u64> batches;
  for (u64 at = 0; at < layout.shard.log_bytes; at += kSectorBytes) {
    const std::byte* sector = image.data() + layout.shard.log_offset + at;
    if (decode_batch_header(sector, kTestDevice, 0)) {
      batches.push_back(layout.shard.log_offset + at);
    }
  }
  ASSERT_GE(batches.size(), 10u);
  for (const bool last : {false, true}) {
    std::vector<std::byte> bad = image;
    bad[(last ? batches.back() : batches[batches.size() - 3]) + 90] ^= std::byte{1};
    TestStore after(kCapacity, false);
    after.load_image(bad);
    EXPECT_EQ(after.open().code(), last ? Code::kOk : Code::kCorrupt);
  }
}

TEST(Damage, TheLogWrapsAround) {
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  for (u32 round = 0; round < 12; ++round) {
    for (u32 i = 0; i < 60; ++i) {
      const u32 epoch = round + 2;
      ASSERT_EQ(on.fence(chunk_id(i % 20 + 1), epoch).code, Code::kOk);
    }
    if (round % 3 == 2) {
      TestStore after(kCapacity, false);
      after.load_image(on.image());
      ASSERT_TRUE(after.open().ok());
      for (u32 i = 0; i < 20; ++i) {
        EXPECT_EQ(after.store().stat(chunk_id(i + 1))->fence, Epoch{round + 2});
      }
    }
  }
  EXPECT_GT(on.store().counters().checkpoints, 3u);
}

TEST(Damage, AFailedWriteIsFinal) {
  const Quiet quiet;
  for (const bool by_flush : {false, true}) {
    TestStore on(kCapacity);
    ASSERT_TRUE(on.open().ok());
    TestWriter writer{.chunk = chunk_id(1)};
    ASSERT_EQ(on.append(writer, 5000).code, Code::kOk);
    on.settle();
    (by_flush ? on.file().fail_flushes(EIO) : on.file().fail_writes(EIO));
    std::vector<AppendOutcome> outs(2);
    TestWriter other{.chunk = chunk_id(2)};
    const auto one = [](ChunkStore& store, TestRun run, AppendOutcome& out) -> Task<void> {
      out = co_await store.append(run.args, run.run);
    };
    on.reactor().spawn("a", TaskClass::foreground, one(on.store(), writer.next(5000), outs[0]));
    on.reactor().spawn("b", TaskClass::foreground, one(on.store(), other.next(5000), outs[1]));
    on.settle();
    EXPECT_EQ(outs[1].code, Code::kDeviceFailed) << by_flush;
    on.file().fail_writes(0);
    on.file().fail_flushes(0);
    TestWriter third{.chunk = chunk_id(3)};
    EXPECT_EQ(on.append(third, 10).code, Code::kDeviceFailed);
    EXPECT_EQ(on.fence(chunk_id(1), 4).code, Code::kDeviceFailed);
    EXPECT_EQ(on.remove(chunk_id(1)).code, Code::kDeviceFailed);
    EXPECT_TRUE(on.store().space().failed);
  }
}

TEST(Damage, ReadsAreStillTriedOnAFailedDevice) {
  const Quiet quiet;
  TestStore on(kCapacity);
  on.options().tail_bytes_max = 0;
  ASSERT_TRUE(on.open().ok());
  TestWriter writer{.chunk = chunk_id(1)};
  ASSERT_EQ(on.append(writer, 5000).code, Code::kOk);
  on.file().fail_writes(EIO);
  EXPECT_EQ(on.append(writer, 5000).code, Code::kDeviceFailed);
  EXPECT_EQ(on.read(chunk_id(1), 0, 100, 5000).code, Code::kOk);
  on.file().fail_reads(EIO);
  EXPECT_EQ(on.read(chunk_id(1), 0, 100, 5000).code, Code::kIoError);
  on.file().fail_reads(0);
  EXPECT_EQ(on.read(chunk_id(1), 0, 100, 5000).code, Code::kOk);
  on.stop();
  on.file().fail_writes(0);
  ASSERT_TRUE(on.open().ok()) << "another start may find it well again";
  EXPECT_EQ(on.store().stat(chunk_id(1))->length, 5000u);
}

TEST(Damage, NoSpaceFromBelowEnds) {
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  TestWriter writer{.chunk = chunk_id(1)};
  ASSERT_EQ(on.append(writer, 5000).code, Code::kOk);
  on.settle();
  on.file().fail_writes(ENOSPC);
  EXPECT_EQ(on.append(writer, 5000).code, Code::kNoSpace);
  on.file().fail_writes(0);
  TestWriter retry{.chunk = chunk_id(1), .offset = 5000, .unit = 2};
  EXPECT_EQ(on.append(retry, 5000).code, Code::kIoError) << "this chunk lost a write";
  TestWriter other{.chunk = chunk_id(2)};
  EXPECT_EQ(on.append(other, 5000).code, Code::kOk);
  const FenceOutcome fence = on.fence(chunk_id(1), 2);
  EXPECT_EQ(fence.code, Code::kOk);
  EXPECT_EQ(fence.length, 5000u);
  TestWriter filler{.chunk = chunk_id(1), .offset = 5000, .unit = 2};
  TestRun fill = filler.next(6000);
  fill.args.recovers = true;
  fill.args.epoch = {2};
  EXPECT_EQ(on.append(fill).code, Code::kOk);
  on.reopen();
  EXPECT_EQ(on.store().stat(chunk_id(1))->length, 11'000u);
}

TEST(Damage, AFullDeviceTakesDeletesFencesAndSeals) {
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
  EXPECT_TRUE(on.store().space().full);
  const SpaceInfo space = on.store().space();
  EXPECT_LT(space.free + space.prepared, 192 * kKiB) << "hardly anything is left unused";
  EXPECT_EQ(on.fence(writers[0].chunk, 2).code, Code::kOk);
  EXPECT_EQ(on.finalize(writers[0].chunk, writers[0].offset).code, Code::kOk);
  EXPECT_EQ(on.fence(chunk_id(777), 2).code, Code::kOk);
  // A takeover may use what is kept back.
  const ChunkId last = writers.back().chunk;
  const u32 length = on.store().stat(last)->length;
  EXPECT_EQ(on.fence(last, 2).code, Code::kOk);
  TestWriter filler{.chunk = last, .limit = kMiB, .offset = length,
                    .unit = on.store().stat(last)->unit_count};
  TestRun fill = filler.next(16'000);
  fill.args.recovers = true;
  fill.args.epoch = {2};
  EXPECT_EQ(on.append(fill).code, Code::kOk);
  EXPECT_EQ(on.remove(writers[0].chunk).code, Code::kOk);
  EXPECT_EQ(on.remove(writers[1].chunk).code, Code::kOk);
  TestWriter fresh{.chunk = chunk_id(9999)};
  EXPECT_EQ(on.append(fresh, 16'000).code, Code::kOk) << "writable again by itself";
  EXPECT_FALSE(on.store().space().full);
  on.reopen();
  EXPECT_EQ(on.store().stat(fresh.chunk)->length, 16'000u);
}

TEST(Damage, InspectAndVerifyTellWhatIsThere) {
  const Quiet quiet;
  TestStore on(kCapacity);
  ASSERT_TRUE(on.open().ok());
  const Populated populated(on);
  on.stop();
  const std::vector<std::byte> before = on.image();
  auto report = on.wait(inspect_device(on.file()));
  ASSERT_TRUE(report.ok());
  EXPECT_NE(report->find("chunk " + to_string(populated.writers[0].chunk)), std::string::npos);
  EXPECT_NE(report->find("tombstone " + to_string(chunk_id(1000))), std::string::npos);
  report = on.wait(verify_device(on.file()));
  ASSERT_TRUE(report.ok());
  EXPECT_NE(report->find(" 0 bad"), std::string::npos) << *report;
  EXPECT_EQ(on.image(), before) << "looking changes nothing";
  const Layout layout;
  std::byte byte{0x55};
  on.file().poke(layout.shard.blocks_offset + 3 * 4096 + 100, {&byte, 1});
  report = on.wait(verify_device(on.file()));
  ASSERT_TRUE(report.ok());
  EXPECT_NE(report->find("BAD"), std::string::npos) << *report;
  on.load_image(std::vector<std::byte>(kHeadBytes));
  EXPECT_EQ(on.wait(inspect_device(on.file())).code(), Code::kNotOurs);
}

}  // namespace
}  // namespace pangu::chunk
