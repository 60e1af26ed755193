#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"

// What a takeover decides from the answers to its fences: a pure function of the chunk list and the
// answers (PROTOCOL 21 to 24). It asks nobody and changes nothing; client/takeover.h does both.
//
// Invariants
// 1. Only a verdict with a quorum (n - a + 1 answers) for the last existing chunk, unless that is
//    settled, and for every open chunk behind it is ever given.
// 2. The lengths of a verdict join: every kept chunk begins where the one before it ends.
// 3. More answers never turn a verdict into another one that keeps less of what was acknowledged.
namespace pangu::client {

// One chunk that its writer had used before: from the create of a later one (PROTOCOL 12).
struct ChunkHistory {
  u32 sequence = 0;
  u64 base = 0;
};

enum class AnswerKind : u8 {
  none,       // silent, wrong device, damaged: not an answer at all (PROTOCOL 5)
  tombstone,  // never saw the chunk, and has stored that it never will take its owner's bytes
  exists,
};

// What one location said to FENCE.
struct FenceAnswer {
  AnswerKind kind = AnswerKind::none;
  u64 base = 0;
  u32 length = 0;
  u32 unit_count = 0;
  std::vector<ChunkHistory> history;
};

struct ListedChunk {
  u32 sequence = 0;
  u8 copies_max = 0;  // n
  u8 copies_min = 0;  // a
  bool settled = false;
  u64 base = 0;                      // settled
  u32 length = 0;                    // settled; 0: dropped
  std::vector<FenceAnswer> answers;  // one a location, in the list's order
  u32 quorum() const { return u32{copies_max} - copies_min + 1; }
};

struct DecideInput {
  u64 start = 0;                    // stream offset at which the first listed chunk begins
  std::vector<ListedChunk> chunks;  // in list order
};

struct ChunkVerdict {
  u32 sequence = 0;
  bool dropped = false;
  u64 base = 0;
  u32 length = 0;
};

// The whole list is decided.
struct Verdict {
  std::vector<ChunkVerdict> chunks;  // the unsettled ones, in order
  u64 end = 0;                       // of the stream
  // Index (in the input) of the open chunk whose bytes must be on `copies_min` locations before
  // this may be published (PROTOCOL 25); none if the last kept chunk is settled or there is none.
  std::optional<size_t> to_fill;
  u32 fill_length = 0;
};

// More answers are needed, for these chunks.
struct Undecided {
  struct Lack {
    size_t chunk = 0;  // index in the input
    u32 have = 0;
    u32 need = 0;
  };
  std::vector<Lack> lacks;
};

// The answers contradict each other or the list: a rule of the protocol is broken somewhere.
// Nothing may be published from them (PROTOCOL 24).
struct Contradiction {
  std::string what;
};

using Decision = std::variant<Verdict, Undecided, Contradiction>;

Decision decide(const DecideInput& input);

}  // namespace pangu::client
