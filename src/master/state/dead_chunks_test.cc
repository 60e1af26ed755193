#include "master/state/dead_chunks.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"
#include "master/state/stream_harness.h"

namespace pangu::master {
namespace {

using test::StreamHarness;

class DeadChunksTest : public testing::Test {
 protected:
  // The next file; it is known to nobody before it is opened.
  u64 create() { return StreamHarness::file(++counter); }
  Result<pb::OpenForAppendReply> open(u64 file, u32 fresh = 2) { return h.open(file, fresh); }
  void report(u64 file, u32 epoch, u32 sequence, u64 base, u32 length) {
    ASSERT_EQ(h.report(file, epoch, sequence, base, length), Code::kOk);
  }
  void release(u64 file, u32 epoch, u32 sequence) {
    ASSERT_EQ(h.release(file, epoch, sequence), Code::kOk);
  }
  void seal(u64 file, u32 epoch, u32 first, u32 last) {
    pb::SealFileRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    for (u32 sequence = first; sequence <= last; ++sequence) {
      StreamHarness::decide(request, sequence, 0, 0);
    }
    ASSERT_TRUE(h.call(seal_file, request).ok());
  }
  pb::DeadChunks ask(const ChunkId& from = {}, size_t files_max = 1000) {
    return h.query([&](Txn& txn) { return dead_chunks(txn, from, files_max); });
  }
  // By many questions of `files_max` files each.
  bool dead(const ChunkId& chunk, size_t files_max) {
    for (ChunkId from;;) {
      const pb::DeadChunks answer = ask(from, files_max);
      const ChunkId until = wire::get(answer.until());
      if (until == from) {
        return false;
      }
      if (chunk < until) {
        for (const pb::LiveFile& live : answer.live()) {
          const u64 files = std::max<u64>(live.files(), 1);
          if (chunk.file.number - live.file() < files && live.first() <= chunk.sequence) {
            return false;
          }
        }
        return true;
      }
      from = until;
    }
  }
  bool dead(u64 file, u32 sequence) {
    const ChunkId chunk{.file = {file}, .sequence = sequence};
    const bool at_once = dead(chunk, 1000);
    EXPECT_EQ(dead(chunk, 1), at_once);
    return at_once;
  }

  StreamHarness h;
  u64 counter = 0;
};

TEST_F(DeadChunksTest, FilesThatNobodyOpenedAreAlive) {
  EXPECT_EQ(wire::get(ask().until()), ChunkId{});
  const u64 first = create();
  const u64 second = create();
  create();
  const u64 fourth = create();
  EXPECT_FALSE(dead(first, 1));
  h.remove(second);
  EXPECT_TRUE(dead(second, 1));
  EXPECT_FALSE(dead(first, 1));
  EXPECT_FALSE(dead(first, 0));
  EXPECT_FALSE(dead(fourth, 1));
  ASSERT_TRUE(open(fourth).ok());
  EXPECT_FALSE(dead(fourth - 1, 7)) << "between two that are known";
  EXPECT_FALSE(dead(fourth, 1));
  const ChunkId beyond{.file = {fourth + 7}, .sequence = 3};
  EXPECT_EQ(wire::get(ask(beyond).until()), beyond);
  const ChunkId inside{.file = {fourth}, .sequence = 3};
  EXPECT_EQ(wire::get(ask(inside).until()).file, FileId{fourth + 1});
}

TEST_F(DeadChunksTest, OtherGroupsFilesAreTheirs) {
  const ChunkId other{.file = {StreamHarness::file(1, 3)}, .sequence = 1};
  EXPECT_EQ(wire::get(ask(other).until()), other);
  h.remove(create());
  EXPECT_EQ(wire::get(ask(other).until()), other);
  // Two namespace groups give ids, far from one another.
  const u64 far = wire::file_id(0, 5, 9).number;
  h.remove(far);
  EXPECT_TRUE(dead(far, 1));
  EXPECT_FALSE(dead(far - 1, 1));
  EXPECT_FALSE(dead(wire::file_id(0, 4, 9).number, 1));
  EXPECT_EQ(wire::get(ask().until()).file, FileId{far + 1});
  StreamHarness last(wire::kPartitionsMax - 1);
  const ChunkId end{.file = {~u64{0}}, .sequence = 1};
  EXPECT_EQ(wire::get(last.query([&](Txn& txn) { return dead_chunks(txn, end, 5); }).until()), end);
}

TEST_F(DeadChunksTest, OpenChunksAndThoseToComeAreAlive) {
  const u64 file = create();
  ASSERT_TRUE(open(file).ok());  // chunk 1, and 2 as a spare
  EXPECT_FALSE(dead(file, 1));
  report(file, 1, 1, 0, 100);
  EXPECT_TRUE(dead(file, 1)) << "settled";
  EXPECT_FALSE(dead(file, 2)) << "a spare that was listed, but not created";
  EXPECT_FALSE(dead(file, 3)) << "not listed yet";
  release(file, 1, 2);
  EXPECT_TRUE(dead(file, 2)) << "given back";
  EXPECT_FALSE(dead(file, 3));
  // Opened again, and taken over.
  ASSERT_TRUE(open(file, 3).ok());
  ASSERT_TRUE(open(file).ok());
  EXPECT_FALSE(dead(file, 3)) << "a takeover fences and fills it";
  pb::PublishRequest publish;
  publish.set_file(file);
  publish.set_epoch(3);
  publish.set_fresh_chunks(1);
  for (const u32 sequence : {3u, 4u, 5u}) {
    pb::Decision& decision = *publish.add_decisions();
    decision.set_sequence(sequence);
    decision.set_dropped(true);
  }
  ASSERT_TRUE(h.call(master::publish, publish, StreamHarness::offer(1)).ok());
  EXPECT_TRUE(dead(file, 5)) << "dropped";
  EXPECT_FALSE(dead(file, 6));
}

TEST_F(DeadChunksTest, ASettledChunkBehindAnOpenOneWaits) {
  const u64 file = create();
  ASSERT_TRUE(open(file, 3).ok());
  report(file, 1, 2, 50, 100);
  EXPECT_FALSE(dead(file, 1));
  EXPECT_FALSE(dead(file, 2));
}

TEST_F(DeadChunksTest, RemovedAndSealedFilesAreDead) {
  const u64 old = create();
  std::vector<u64> gone;
  for (int i = 0; i < 5; ++i) {
    gone.push_back(create());
    ASSERT_TRUE(open(gone.back()).ok());
    h.remove(gone.back());
  }
  const u64 sealed = create();
  ASSERT_TRUE(open(sealed).ok());
  seal(sealed, 1, 1, 2);
  const u64 young = create();
  for (const u64 file : gone) {
    EXPECT_TRUE(dead(file, 1)) << "from the commit of the removal on";
    EXPECT_TRUE(dead(file, 77));
  }
  h.reclaim_all();
  EXPECT_TRUE(dead(gone[0], 1));
  EXPECT_TRUE(dead(sealed, 1));
  EXPECT_FALSE(dead(old, 1)) << "an old file is alive, and does not keep the others alive";
  EXPECT_FALSE(dead(young, 1));
  EXPECT_FALSE(dead(young, 1)) << "never opened";
  ASSERT_TRUE(open(young).ok());
  EXPECT_FALSE(dead(young, 1));
  // The file before the first, which nobody has; the old one; the young one.
  EXPECT_EQ(ask().live_size(), 2);
  EXPECT_EQ(ask().live(0).files(), old + 1);
  EXPECT_EQ(ask({.file = {gone[2]}}).live_size(), 1);
  EXPECT_EQ(wire::get(ask({}, 1).until()), (ChunkId{.file = {sealed + 1}}))
      << "the work is bounded: one stream was looked at";
  ASSERT_TRUE(open(old).ok());
  EXPECT_EQ(wire::get(ask({}, 1).until()), (ChunkId{.file = {old + 1}}));
  h.remove(young + 2);
  EXPECT_EQ(wire::get(ask({.file = {old + 1}}, 1).until()), (ChunkId{.file = {gone.back() + 1}}))
      << "or one range";
}

// Whatever happens: what was once dead stays dead, and no open chunk is.
TEST_F(DeadChunksTest, DeadIsForEver) {
  Prng prng(5);
  std::set<u64> files;
  std::set<ChunkId> were;
  u64 last = 0;
  for (int step = 0; step < 250; ++step) {
    const u64 what = prng.below(10);
    if (files.empty() || what < 2) {
      last = create();
      files.insert(last);
      continue;
    }
    auto at = files.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(prng.below(files.size())));
    const auto opened = open(*at);
    if (opened.ok()) {
      for (const pb::ChunkInfo& chunk : opened->fresh()) {
        EXPECT_FALSE(dead(wire::get(chunk.chunk()), 1000));
      }
      for (const pb::ChunkInfo& chunk : opened->stream().chunks()) {
        EXPECT_FALSE(dead(wire::get(chunk.chunk()), 1000));
      }
      if (opened->stream().state() == pb::STREAM_RECOVERING && what < 8) {
        pb::PublishRequest publish;
        publish.set_file(*at);
        publish.set_epoch(opened->stream().epoch());
        publish.set_fresh_chunks(static_cast<u32>(prng.below(3)));
        publish.set_seal(publish.fresh_chunks() == 0 && what == 7);
        u64 base = opened->stream().settled_length();
        for (const pb::ChunkInfo& chunk : opened->stream().chunks()) {
          if (chunk.state() == pb::CHUNK_OPEN) {
            const bool dropped = prng.chance(0.5);
            pb::Decision& decision = *publish.add_decisions();
            decision.set_sequence(chunk.chunk().sequence());
            decision.set_dropped(dropped);
            decision.set_base(base);
            decision.set_length(dropped ? 0 : 10);
            base += dropped ? 0 : 10;
          }
        }
        ASSERT_TRUE(h.call(master::publish, publish, StreamHarness::offer(3)).ok());
      }
    }
    if (what == 9) {
      h.remove(*at);
      files.erase(at);
    }
    const std::set<ChunkId> looked_at = step % 20 == 0 ? were : std::set<ChunkId>();
    for (const ChunkId& chunk : looked_at) {
      ASSERT_TRUE(dead(chunk, 1000)) << to_string(chunk) << " lives again at step " << step;
    }
    for (u64 file = 1; file <= last; ++file) {
      const ChunkId chunk{.file = {file}, .sequence = static_cast<u32>(prng.between(1, 12))};
      if (dead(chunk, 1 + prng.below(5))) {
        were.insert(chunk);
      }
    }
  }
  EXPECT_GT(were.size(), 100u);
}

}  // namespace
}  // namespace pangu::master
