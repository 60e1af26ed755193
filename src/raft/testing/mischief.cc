#include <fmt/format.h>

#include "raft/testing/fuzz.h"

// What the adversary, and the users of the group, do.
namespace pangu::raft::testing {

void Fuzz::mischief() {
  Node& node = group_.at(nodes_[prng_.below(nodes_.size())]);
  if (node.core == nullptr) {
    return;
  }
  mischief_on(node);
  wake_disk(node.id);
}

void Fuzz::mischief_on(Node& node) {
  const u64 weights[] = {manner_.weight_propose, manner_.weight_crash,   manner_.weight_cut,
                         manner_.weight_change,  manner_.weight_compact, manner_.weight_transfer,
                         manner_.weight_read,    manner_.weight_reset};
  u64 sum = 0;
  for (const u64 weight : weights) {
    sum += weight;
  }
  u64 pick = prng_.below(sum);
  size_t what = 0;
  while (pick >= weights[what]) {
    pick -= weights[what++];
  }
  const NodeId other = nodes_[prng_.below(nodes_.size())];
  Node* lead = leader();
  switch (what) {
    case 0:
      return propose(lead != nullptr && prng_.chance(0.8) ? *lead : node);
    case 1:
      return crash(lead != nullptr && prng_.chance(0.3) ? *lead : node);
    case 2:
      return cut();
    case 3:
      return change_members(lead != nullptr ? *lead : node);
    case 4:
      if (prng_.chance(0.3)) {
        return group_.flush(node.id);
      }
      return group_.compact(node.id, node.applied.id.index - prng_.below(4));
    case 5:
      if (lead != nullptr && lead->id != other) {
        static_cast<void>(
            group_.act(lead->id, [&](Core& core) { return core.transfer_leader(other); }));
        wake_disk(lead->id);
      }
      return;
    case 6:
      static_cast<void>(group_.read(node.id, next_read_++));
      return;
    default:
      group_.act(node.id, [&](Core& core) {
        prng_.chance(0.5) ? core.report_unreachable(other) : core.report_unreachable(core.leader());
        return 0;
      });
  }
}

void Fuzz::propose(Node& node) {
  std::vector<Payload> commands;
  const u64 count = prng_.chance(0.7) ? 1 : prng_.between(2, 12);
  for (u64 i = 0; i < count; ++i) {
    const u64 size = prng_.chance(0.9) ? 8 : prng_.between(0, 300);
    std::string text(size, 'x');
    std::string serial = std::to_string(next_command_++);
    text.replace(0, std::min(size, serial.size()), serial, 0, std::min(size, serial.size()));
    commands.push_back(Payload::copy_of(text));
  }
  group_.act(node.id, [&](Core& core) { return core.propose(std::move(commands)).ok(); });
  wake_disk(node.id);
}

void Fuzz::crash(Node& node) {
  ++report_.crashes;
  const auto torn = prng_.chance(0.5) ? std::optional<size_t>(prng_.below(4)) : std::nullopt;
  group_.crash(node.id, prng_.chance(0.5) ? 0 : prng_.below(4), torn);
  const u64 most = prng_.chance(0.5) ? 20'000 : 1'500'000;
  schedule(microseconds(static_cast<i64>(prng_.between(100, most))), Kind::restart, node.id);
}

void Fuzz::change_members(Node& node) {
  ConfigurationChange change;
  const u64 count = prng_.chance(0.6) ? 1 : prng_.between(2, 3);
  for (u64 i = 0; i < count; ++i) {
    const NodeId id = nodes_[prng_.below(nodes_.size())];
    using Kind = MemberChange::Kind;
    const Kind kind = prng_.chance(0.5)   ? Kind::add_voter
                      : prng_.chance(0.5) ? Kind::remove
                                          : Kind::add_learner;
    change.changes.push_back({kind, id});
  }
  change.force_joint = prng_.chance(0.2);
  const bool ok =
      group_.act(node.id, [&](Core& core) { return core.change_configuration(change).ok(); });
  report_.changes += ok ? 1 : 0;
  if (ok && group_.tracing()) {
    group_.trace(
        fmt::format("{} changes to {}", node.id.value(), to_string(node.core->configuration())));
  }
  wake_disk(node.id);
}

// A leader's first append of a term: often nobody, or only one member, shall ever see its entries.
void Fuzz::notice_leader(const Message& message) {
  if (calm_ || manner_.hunt_us_max == 0 || message.term <= hunted_) {
    return;
  }
  hunted_ = message.term;
  cuts_.clear();
  const u64 audience = prng_.below(3);
  for (const NodeId to : nodes_) {
    if (audience == 0 || (audience == 1 && to != message.to)) {
      cuts_.emplace_back(message.from, to);
    }
  }
  const i64 us = static_cast<i64>(prng_.between(1, manner_.hunt_us_max));
  schedule(microseconds(us), Kind::hunt, message.from);
}

// The leader dies, or can reach only some; either way a part of its last entries is left somewhere.
void Fuzz::hunt(Node& node) {
  if (prng_.chance(0.3)) {
    cuts_.clear();
  }
  if (prng_.chance(0.7)) {
    crash(node);
    return;
  }
  for (const NodeId to : nodes_) {
    if (to != node.id && prng_.chance(0.6)) {
      cuts_.emplace_back(node.id, to);
    }
  }
  propose(node);
}

// Some links die, one way or both, or all come back.
void Fuzz::cut() {
  cuts_.clear();
  if (prng_.chance(0.4)) {
    group_.trace("all links work");
    return;
  }
  const NodeId alone = nodes_[prng_.below(nodes_.size())];
  const u64 manner = prng_.below(4);
  for (const NodeId from : nodes_) {
    for (const NodeId to : nodes_) {
      const bool cut = manner == 0   ? from == alone
                       : manner == 1 ? to == alone
                       : manner == 2 ? from == alone || to == alone
                                     : prng_.chance(0.3);
      if (cut && from != to) {
        cuts_.emplace_back(from, to);
      }
    }
  }
  group_.trace(fmt::format("{} links are cut around {}", cuts_.size(), alone.value()));
}

}  // namespace pangu::raft::testing
