#include "sim/stream_oracle.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace pangu::sim {
namespace {

// A perfect stream beside the oracle: what a storage system without faults would hold.
struct Mirror {
  StreamOracle oracle{7};
  std::vector<std::byte> stream;

  u32 open(u32 epoch) { return *oracle.session_opened(epoch, stream.size()); }
  // Issues an append and puts its first `kept` bytes into the stream.
  u32 issue(u32 session, u64 size, u64 kept) {
    const u32 append = oracle.issue(session, size);
    std::vector<std::byte> bytes(size);
    oracle.fill(session, append, bytes);
    stream.insert(stream.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(kept));
    return append;
  }
  void append(u32 session, u64 size) {
    const u64 at = stream.size();
    const u32 number = issue(session, size, size);
    EXPECT_TRUE(oracle.acknowledged(session, number, at).ok());
  }
  Status finish() {
    TRY_VOID(oracle.final_piece(0, stream));
    return oracle.finish(stream.size());
  }
};

// Two writers; the first leaves a part of an append that was never acknowledged.
Mirror two_sessions() {
  Mirror mirror;
  const u32 one = mirror.open(1);
  for (const u64 size : {100u, 7u, 4096u, 1u, 3000u}) {
    mirror.append(one, size);
  }
  const u32 failed = mirror.issue(one, 500, 123);
  const u32 behind = mirror.issue(one, 50, 0);
  EXPECT_TRUE(mirror.oracle.unknown(one, failed).ok());
  EXPECT_TRUE(mirror.oracle.unknown(one, behind).ok());
  const u32 two = mirror.open(2);
  mirror.append(two, 900);
  mirror.append(two, 33);
  return mirror;
}

TEST(Content, IsPositionDependent) {
  const ContentKey key{.file = 1, .session = 2, .append = 3};
  std::vector<std::byte> whole(1000), part(100);
  fill_content(key, 0, whole);
  fill_content(key, 333, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 333));
  EXPECT_EQ(matching_content(key, 333, part), 100u);
  EXPECT_LT(matching_content(key, 334, part), 10u);
  EXPECT_LT(matching_content({.file = 1, .session = 2, .append = 4}, 333, part), 10u);
  part[61] ^= std::byte{1};
  EXPECT_EQ(matching_content(key, 333, part), 61u);
}

TEST(StreamOracle, AcceptsTheTruth) {
  Mirror mirror = two_sessions();
  EXPECT_TRUE(mirror.oracle.read(50, Bytes(mirror.stream).subspan(50, 5000)).ok());
  EXPECT_TRUE(mirror.oracle.told_length(0, 60, 0).ok());
  EXPECT_TRUE(mirror.oracle.told_length(0, mirror.stream.size(), 0).ok());
  const Status done = mirror.finish();
  EXPECT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(mirror.oracle.appends_acknowledged(), 7u);
}

TEST(StreamOracle, EverySingleDamageIsNoticed) {
  Prng prng(1);
  for (int round = 0; round < 300; ++round) {
    Mirror mirror = two_sessions();
    std::vector<std::byte>& bytes = mirror.stream;
    const size_t at = prng.below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (round % 5) {
      case 0:
        bytes[at] ^= static_cast<std::byte>(1u << prng.below(8));
        break;
      case 1:
        bytes.erase(place);
        break;
      case 2:
        bytes.insert(place, bytes[at]);
        break;
      case 3:  // a truncated stream
        bytes.erase(place, bytes.end());
        break;
      default:  // a range twice
        const std::vector<std::byte> copy(place, bytes.end());
        bytes.insert(bytes.end(), copy.begin(), copy.end());
        break;
    }
    EXPECT_FALSE(mirror.finish().ok()) << "round " << round << " at " << at;
  }
}

TEST(StreamOracle, AcknowledgementsMustJoin) {
  Mirror mirror;
  const u32 one = mirror.open(1);
  const u32 first = mirror.oracle.issue(one, 100);
  const u32 second = mirror.oracle.issue(one, 100);
  EXPECT_FALSE(mirror.oracle.acknowledged(one, second, 101).ok());
  EXPECT_TRUE(mirror.oracle.acknowledged(one, second, 100).ok());
  EXPECT_FALSE(mirror.oracle.unknown(one, first).ok()) << "an acknowledged append behind it";
}

TEST(StreamOracle, AFencedWritersLateAckMustBeInsideThePublishedPart) {
  Mirror mirror;
  const u32 one = mirror.open(1);
  mirror.append(one, 100);
  const u32 late = mirror.issue(one, 50, 50);
  const u32 too_late = mirror.oracle.issue(one, 50);
  mirror.open(2);  // published at 150
  EXPECT_TRUE(mirror.oracle.acknowledged(one, late, 100).ok());
  EXPECT_FALSE(mirror.oracle.acknowledged(one, too_late, 150).ok());
}

TEST(StreamOracle, TakeoversMustNotLoseWhatWasSeen) {
  Mirror mirror;
  const u32 one = mirror.open(1);
  mirror.append(one, 100);
  mirror.issue(one, 50, 50);
  EXPECT_FALSE(mirror.oracle.session_opened(2, 99).ok()) << "acknowledged bytes are gone";
  EXPECT_TRUE(mirror.oracle.told_length(0, 120, 0).ok());
  EXPECT_FALSE(mirror.oracle.session_opened(2, 110).ok()) << "a seen length is gone";
  EXPECT_FALSE(mirror.oracle.session_opened(2, 151).ok()) << "bytes that nobody wrote";
  EXPECT_FALSE(mirror.oracle.told_length(0, 119, 0).ok()) << "the length shrank";
  EXPECT_FALSE(mirror.oracle.told_length(1, 99, 100).ok());
  EXPECT_TRUE(mirror.oracle.session_opened(2, 130).ok());
  EXPECT_FALSE(mirror.oracle.session_opened(2, 130).ok()) << "the epoch is not new";
}

TEST(StreamOracle, RefusedAppendsLeaveNoHole) {
  Mirror mirror;
  const u32 one = mirror.open(1);
  mirror.append(one, 10);
  const u32 refused = mirror.oracle.issue(one, 500);
  mirror.oracle.refused(one, refused);
  mirror.append(one, 20);
  const u32 last = mirror.oracle.issue(one, 500);
  mirror.oracle.refused(one, last);
  const Status done = mirror.finish();
  EXPECT_TRUE(done.ok()) << done.error().message();
  EXPECT_EQ(mirror.oracle.acknowledged_end(), 30u);
}

TEST(StreamOracle, NobodySeesAPartOfARecord) {
  for (const bool record : {false, true}) {
    Mirror mirror;
    const u32 one = mirror.open(1);
    mirror.append(one, 100);
    std::vector<std::byte> bytes(40);
    const u32 append = mirror.oracle.issue(one, bytes.size(), record);
    mirror.oracle.fill(one, append, bytes);
    mirror.stream.insert(mirror.stream.end(), bytes.begin(), bytes.begin() + 25);
    EXPECT_EQ(StreamOracle(mirror.oracle).told_length(0, 125, 0).ok(), !record);
    EXPECT_TRUE(StreamOracle(mirror.oracle).told_length(0, 140, 0).ok());
    EXPECT_EQ(StreamOracle(mirror.oracle).session_opened(2, 125).ok(), !record);
    EXPECT_EQ(mirror.finish().ok(), !record);
  }
}

}  // namespace
}  // namespace pangu::sim
