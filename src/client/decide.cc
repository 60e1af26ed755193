#include "client/decide.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <map>

namespace pangu::client {

namespace {

// What is known of one listed chunk once all answers are read together.
struct Known {
  bool exists = false;
  std::optional<u64> base;
  u32 answers = 0;
  u32 longest = 0;
};

class Judge {
 public:
  explicit Judge(const DecideInput& input) : chunks_(input.chunks), start_(input.start) {
    known_.resize(chunks_.size());
  }

  Decision run() {
    for (size_t i = 0; i < chunks_.size(); ++i) {
      read_answers(i);
    }
    for (size_t i = 0; i < chunks_.size(); ++i) {
      read_histories(i);
    }
    if (!contradiction_.empty()) {
      return Contradiction{contradiction_};
    }
    find_last();
    Undecided undecided = find_lacks();
    if (!undecided.lacks.empty()) {
      return undecided;
    }
    Verdict verdict = measure();
    if (!gap_.lacks.empty()) {
      return gap_;
    }
    if (!contradiction_.empty()) {
      return Contradiction{contradiction_};
    }
    return verdict;
  }

 private:
  void contradict(size_t chunk, std::string_view what) {
    if (contradiction_.empty()) {
      contradiction_ = fmt::format("chunk {}: {}", chunks_[chunk].sequence, what);
    }
  }

  void learn_base(size_t chunk, u64 base) {
    Known& known = known_[chunk];
    if (known.base && *known.base != base) {
      contradict(chunk, fmt::format("begins at {} and at {}", *known.base, base));
    }
    known.base = base;
  }

  void read_answers(size_t i) {
    const ListedChunk& chunk = chunks_[i];
    Known& known = known_[i];
    if (chunk.settled) {
      known.exists = chunk.length > 0;
      if (known.exists) {
        learn_base(i, chunk.base);
      }
      return;
    }
    for (const FenceAnswer& answer : chunk.answers) {
      if (answer.kind == AnswerKind::none) {
        continue;
      }
      ++known.answers;
      if (answer.kind == AnswerKind::exists) {
        known.exists = true;
        known.longest = std::max(known.longest, answer.length);
        learn_base(i, answer.base);
      }
    }
  }

  // Whatever the history of an existing chunk names exists too (PROTOCOL 22).
  void read_histories(size_t i) {
    for (const FenceAnswer& answer : chunks_[i].answers) {
      if (answer.kind != AnswerKind::exists) {
        continue;
      }
      for (const ChunkHistory& before : answer.history) {
        const auto place =
            std::find_if(chunks_.begin(), chunks_.end(),
                         [&](const ListedChunk& each) { return each.sequence == before.sequence; });
        if (place == chunks_.end()) {
          continue;  // settled since, and not listed
        }
        const size_t at = static_cast<size_t>(place - chunks_.begin());
        if (at >= i) {
          contradict(i, fmt::format("names chunk {} as used before it", before.sequence));
          continue;
        }
        if (place->settled && place->length == 0) {
          continue;  // used, left empty, dropped
        }
        known_[at].exists = true;
        learn_base(at, before.base);
      }
    }
  }

  void find_last() {
    for (size_t i = 0; i < chunks_.size(); ++i) {
      if (known_[i].exists) {
        last_ = i;
      }
    }
  }

  Undecided find_lacks() const {
    Undecided out;
    for (size_t i = last_.value_or(0); i < chunks_.size(); ++i) {
      const ListedChunk& chunk = chunks_[i];
      if (!chunk.settled && known_[i].answers < chunk.quorum()) {
        out.lacks.push_back({.chunk = i, .have = known_[i].answers, .need = chunk.quorum()});
      }
    }
    return out;
  }

  // The base of the next existing chunk, which says where chunk `i` ends; none for the last one.
  std::optional<u64> next_base(size_t i) const {
    for (size_t j = i + 1; j < chunks_.size(); ++j) {
      if (known_[j].exists) {
        return known_[j].base;
      }
    }
    return std::nullopt;
  }

  u32 length_of(size_t i) {
    const ListedChunk& chunk = chunks_[i];
    if (chunk.settled) {
      return chunk.length;
    }
    if (i == last_) {
      return known_[i].longest;
    }
    const u64 base = *known_[i].base;
    const u64 end = *next_base(i);
    if (end < base || end - base > std::numeric_limits<u32>::max()) {
      contradict(i, fmt::format("begins at {} but the next chunk begins at {}", base, end));
      return 0;
    }
    const u32 length = static_cast<u32>(end - base);
    if (known_[i].answers >= chunk.quorum() && length > known_[i].longest) {
      contradict(i, fmt::format("must hold {} bytes but its {} answers have {} at most", length,
                                known_[i].answers, known_[i].longest));
    }
    return length;
  }

  // Chunk `i` does not begin where the kept ones before it end: one that nobody answered for may
  // lie between (only if chunks were reported out of order, so that no history names it).
  void find_gap(size_t i) {
    for (size_t j = 0; j < i; ++j) {
      const ListedChunk& chunk = chunks_[j];
      if (!chunk.settled && !known_[j].exists && known_[j].answers < chunk.quorum()) {
        gap_.lacks.push_back({.chunk = j, .have = known_[j].answers, .need = chunk.quorum()});
      }
    }
  }

  Verdict measure() {
    Verdict out;
    u64 sum = start_;
    for (size_t i = 0; i < chunks_.size(); ++i) {
      const ListedChunk& chunk = chunks_[i];
      u32 length = 0;
      if (known_[i].exists) {
        if (*known_[i].base != sum) {
          find_gap(i);
          contradict(i, fmt::format("begins at {} but the chunks before it end at {}",
                                    *known_[i].base, sum));
          return out;
        }
        length = length_of(i);
      }
      if (!chunk.settled) {
        out.chunks.push_back(
            {.sequence = chunk.sequence, .dropped = length == 0, .base = sum, .length = length});
        if (i == last_ && length > 0) {
          out.to_fill = i;
          out.fill_length = length;
        }
      }
      sum += length;
    }
    out.end = sum;
    return out;
  }

  const std::vector<ListedChunk>& chunks_;
  const u64 start_;
  std::vector<Known> known_;
  std::optional<size_t> last_;  // Z of PROTOCOL 23
  std::string contradiction_;
  Undecided gap_;
};

}  // namespace

Decision decide(const DecideInput& input) {
  return Judge(input).run();
}

}  // namespace pangu::client
