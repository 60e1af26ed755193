#pragma once
#include <deque>
#include <vector>

#include "raft/core/types.h"

// Linearizable reads without a log entry (thesis 6.4): a leader that has committed in its own term
// notes its commit index, hears from a majority that nobody has replaced it, and may then answer
// from a state that has applied that index.
//
// One round of heartbeats serves all reads that wait when it starts, and at most one such round is
// under way: a busy leader asks once a round trip however many reads there are.
namespace pangu::raft {

// A read that may be served once `index` is applied.
struct ReadState {
  u64 context = 0;
  Index index = 0;
};

// On the leader. Reads of followers come as one with their id for a context.
class LeaderReads {
 public:
  struct Read {
    NodeId from;
    u64 context = 0;
    Index index = 0;
    u64 round = 0;
  };

  void add(NodeId from, u64 context) { waiting_.push_back({from, context}); }
  size_t size() const { return waiting_.size() + asked_.size(); }
  bool round_due() const { return !waiting_.empty() && asked_.empty(); }
  // Heartbeats of `round` leave now: every waiting read joins it.
  void start_round(u64 round, Index commit);
  // A majority answered `round` or a later one: its reads, in order.
  std::vector<Read> confirmed(u64 round);
  std::vector<Read> clear();

 private:
  std::deque<Read> waiting_;
  std::deque<Read> asked_;  // by round
};

// On a follower: reads on their way to the leader, many in one request.
class ForwardedReads {
 public:
  explicit ForwardedReads(u64 first_id) : next_id_(first_id) {}

  void add(u64 context) { waiting_.push_back(context); }
  size_t size() const { return size_ + waiting_.size(); }
  bool request_due() const { return !waiting_.empty(); }
  // The id under which all reads that wait at this moment are asked.
  u64 start_request(Instant now);
  // The reads of request `id`; nothing if it is not known (any more).
  std::vector<u64> answered(u64 id);
  // When the oldest request was made; never() if there is none.
  Instant oldest() const;
  std::vector<u64> expire(Instant asked_before);
  std::vector<u64> clear() { return expire(Instant::never()); }

 private:
  struct Request {
    u64 id = 0;
    Instant asked;
    std::vector<u64> contexts;
  };
  u64 next_id_;
  std::vector<u64> waiting_;
  std::deque<Request> requests_;
  size_t size_ = 0;
};

}  // namespace pangu::raft
