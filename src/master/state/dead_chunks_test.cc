#include "master/state/dead_chunks.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"
#include "master/state/harness.h"

namespace pangu::master {
namespace {

using test::Harness;
using wire::Method;

class DeadChunksTest : public testing::Test {
 protected:
  DeadChunksTest() { h.add_servers(4); }

  u64 create(const std::string& path) { return h.create(path)->entry().id(); }
  Result<pb::OpenForAppendReply> open(u64 file, u32 fresh = 2) {
    pb::OpenForAppendRequest request;
    request.set_file(file);
    request.set_fresh_chunks(fresh);
    return h.call<pb::OpenForAppendReply>(Method::open_for_append, request, test::offer(4));
  }
  void report(u64 file, u32 epoch, u32 sequence, u64 base, u32 length) {
    pb::ReportChunkRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    request.set_sequence(sequence);
    request.set_base(base);
    request.set_length(length);
    ASSERT_TRUE(h.call<pb::ReportChunkReply>(Method::report_chunk, request).ok());
  }
  void release(u64 file, u32 epoch, u32 sequence) {
    pb::ReleaseChunkRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    request.set_sequence(sequence);
    ASSERT_TRUE(h.call<pb::ReleaseChunkReply>(Method::release_chunk, request).ok());
  }
  void remove(const std::string& path) {
    pb::RemoveRequest request;
    request.set_path(path);
    ASSERT_TRUE(h.call<pb::RemoveReply>(Method::remove, request).ok());
  }
  void seal(u64 file, u32 epoch, u32 first, u32 last) {
    pb::SealFileRequest request;
    request.set_file(file);
    request.set_epoch(epoch);
    for (u32 sequence = first; sequence <= last; ++sequence) {
      pb::Decision& decision = *request.add_decisions();
      decision.set_sequence(sequence);
      decision.set_dropped(true);
    }
    ASSERT_TRUE(h.call<pb::SealFileReply>(Method::seal_file, request).ok());
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
          if (live.file() == chunk.file.number && live.first() <= chunk.sequence) {
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

  Harness h;
};

TEST_F(DeadChunksTest, FilesThatDoNotExistYetAreNotDead) {
  EXPECT_EQ(wire::get(ask().until()).file, FileId{1});
  const u64 file = create("/f");
  EXPECT_FALSE(dead(file, 1));
  EXPECT_FALSE(dead(file + 1, 1));
  const ChunkId beyond{.file = {file + 7}, .sequence = 3};
  EXPECT_EQ(wire::get(ask(beyond).until()), beyond);
}

TEST_F(DeadChunksTest, OpenChunksAndThoseToComeAreAlive) {
  const u64 file = create("/f");
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
  ASSERT_TRUE(h.call<pb::PublishReply>(Method::publish, publish, test::offer(1)).ok());
  EXPECT_TRUE(dead(file, 5)) << "dropped";
  EXPECT_FALSE(dead(file, 6));
}

TEST_F(DeadChunksTest, ASettledChunkBehindAnOpenOneWaits) {
  const u64 file = create("/f");
  ASSERT_TRUE(open(file, 3).ok());
  report(file, 1, 2, 50, 100);
  EXPECT_FALSE(dead(file, 1));
  EXPECT_FALSE(dead(file, 2));
}

TEST_F(DeadChunksTest, RemovedAndSealedFilesAreDead) {
  const u64 old = create("/old");
  std::vector<u64> gone;
  for (int i = 0; i < 5; ++i) {
    const std::string path = "/f" + std::to_string(i);
    gone.push_back(create(path));
    ASSERT_TRUE(open(gone.back()).ok());
    remove(path);
  }
  const u64 sealed = create("/sealed");
  ASSERT_TRUE(open(sealed).ok());
  seal(sealed, 1, 1, 2);
  const u64 young = create("/young");
  for (const u64 file : gone) {
    EXPECT_TRUE(dead(file, 1)) << "from the commit of the removal on";
    EXPECT_TRUE(dead(file, 77));
  }
  h.reclaim_all();
  EXPECT_TRUE(dead(gone[0], 1));
  EXPECT_TRUE(dead(sealed, 1));
  EXPECT_FALSE(dead(old, 1)) << "an old file is alive, and does not keep the others alive";
  EXPECT_FALSE(dead(young, 1));
  EXPECT_EQ(ask().live_size(), 2);
  EXPECT_EQ(ask({.file = {old + 1}}).live_size(), 1);
  EXPECT_EQ(ask({}, 2).live_size(), 1) << "the work is bounded: two files were looked at";
  EXPECT_EQ(wire::get(ask({}, 2).until()), (ChunkId{.file = {sealed + 1}}));
}

// Whatever happens: what was once dead stays dead, and no open chunk is.
TEST_F(DeadChunksTest, DeadIsForEver) {
  Prng prng(5);
  std::map<u64, std::pair<std::string, u32>> files;  // by id: path and epoch
  std::set<ChunkId> were;
  u64 last = 0;
  for (int step = 0; step < 400; ++step) {
    const u64 what = prng.below(10);
    if (files.empty() || what < 2) {
      const std::string path = "/f" + std::to_string(step);
      last = create(path);
      files[last] = {path, 0};
      continue;
    }
    auto at = files.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(prng.below(files.size())));
    auto& [path, epoch] = at->second;
    const auto opened = open(at->first);
    if (opened.ok()) {
      ++epoch;
      for (const pb::ChunkInfo& chunk : opened->fresh()) {
        EXPECT_FALSE(dead(wire::get(chunk.chunk()), 1000));
      }
      for (const pb::ChunkInfo& chunk : opened->stream().chunks()) {
        EXPECT_FALSE(dead(wire::get(chunk.chunk()), 1000));
      }
      if (opened->stream().state() == pb::STREAM_RECOVERING && what < 8) {
        pb::PublishRequest publish;
        publish.set_file(at->first);
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
        ASSERT_TRUE(h.call<pb::PublishReply>(Method::publish, publish, test::offer(3)).ok());
      }
    }
    if (what == 9) {
      remove(path);
      files.erase(at);
    }
    for (const ChunkId& chunk : were) {
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
