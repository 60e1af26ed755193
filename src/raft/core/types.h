#pragma once
#include <compare>

#include "base/ids.h"
#include "base/time.h"
#include "base/types.h"

// The words of the Raft core. "Paper" in this room: Ongaro and Ousterhout, "In Search of an
// Understandable Consensus Algorithm (Extended Version)", 2014; "thesis": Ongaro, "Consensus:
// Bridging Theory and Practice", 2014.
namespace pangu::raft {

// A member of one group. 0 is nobody. An id is never given to another machine or to a machine that
// lost its disk: a member that forgot what it acknowledged is a new member.
using NodeId = StrongInt<struct NodeIdTag, u64>;
using Term = StrongInt<struct TermTag, u64>;
// A place in the log, counted from 1 without gaps; 0 is before the first entry. A plain integer,
// because arithmetic is what it is for; Term and NodeId are strong, so no two can be swapped.
using Index = u64;

inline constexpr NodeId kNobody{};
// Answers that wait for a term or vote to become durable; more are dropped, as a network would.
inline constexpr u32 kHeldMessagesMax = 1024;
inline constexpr u32 kQuickElections = 4;  // after a broken connection to the leader

// Names an entry. Its order is the order of "more up to date" (paper 5.4.1): by term, then index.
struct LogId {
  Term term;
  Index index = 0;
  constexpr auto operator<=>(const LogId&) const = default;
};

// first..last, both included; empty if last < first.
struct IndexRange {
  Index first = 1;
  Index last = 0;
  constexpr bool empty() const { return last < first; }
  constexpr bool operator==(const IndexRange&) const = default;
};

// What must survive a crash beside the log. `commit` only saves work after a restart: it never
// exceeds what is durable in the log, so a log that ends before it has lost data.
struct HardState {
  Term term;
  NodeId vote;
  Index commit = 0;
  constexpr bool operator==(const HardState&) const = default;
};

enum class Role : u8 { follower, pre_candidate, candidate, leader };

struct Options {
  NodeId self;
  // Seeds timeouts and the ids of forwarded reads. REQUIRES: different at every start of the same
  // member, or an answer to a read of its former life could be taken for a new one.
  u64 seed = 0;
  Duration heartbeat = milliseconds(50);
  Duration election_min = milliseconds(250);
  Duration election_max = milliseconds(500);
  // How long after the loss of the connection to the leader an election is tried.
  Duration reset_min = milliseconds(5);
  Duration reset_max = milliseconds(30);
  // A leader with nothing to do for so long lets the group sleep; 0: never.
  Duration quiesce_after = {};
  u64 append_bytes_max = 256 * kKiB;  // of one message, unless a single entry is larger
  u64 inflight_bytes_max = 4 * kMiB;  // sent to one member and not answered
  u32 inflight_messages_max = 256;
  u64 unpersisted_bytes_max = 64 * kMiB;  // beyond it propose() answers kBusy
  u32 reads_max = 4096;                   // waiting; beyond it read_index() answers kBusy
};

}  // namespace pangu::raft
