#include "raft/core/message.h"

#include <fmt/format.h>

namespace pangu::raft {
namespace {

struct Describe {
  std::string operator()(const VoteRequest& m) const {
    return fmt::format("{}{} last {}", m.pre_vote ? "pre-vote?" : "vote?",
                       m.transfer ? " (transfer)" : "", to_string(m.last));
  }
  std::string operator()(const VoteReply& m) const {
    return fmt::format("{} {}", m.pre_vote ? "pre-vote" : "vote", m.granted ? "yes" : "no");
  }
  std::string operator()(const AppendRequest& m) const {
    std::string out = fmt::format("append after {}", to_string(m.previous));
    if (!m.entries.empty()) {
      out += ":";
    }
    for (const Entry& entry : m.entries) {
      out += " " + to_string(entry.id());
    }
    return out + fmt::format(" commit {}", m.commit);
  }
  std::string operator()(const AppendReply& m) const {
    return m.accepted ? fmt::format("append ok {}", m.index)
                      : fmt::format("append no {} hint {}", m.index, to_string(m.hint));
  }
  std::string operator()(const Heartbeat& m) const {
    return fmt::format("heartbeat commit {} round {}{}", m.commit, m.round,
                       m.quiesce ? " quiesce" : "");
  }
  std::string operator()(const HeartbeatReply& m) const {
    return fmt::format("heartbeat ok round {}{}", m.round, m.stay_awake ? " stay awake" : "");
  }
  std::string operator()(const SnapshotOffer& m) const {
    return fmt::format("snapshot {} {}", to_string(m.meta.id), to_string(m.meta.configuration));
  }
  std::string operator()(const TimeoutNow&) const { return "timeout now"; }
  std::string operator()(const ReadRequest&) const { return "read?"; }
  std::string operator()(const ReadReply& m) const { return fmt::format("read at {}", m.index); }
};

}  // namespace

std::string to_string(const Message& message) {
  return fmt::format("{}->{} t{} {}", message.from.value(), message.to.value(),
                     message.term.value(), std::visit(Describe(), message.body));
}

std::string to_string(LogId id) {
  return fmt::format("{}/{}", id.index, id.term.value());
}

std::string to_string(Role role) {
  switch (role) {
    case Role::follower:
      return "follower";
    case Role::pre_candidate:
      return "pre-candidate";
    case Role::candidate:
      return "candidate";
    case Role::leader:
      return "leader";
  }
  return "";
}

}  // namespace pangu::raft
