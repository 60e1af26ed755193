#include <gtest/gtest.h>

#include "base/prng.h"
#include "wire/data_plane.h"
#include "wire/frame.h"
#include "wire/proto.h"
#include "wire/unit.h"

namespace pangu::wire {
namespace {

const ChunkId kChunk{.file = {0x1234}, .sequence = 5, .shard = 0};

std::vector<std::byte> random_bytes(size_t size, u64 seed) {
  Prng prng(seed);
  std::vector<std::byte> out(size);
  for (std::byte& b : out) {
    b = static_cast<std::byte>(prng.next());
  }
  return out;
}

struct CutRun {
  RunStart start;
  u32 data_len;
  std::vector<std::byte> bytes;
};

CutRun make_run(u32 data_len, u64 seed) {
  CutRun run{
      .start = {.chunk = kChunk, .epoch = {3}, .unit_index = 7, .offset = 1000, .committed = 900},
      .data_len = data_len};
  const auto data = random_bytes(data_len, seed);
  run.bytes.resize(u64{units_for(data_len)} * kUnitBytes, std::byte{0xee});
  const Bytes pieces[] = {Bytes(data).first(data_len / 3), Bytes(data).subspan(data_len / 3)};
  cut_run(run.start, pieces, run.bytes);
  return run;
}

TEST(Unit, RunsOfEverySizeCheckOut) {
  for (const u32 size : {1u, 47u, 4047u, 4048u, 4049u, 4096u, 8096u, 65536u, kRunDataMax}) {
    const CutRun run = make_run(size, size);
    EXPECT_TRUE(check_run(run.start, size, run.bytes).ok()) << size;
    const WirePieces wire = wire_pieces_of(run.bytes);
    EXPECT_EQ(wire.bytes, *wire_bytes_of(units_for(size), size)) << size;
    u64 sum = 0;
    for (size_t i = 0; i < wire.count; ++i) {
      sum += wire.pieces[i].size();
    }
    EXPECT_EQ(sum, wire.bytes);
  }
}

TEST(Unit, FooterSaysWhereItBelongs) {
  const CutRun run = make_run(5000, 1);
  const UnitFooter last = footer_of(run.bytes.data() + kUnitBytes);
  EXPECT_EQ(chunk_of(last), kChunk);
  EXPECT_EQ(last.unit_index, 8u);
  EXPECT_EQ(last.data_len, 5000 - kUnitDataMax);
  EXPECT_EQ(last.end_offset, 6000u);
  EXPECT_EQ(last.committed_lag, 5100u);
  EXPECT_EQ(last.epoch, 3u);
}

TEST(Unit, EveryFlippedBitIsFound) {
  CutRun run = make_run(4048 + 10, 2);
  for (size_t bit = 0; bit < run.bytes.size() * 8; bit += 37) {
    run.bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(check_run(run.start, run.data_len, run.bytes).ok()) << bit;
    run.bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
  }
  EXPECT_TRUE(check_run(run.start, run.data_len, run.bytes).ok());
}

TEST(Unit, MisplacedUnitsAreFound) {
  const CutRun run = make_run(9000, 3);
  RunStart other = run.start;
  other.unit_index = 8;
  EXPECT_EQ(check_run(other, run.data_len, run.bytes).code(), Code::kCorrupt);
  other = run.start;
  other.offset = 0;
  EXPECT_FALSE(check_run(other, run.data_len, run.bytes).ok());
  other = run.start;
  other.epoch = {4};
  EXPECT_FALSE(check_run(other, run.data_len, run.bytes).ok());
  other = run.start;
  other.chunk.sequence = 6;
  EXPECT_FALSE(check_run(other, run.data_len, run.bytes).ok());
  EXPECT_FALSE(check_run(run.start, run.data_len - 1, run.bytes).ok());
  const std::vector<std::byte> zero(kUnitBytes);
  EXPECT_EQ(check_unit(kChunk, 0, zero.data()), UnitFault::blank);
}

TEST(Unit, ImpossibleRunSizesAreRefused) {
  EXPECT_FALSE(wire_bytes_of(0, 0).ok());
  EXPECT_FALSE(wire_bytes_of(1, 0).ok());
  EXPECT_FALSE(wire_bytes_of(1, kUnitDataMax + 1).ok());
  EXPECT_FALSE(wire_bytes_of(2, kUnitDataMax).ok());
  EXPECT_FALSE(wire_bytes_of(kRunUnitsMax + 1, kRunDataMax + 1).ok());
  EXPECT_FALSE(wire_bytes_of(0xffffffff, 0xffffffff).ok());
}

TEST(Frame, HeaderRoundTripAndDamage) {
  const auto body = random_bytes(100, 4);
  FrameHeader header{};
  header.type = FrameType::request;
  header.method = 7;
  header.body_len = 100;
  header.request_id = 99;
  std::array<std::byte, kHeaderBytes> bytes{};
  encode_header(header, body, bytes.data());
  const auto decoded = decode_header(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->request_id, 99u);
  EXPECT_TRUE(check_body(*decoded, body).ok());
  EXPECT_FALSE(check_body(*decoded, Bytes(body).first(99)).ok());
  for (size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(decode_header(damaged).ok()) << bit;
  }
  EXPECT_EQ(decode_header(Bytes(bytes).first(63)).code(), Code::kBadFrame);
}

TEST(Frame, OversizedLengthsAreRefused) {
  FrameHeader header{};
  header.type = FrameType::request;
  header.payload_len = kPayloadBytesMax + 1;
  std::array<std::byte, kHeaderBytes> bytes{};
  encode_header(header, {}, bytes.data());
  EXPECT_EQ(decode_header(bytes).code(), Code::kBadFrame);
}

TEST(DataPlane, RecordsNeverReadBeyondTheBody) {
  const auto body = random_bytes(40, 5);
  EXPECT_TRUE(read_records<HistoryEntry>(body, 8, 2).ok());
  EXPECT_FALSE(read_records<HistoryEntry>(body, 8, 3).ok());
  EXPECT_FALSE(read_records<HistoryEntry>(body, 41, 0).ok());
  EXPECT_FALSE(read_records<HistoryEntry>(body, 8, ~size_t{0}).ok());
  EXPECT_FALSE(read_struct<AppendRequest>(body).ok());
}

}  // namespace
}  // namespace pangu::wire
