#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "chunk/format/block_sectors.h"
#include "chunk/format/checkpoint_slot.h"
#include "chunk/format/index_image.h"
#include "chunk/format/log_batch.h"
#include "chunk/store/damage_rig.h"
#include "chunk/store/device_read.h"

// Devices that are not what they should be, and what each kind of byte on one is worth.
namespace pangu::chunk {
namespace {

// Stretches of a device by what stands there.
using Places = std::map<std::string, std::vector<std::pair<u64, u64>>>;  // offset, bytes

void add_block_sector(const std::byte* sector, u64 at, Places& places) {
  const u32 magic = load_le<u32>(sector);
  if (wire::footer_of(sector).magic == wire::kUnitMagic) {
    const u64 data = wire::footer_of(sector).data_len;
    places["unit data"].emplace_back(at, data);
    if (data < wire::kUnitDataMax) {
      places["unit padding"].emplace_back(at + data, wire::kUnitDataMax - data);
    }
    places["unit footer"].emplace_back(at + wire::kUnitDataMax, wire::kFooterBytes);
  } else if (magic == kHeaderMagic) {
    places["chunk header"].emplace_back(at, kSectorBytes);
  } else if (magic == kReservedMagic) {
    places["reserved sector"].emplace_back(at, kSectorBytes);
  } else if (magic == kIndexMagic) {
    places["index"].emplace_back(at, kSectorBytes);
  } else {
    places["unused sector"].emplace_back(at, kSectorBytes);
  }
}

Places places_of(const std::vector<std::byte>& image, const ShardLayout& shard) {
  Places places;
  for (const u64 offset : kSuperblockOffsets) {
    places["superblock"].emplace_back(offset, kSectorBytes);
  }
  for (const u64 slot : shard.slot_offset) {
    places["checkpoint header"].emplace_back(slot, kSectorBytes);
    const auto header = decode_slot_header(image.data() + slot, kTestDevice, 0, shard.slot_bytes);
    if (header && header->body_bytes > 0) {
      places["checkpoint body"].emplace_back(slot + kSectorBytes, header->body_bytes);
    }
  }
  for (u64 at = shard.log_offset; at < shard.log_offset + shard.log_bytes; at += kSectorBytes) {
    const auto header = decode_batch_header(image.data() + at, kTestDevice, 0);
    if (header) {
      places["log header"].emplace_back(at, sizeof(BatchHeader));
      places["log record"].emplace_back(at + sizeof(BatchHeader), header->body_bytes);
    }
  }
  for (u64 at = shard.blocks_offset; at < shard.offset_of(shard.blocks); at += kSectorBytes) {
    add_block_sector(image.data() + at, at, places);
  }
  return places;
}

// No decided chunk may answer less than all of it without an error.
void expect_right_or_refused(TestStore& on, const Populated& populated) {
  for (const TestWriter& writer : populated.writers) {
    const auto info = on.store().stat(writer.chunk);
    if (!info.ok() || !info->finalized) {
      continue;
    }
    for (u32 at = 0; at < writer.offset;) {
      const ReadOutcome out = on.read(writer.chunk, at, writer.offset - at);
      if (out.code != Code::kOk) {
        break;
      }
      ASSERT_GT(out.length, 0u) << "it ends too early, and says nothing";
      ASSERT_EQ(check_payload(writer.chunk, at, out), "");
      at += out.length;
    }
  }
}

TEST(Device, ABitFlipInEveryKindOfPlace) {
  const Quiet quiet;
  const Layout layout;
  TestStore source(kCapacity);
  ASSERT_TRUE(source.open().ok());
  const Populated populated(source);
  source.reopen();  // a checkpoint with everything in it; what follows stands in the log only
  for (u32 i = 0; i < 5; ++i) {
    source.fence(chunk_id(2000 + i), 4);
  }
  const std::vector<std::byte> image = source.image();
  const Places places = places_of(image, layout.shard);
  const std::vector<std::string> kinds = {
      "superblock",   "checkpoint header", "checkpoint body", "log header",
      "log record",   "unit data",         "unit padding",    "unit footer",
      "chunk header", "reserved sector",   "index",           "unused sector"};
  ASSERT_EQ(places.size(), kinds.size());
  Prng prng(11);
  for (const std::string& kind : kinds) {
    ASSERT_TRUE(places.contains(kind)) << kind;
    const auto& stretches = places.at(kind);
    for (int i = 0; i < 25; ++i) {
      const auto& [offset, bytes] = stretches[prng.below(stretches.size())];
      const u64 at = offset + prng.below(bytes);
      std::vector<std::byte> bad = image;
      bad[at] ^= static_cast<std::byte>(1u << prng.below(8));
      TestStore on(kCapacity, false);
      on.load_image(bad);
      const Status status = on.open();
      const bool log = kind.starts_with("log");
      ASSERT_TRUE(status.ok() || (log && status.code() == Code::kCorrupt))
          << kind << " at " << at << ": " << status.error().message();
      if (status.ok()) {
        expect_right_or_refused(on, populated);
        use(on, populated);
      }
      if (testing::Test::HasFailure()) {
        FAIL() << kind << " at " << at;
      }
    }
  }
}

TEST(Device, EveryBitOfAUnitCounts) {
  const Quiet quiet;
  TestStore on(kCapacity);
  on.options().tail_bytes_max = 0;
  ASSERT_TRUE(on.open().ok());
  TestWriter writer{.chunk = chunk_id(1)};
  ASSERT_EQ(on.append(writer, 3000).code, Code::kOk);
  ASSERT_EQ(on.finalize(writer.chunk, 3000).code, Code::kOk);
  const std::vector<std::byte> image = on.image();
  const Layout layout;
  u64 at = layout.shard.blocks_offset;
  while (wire::footer_of(image.data() + at).magic != wire::kUnitMagic) {
    at += kSectorBytes;
  }
  for (u64 bit = 0; bit < u64{kSectorBytes} * 8; ++bit) {
    std::byte byte = image[at + bit / 8] ^ static_cast<std::byte>(1u << bit % 8);
    on.file().poke(at + bit / 8, {&byte, 1});
    ASSERT_EQ(on.read(writer.chunk, 0, 3000).code, Code::kCorrupt) << "bit " << bit;
    byte = image[at + bit / 8];
    on.file().poke(at + bit / 8, {&byte, 1});
  }
}

void expect_error(TestStore& on, Code code, std::string_view text) {
  const Status status = on.open();
  ASSERT_EQ(status.code(), code);
  EXPECT_NE(status.error().message().find(text), std::string::npos) << status.error().message();
  const auto report = on.wait(inspect_device(on.file()));  // and tools survive it too
  EXPECT_TRUE(report.ok() || !report.error().message().empty());
  (void)on.wait(verify_device(on.file())).ok();
}

TEST(Device, WhatIsNoDeviceIsRefusedWithAReason) {
  const Quiet quiet;
  for (const u64 bytes : {u64{0}, u64{1}, u64{4095}, u64{4096}, u64{100'000}, kMiB}) {
    TestStore small(bytes, false);
    expect_error(small, Code::kNotOurs, "at least");
  }
  TestStore blank(kCapacity, false);
  expect_error(blank, Code::kNotOurs, "blank");
  TestStore foreign(kCapacity, false);
  const std::string text(5000, 'x');
  foreign.file().poke(0, as_bytes_of(std::string_view(text)));
  expect_error(foreign, Code::kNotOurs, "other data");
  EXPECT_FALSE(*foreign.wait(is_blank(foreign.file())));
  EXPECT_EQ(foreign.wait(format_device(foreign.file(), test_format(kCapacity))).code(),
            Code::kAlreadyExists);
  for (const u64 bytes : {u64{0}, u64{4096}, 2 * kHeadBytes}) {
    TestStore small(bytes, false);
    const Status status = small.wait(format_device(small.file(), test_format(bytes)));
    ASSERT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_NE(status.error().message().find("too"), std::string::npos);
  }
}

TEST(Device, ADeviceThatWasCutShortIsRefused) {
  const Quiet quiet;
  TestStore on(kCapacity);
  ASSERT_TRUE(on.file().resize(kCapacity - kMiB).ok());
  expect_error(on, Code::kCorrupt, "was formatted with");
  ASSERT_TRUE(on.file().resize(kCapacity).ok());
  EXPECT_TRUE(on.open().ok());
}

TEST(Device, AnotherFormatVersionIsNamed) {
  const Quiet quiet;
  TestStore on(kCapacity);
  std::vector<std::byte> sector(kSectorBytes);
  on.file().peek(0, sector);
  store_le<u32>(sector.data() + 8, kFormatVersion + 1);
  seal_sector(sector.data());
  for (const u64 offset : kSuperblockOffsets) {
    on.file().poke(offset, sector);
  }
  expect_error(on, Code::kWrongVersion, "version 2");
}

TEST(Device, ADeviceThatCannotBeWrittenIsRefused) {
  const Quiet quiet;
  for (const int error : {EROFS, EIO, EBADF}) {
    TestStore on(kCapacity);
    on.file().fail_writes(error);
    expect_error(on, Code::kDeviceFailed, std::strerror(error));
    on.file().fail_writes(0);
    EXPECT_TRUE(on.open().ok()) << "nothing has changed on it";
  }
  TestStore unreadable(kCapacity);
  unreadable.file().fail_reads(EIO);
  expect_error(unreadable, Code::kIoError, "read");
}

TEST(Device, GarbageFromEndToEndIsRefused) {
  const Quiet quiet;
  for (u64 seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    std::vector<std::byte> image(4 * kMiB);
    const u64 from = seed % 2 == 0 ? 0 : kHeadBytes;  // its head is sound, or not
    if (from > 0) {
      TestStore sound(4 * kMiB);
      image = sound.image();
    }
    for (u64 at = from; at < image.size(); at += 8) {
      store_le(image.data() + at, prng.next());
    }
    TestStore on(image.size(), false);
    on.load_image(image);
    expect_error(on, from > 0 ? Code::kCorrupt : Code::kNotOurs,
                 from > 0 ? "checkpoint" : "other data");
  }
}

TEST(Device, AnAppendIsOneWriteAndNoCopy) {
  TestStore on(64 * kMiB);
  ASSERT_TRUE(on.open().ok());
  for (const u32 size : {1u, 4048u, 4096u, 65'536u, 300'000u}) {
    TestWriter writer{.chunk = chunk_id(size)};
    ASSERT_EQ(on.append(writer, size).code, Code::kOk);
    on.settle();
    const StoreCounters before = on.store().counters();
    const u64 writes = on.file().writes();
    const u64 flushes = on.file().flushes();
    ASSERT_EQ(on.append(writer, size).code, Code::kOk);
    if (size < 100'000) {  // the largest makes the store prepare more room at the same time
      EXPECT_EQ(on.file().writes() - writes, 1u) << size << ": nothing else is written either";
      EXPECT_EQ(on.file().flushes(), flushes) << "alone in flight, it is durable in itself";
    }
    on.settle();
    const StoreCounters& after = on.store().counters();
    EXPECT_EQ(after.append_writes - before.append_writes, 1u);
    EXPECT_EQ(after.chunk_bytes_written - before.chunk_bytes_written,
              u64{wire::units_for(size)} * kSectorBytes);
    EXPECT_EQ(after.payload_copies, 0u);
  }
}

}  // namespace
}  // namespace pangu::chunk
