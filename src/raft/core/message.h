#pragma once
#include <string>
#include <variant>

#include "raft/core/configuration.h"
#include "raft/core/entry.h"
#include "raft/core/types.h"

// What members of a group tell each other. Every message may be lost, doubled, late or out of
// order.
namespace pangu::raft {

// A state machine's state: everything up to and including `id` is in it.
struct SnapshotMeta {
  LogId id;
  Configuration configuration;  // in force at id.index
  bool operator==(const SnapshotMeta&) const = default;
};

// Paper 5.2. As a pre-vote (thesis 9.6): "would you vote for me in this term?", binds nobody.
struct VoteRequest {
  bool pre_vote = false;
  // The leader asked for this election (thesis 3.10): members that hear a leader answer too.
  bool transfer = false;
  LogId last;
};
// A granted pre-vote carries the term asked for; every other answer the term of its sender.
struct VoteReply {
  bool pre_vote = false;
  bool granted = false;
};

// Paper 5.3. Without entries: carries the commit index, or finds out where the logs part.
struct AppendRequest {
  LogId previous;
  Index commit = 0;
  Entries entries;
};
// accepted: everything up to `index` is the leader's and durable. Else `index` is the
// previous.index that did not match, and `hint` the last entry that the sender may share with the
// leader.
struct AppendReply {
  bool accepted = false;
  Index index = 0;
  LogId hint;
};

// Sent at intervals, and as a round for waiting reads (thesis 6.4). commit never exceeds what the
// receiver acknowledged. quiesce: nothing more will come until something happens.
struct Heartbeat {
  Index commit = 0;
  u64 round = 0;
  bool quiesce = false;
};
struct HeartbeatReply {
  u64 round = 0;
  bool stay_awake = false;  // to a quiesce: this member is not up to date
};

// The log no longer reaches back to what the receiver lacks (paper 7). The state itself is pulled
// by the drivers, in pieces.
struct SnapshotOffer {
  SnapshotMeta meta;
};

// Start an election now (thesis 3.10).
struct TimeoutNow {};

// A follower's waiting reads, as one (thesis 6.4). `id` is the follower's.
struct ReadRequest {
  u64 id = 0;
};
struct ReadReply {
  u64 id = 0;
  Index index = 0;
};

struct Message {
  NodeId from;
  NodeId to;
  Term term;
  std::variant<VoteRequest, VoteReply, AppendRequest, AppendReply, Heartbeat, HeartbeatReply,
               SnapshotOffer, TimeoutNow, ReadRequest, ReadReply>
      body;

  template <class Body>
  const Body* as() const {
    return std::get_if<Body>(&body);
  }
};

// For people: "1->2 t3 append after 4/2: 5/3 6/3 commit 4".
std::string to_string(const Message& message);
std::string to_string(LogId id);  // index/term: "5/3"
std::string to_string(Role role);

}  // namespace pangu::raft
