#include "client/decide.h"

#include <gtest/gtest.h>

#include "base/prng.h"

// The counterexamples of docs/design/0003-protocol.md, section 10, as tables: for each, the answers
// with which a weaker rule would have lost or doubled a byte. Lengths are units of the model: one
// byte each.
namespace pangu::client {
namespace {

FenceAnswer silent() {
  return {};
}
FenceAnswer never_seen() {
  return {.kind = AnswerKind::tombstone};
}
FenceAnswer holds(u64 base, u32 length, std::vector<ChunkHistory> history = {}) {
  return {.kind = AnswerKind::exists,
          .base = base,
          .length = length,
          .unit_count = length,
          .history = std::move(history)};
}
ListedChunk open_chunk(u32 sequence, std::vector<FenceAnswer> answers, u8 n = 3, u8 a = 2) {
  return {.sequence = sequence, .copies_max = n, .copies_min = a, .answers = std::move(answers)};
}
ListedChunk settled_chunk(u32 sequence, u64 base, u32 length) {
  return {.sequence = sequence,
          .copies_max = 3,
          .copies_min = 2,
          .settled = true,
          .base = base,
          .length = length};
}

// "1:[0,1) 2:drop fill 1 end 1", "lacks 2:1/2", "contradiction: …".
std::string show(const Decision& decision, const DecideInput& input) {
  std::string out;
  if (const auto* verdict = std::get_if<Verdict>(&decision)) {
    for (const ChunkVerdict& each : verdict->chunks) {
      out += each.dropped
                 ? fmt::format("{}:drop ", each.sequence)
                 : fmt::format("{}:[{},{}) ", each.sequence, each.base, each.base + each.length);
    }
    if (verdict->to_fill) {
      out += fmt::format("fill {} to {} ", input.chunks[*verdict->to_fill].sequence,
                         verdict->fill_length);
    }
    return out + fmt::format("end {}", verdict->end);
  }
  if (const auto* undecided = std::get_if<Undecided>(&decision)) {
    out = "lacks";
    for (const Undecided::Lack& lack : undecided->lacks) {
      out += fmt::format(" {}:{}/{}", input.chunks[lack.chunk].sequence, lack.have, lack.need);
    }
    return out;
  }
  return "contradiction: " + std::get<Contradiction>(decision).what;
}
std::string judged(std::vector<ListedChunk> chunks, u64 start = 0) {
  const DecideInput input{.start = start, .chunks = std::move(chunks)};
  return show(decide(input), input);
}

TEST(Decide, Ce1OneAnswerIsNoQuorum) {
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), silent(), silent()})}), "lacks 1:1/2");
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), holds(0, 1), silent()})}),
            "1:[0,1) fill 1 to 1 end 1");
}

TEST(Decide, Ce2TheLongestAnswerCounts) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 0), silent(), holds(0, 1)})}),
            "1:[0,1) fill 1 to 1 end 1");
}

TEST(Decide, Ce3AChunkThatWasLeftEndsAtTheNextBase) {
  // The late acknowledgements of chunk 1 did not count: chunk 2 begins at 0.
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), silent()}),
                    open_chunk(2, {holds(0, 1, {{1, 0}}), never_seen(), silent()})}),
            "1:drop 2:[0,1) fill 2 to 1 end 1");
}

TEST(Decide, Ce4ABaseBeyondWhatTheReplicasHoldIsAContradiction) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), silent()}),
                    open_chunk(2, {holds(2, 0, {{1, 0}}), never_seen(), never_seen()})}),
            "contradiction: chunk 1: must hold 2 bytes but its 2 answers have 1 at most");
}

TEST(Decide, Ce4bTheMaximumIsNotForEveryChunk) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), holds(0, 1)}),
                    open_chunk(2, {holds(0, 1, {{1, 0}}), silent(), never_seen()})}),
            "1:drop 2:[0,1) fill 2 to 1 end 1");
}

TEST(Decide, Ce5aSparesNeedAQuorumToo) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), silent()}),
                    open_chunk(2, {never_seen(), silent(), silent()})}),
            "lacks 2:1/2");
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), silent()}),
                    open_chunk(2, {never_seen(), never_seen(), silent()})}),
            "1:[0,1) 2:drop fill 1 to 1 end 1");
}

TEST(Decide, Ce5bOneHolderIsEnoughToExist) {
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), silent(), holds(0, 1)})}),
            "1:[0,1) fill 1 to 1 end 1");
}

TEST(Decide, Ce6SparesUsedOutOfOrderAreNoticed) {
  // Chunk 3 was used before chunk 2, against the rule.
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), never_seen(), silent()}),
                    open_chunk(2, {holds(1, 0), never_seen(), silent()}),
                    open_chunk(3, {holds(0, 1), holds(0, 1), silent()})}),
            "contradiction: chunk 2: begins at 1 but the chunks before it end at 0");
  EXPECT_EQ(judged({open_chunk(2, {holds(1, 0, {{3, 0}}), never_seen(), silent()}),
                    open_chunk(3, {holds(0, 1), holds(0, 1), silent()})}),
            "contradiction: chunk 2: names chunk 3 as used before it");
}

TEST(Decide, Ce10AShortClosedReplicaDecidesNothing) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 0), holds(0, 1), holds(0, 1)})}),
            "1:[0,1) fill 1 to 1 end 1");
}

TEST(Decide, Ce14AWrongDeviceIsNoAnswer) {
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), silent(), silent()})}), "lacks 1:1/2");
}

TEST(Decide, Ce16AllChunksAreDecidedTogether) {
  // With only two answers for chunk 2 that never saw it, chunk 1 keeps its byte …
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), silent()}),
                    open_chunk(2, {never_seen(), never_seen(), silent()})}),
            "1:[0,1) 2:drop fill 1 to 1 end 1");
  // … and with the third one chunk 2 has it: never both.
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(0, 1), never_seen()}),
                    open_chunk(2, {never_seen(), never_seen(), holds(0, 1, {{1, 0}})})}),
            "1:drop 2:[0,1) fill 2 to 1 end 1");
}

TEST(Decide, Ce19QuorumsOfOtherLayouts) {
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), silent()}, 2, 2)}), "1:drop end 0");
  EXPECT_EQ(judged({open_chunk(1, {silent(), silent()}, 2, 2)}), "lacks 1:0/1");
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 4), silent(), silent()}, 3, 3)}),
            "1:[0,4) fill 1 to 4 end 4");
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 4)}, 1, 1)}), "1:[0,4) fill 1 to 4 end 4");
}

TEST(Decide, ChunksBeforeTheLastNeedNoAnswers) {
  // PROTOCOL 23: chunk 3's history tells where 1 and 2 begin and that they exist.
  EXPECT_EQ(judged({open_chunk(1, {silent(), silent(), silent()}),
                    open_chunk(2, {silent(), silent(), silent()}),
                    open_chunk(3, {holds(9, 2, {{1, 0}, {2, 5}}), never_seen(), silent()})}),
            "1:[0,5) 2:[5,9) 3:[9,11) fill 3 to 2 end 11");
}

TEST(Decide, ASkippedSpareIsDropped) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 5), holds(0, 5), silent()}),
                    open_chunk(2, {never_seen(), silent(), silent()}),
                    open_chunk(3, {holds(5, 2, {{1, 0}}), never_seen(), silent()})}),
            "1:[0,5) 2:drop 3:[5,7) fill 3 to 2 end 7");
}

TEST(Decide, SettledChunksStandBetweenOpenOnes) {
  // Chunk 2 was reported before chunk 1: its base says where chunk 1 ends; chunk 3 was never used.
  EXPECT_EQ(judged({open_chunk(1, {silent(), silent(), silent()}), settled_chunk(2, 5, 4),
                    open_chunk(3, {never_seen(), never_seen(), silent()})}),
            "lacks 1:0/2");
  EXPECT_EQ(judged({open_chunk(1, {silent(), holds(0, 6), silent()}), settled_chunk(2, 5, 4),
                    open_chunk(3, {never_seen(), never_seen(), silent()})}),
            "1:[0,5) 3:drop end 9");
  EXPECT_EQ(judged({settled_chunk(1, 0, 0), settled_chunk(2, 0, 4),
                    open_chunk(3, {holds(4, 1, {{1, 0}, {2, 0}}), never_seen(), silent()})}),
            "3:[4,5) fill 3 to 1 end 5");
}

TEST(Decide, AnEmptyStreamKeepsNothing) {
  EXPECT_EQ(judged({open_chunk(1, {never_seen(), never_seen(), never_seen()}),
                    open_chunk(2, {never_seen(), never_seen(), silent()})},
                   70),
            "1:drop 2:drop end 70");
  EXPECT_EQ(judged({}, 7), "end 7");
  // Created without acknowledged data: length 0 is dropped.
  EXPECT_EQ(judged({open_chunk(1, {holds(7, 0), never_seen(), silent()})}, 7), "1:drop end 7");
}

TEST(Decide, AnswersThatDisagreeOnTheBaseAreAContradiction) {
  EXPECT_EQ(judged({open_chunk(1, {holds(0, 1), holds(1, 1), silent()})}),
            "contradiction: chunk 1: begins at 0 and at 1");
  EXPECT_EQ(judged({open_chunk(1, {holds(3, 1), holds(3, 1), silent()})}),
            "contradiction: chunk 1: begins at 3 but the chunks before it end at 0");
}

// A writer that obeys PROTOCOL 11 to 13, its messages arbitrarily late: whatever subset of answers
// a takeover hears, its verdict keeps every acknowledged unit and holds no unit twice.
TEST(Decide, AnyAnswersOfAnObedientWriterKeepWhatWasAcknowledged) {
  constexpr u64 kSeed = 0x5eed;
  Prng prng(kSeed);
  u64 verdicts = 0;
  for (u64 round = 0; round < 20'000; ++round) {
    SCOPED_TRACE(fmt::format("seed {} round {}", kSeed, round));
    const u8 n = static_cast<u8>(prng.between(1, 3));
    const u8 a = static_cast<u8>(n / 2 + 1 + (n == 3 && prng.chance(0.3) ? 1 : 0));
    const u32 used = static_cast<u32>(prng.between(0, 3));
    const u32 spares = static_cast<u32>(prng.between(0, 2));
    DecideInput input;
    u64 acked = 0;
    std::vector<ChunkHistory> history;
    for (u32 i = 0; i < used + spares; ++i) {
      ListedChunk chunk = open_chunk(i + 1, {}, n, a);
      const u64 base = acked;
      const u32 sent = i < used ? static_cast<u32>(prng.below(5)) : 0;
      std::vector<u32> lengths;
      for (u8 replica = 0; replica < n; ++replica) {
        const u32 length = static_cast<u32>(prng.below(sent + 1));
        const bool created = i < used && (length > 0 || prng.chance(0.5));
        chunk.answers.push_back(created ? holds(base, length, history) : never_seen());
        lengths.push_back(length);
      }
      std::sort(lengths.rbegin(), lengths.rend());
      if (i < used) {
        acked = base + prng.below(lengths[a - 1u] + 1);  // some acknowledgements may be late
        history.push_back({chunk.sequence, base});
      }
      input.chunks.push_back(std::move(chunk));
    }
    for (ListedChunk& chunk : input.chunks) {
      for (FenceAnswer& answer : chunk.answers) {
        if (prng.chance(0.3)) {
          answer = silent();
        }
      }
    }
    const Decision decision = decide(input);
    ASSERT_FALSE(std::holds_alternative<Contradiction>(decision)) << show(decision, input);
    if (const auto* verdict = std::get_if<Verdict>(&decision)) {
      ++verdicts;
      ASSERT_GE(verdict->end, acked) << show(decision, input);
      u64 sum = 0;
      for (const ChunkVerdict& each : verdict->chunks) {
        ASSERT_EQ(each.base, sum);
        sum += each.length;
      }
      ASSERT_EQ(sum, verdict->end);
    }
  }
  EXPECT_GT(verdicts, 5'000u);
}

}  // namespace
}  // namespace pangu::client
