#pragma once
#include <gtest/gtest.h>

#include "base/log.h"
#include "chunk/format/superblock.h"
#include "chunk/store/test_store.h"

// A small device with chunks in every state, for tests that damage it.
namespace pangu::chunk {

inline constexpr u64 kCapacity = 8 * kMiB;

// No log lines while it lives: recovery says loudly what it finds.
struct Quiet {
  LogLevel before = log_level();
  Quiet() { set_log_level(static_cast<LogLevel>(4)); }
  ~Quiet() { set_log_level(before); }
};

// Where things lie on a device of kCapacity.
struct Layout {
  Superblock superblock{.cluster = kTestCluster,
                        .device = kTestDevice,
                        .capacity = kCapacity,
                        .block_bytes = 64 * kKiB};
  ShardLayout shard;
  Layout() {
    CHECK(divide(superblock).ok());
    shard = layout_of(superblock, 0);
  }
};

// Fills a store with chunks in every state.
struct Populated {
  std::vector<TestWriter> writers;
  explicit Populated(TestStore& on, u32 count = 24, u32 run_max = 12'000) {
    Prng prng(99);
    for (u32 i = 0; i < count; ++i) {
      TestWriter writer{.chunk = chunk_id(i + 1), .limit = kMiB};
      for (u64 k = prng.between(1, 12); k > 0; --k) {
        CHECK(on.append(writer, static_cast<u32>(prng.between(1, run_max))).code == Code::kOk);
        writer.committed = writer.offset;
      }
      if (i % 4 == 1) {
        CHECK(on.finalize(writer.chunk, writer.offset).code == Code::kOk);
      } else if (i % 4 == 2) {
        CHECK(on.fence(writer.chunk, 5).code == Code::kOk);
      } else if (i % 8 == 3) {
        CHECK(on.remove(writer.chunk).code == Code::kOk);
      }
      writers.push_back(writer);
    }
    on.fence(chunk_id(1000), 3);
    on.settle();
  }
  // Reads everything that can be read; no answer may hold a wrong byte. Returns how many chunks
  // answered in full.
  u32 read_all(TestStore& on) const {
    u32 whole = 0;
    for (const TestWriter& writer : writers) {
      u32 at = 0;
      while (at < writer.offset) {
        const ReadOutcome out = on.read(writer.chunk, at, writer.offset - at, writer.offset);
        if (out.code != Code::kOk || out.length == 0) {
          break;
        }
        EXPECT_EQ(check_payload(writer.chunk, at, out), "");
        at += out.length;
      }
      whole += at == writer.offset ? 1 : 0;
    }
    return whole;
  }
};

// Uses an opened store in every way; only crashes and wrong bytes count.
inline void use(TestStore& on, const Populated& populated) {
  populated.read_all(on);
  for (size_t i = 0; i < populated.writers.size(); ++i) {
    TestWriter writer = populated.writers[i];
    (void)on.store().stat(writer.chunk);
    if (i % 3 == 0) {
      (void)on.append(writer, 3000);
    } else if (i % 3 == 1) {
      (void)on.fence(writer.chunk, 9);
    }
    (void)on.wait(on.store().verify(writer.chunk, 0, 1000));
  }
  (void)on.finalize(populated.writers[4].chunk, 1);
  (void)on.remove(populated.writers[5].chunk);
  (void)on.store().list({}, 1000);
  populated.read_all(on);
  for (u32 i = 0; i < 6; ++i) {
    TestWriter fresh{.chunk = chunk_id(5000 + i)};
    (void)on.append(fresh, 70'000);
  }
}

inline void open_and_use(TestStore& on, const Populated& populated, u64& opened) {
  (void)on.wait(inspect_device(on.file())).ok();
  const Status status = on.open();
  if (status.ok()) {
    ++opened;
    use(on, populated);
    on.stop();
  }
}

}  // namespace pangu::chunk
