#pragma once
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/result.h"
#include "raft/core/payload.h"
#include "raft/core/rules.h"
#include "raft/core/types.h"

// Who belongs to a group (paper 6, thesis 4). A value: changes make a new one, the log carries
// whole configurations, so going back after a truncation is taking the one before.
namespace pangu::raft {

inline constexpr size_t kMembersMax = 32;

// Invariants: each list is sorted and without doubles; a node is in at most one of voters,
// learners; learners_next is part of outgoing and disjoint from voters and learners; not joint:
// outgoing and learners_next are empty.
struct Configuration {
  std::vector<NodeId> voters;
  // Joint: the voters before the change. Every decision needs a majority of both.
  std::vector<NodeId> outgoing;
  std::vector<NodeId> learners;       // receive the log, count for nothing
  std::vector<NodeId> learners_next;  // vote in `outgoing`, learners once the change is left
  bool auto_leave = false;            // the leader leaves the joint configuration by itself

  bool operator==(const Configuration&) const = default;
  bool is_joint() const { return !outgoing.empty(); }
  bool is_voter(NodeId node) const;   // of either half
  bool is_member(NodeId node) const;  // voter or learner
  std::vector<NodeId> members() const;

  // The largest v such that a majority (of both halves) has value(node) >= v. What that means is
  // up to the caller: indexes held, heartbeat rounds answered, times of last contact, votes.
  // Nobody can decide anything in a group without voters: 0.
  template <class Value>
  u64 quorum_value(Value value) const {
    if (voters.empty()) {
      return 0;
    }
    const u64 incoming = majority_value(voters, value);
    if (!is_joint() || !RAFT_RULE(quorum_of_both)) {
      return incoming;
    }
    return std::min(incoming, majority_value(outgoing, value));
  }

 private:
  template <class Value>
  static u64 majority_value(const std::vector<NodeId>& nodes, Value value) {
    std::array<u64, kMembersMax> values{};
    const size_t count = nodes.size();
    for (size_t i = 0; i < count; ++i) {
      values[i] = value(nodes[i]);
    }
    std::sort(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
    return values[(count - 1) / 2];
  }
};

struct MemberChange {
  enum class Kind : u8 {
    add_voter,    // a new member, or a learner that becomes a voter
    add_learner,  // a new member, or a voter that stops voting
    remove,
  };
  Kind kind = Kind::add_voter;
  NodeId node;
};

struct ConfigurationChange {
  std::vector<MemberChange> changes;
  // Stay in the joint configuration until leave_joint().
  bool manual_leave = false;
  // Joint even where one voter changes and majorities overlap by themselves (thesis 4.1).
  bool force_joint = false;
};

// The configuration that `change` leads to: itself joint if more than one voter changes.
// kInvalidArgument: joint already, nothing changes, no voter would be left, or too many members.
Result<Configuration> changed(const Configuration& from, const ConfigurationChange& change);
// REQUIRES: from.is_joint()
Configuration after_joint(const Configuration& from);

// Little-endian: u8 version = 1, u8 flags (1: auto_leave), four times {u8 count, u64 node*}.
Payload encode(const Configuration& configuration);
// kCorrupt if the bytes are not a configuration that keeps the invariants.
Result<Configuration> decode_configuration(Bytes bytes);

std::string to_string(const Configuration& configuration);  // "voters 1 2 3 | was 1 2 | learners 4"

}  // namespace pangu::raft
