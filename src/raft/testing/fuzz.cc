#include "raft/testing/fuzz.h"

#include <fmt/format.h>

namespace pangu::raft::testing {
namespace {

Options group_options(Prng& prng) {
  Options out;
  const bool tiny = prng.chance(0.3);
  out.append_bytes_max = prng.chance(0.2) ? 1 : tiny ? 80 : 400;
  out.inflight_bytes_max = tiny ? 200 : prng.chance(0.5) ? 1000 : 100'000;
  out.inflight_messages_max = static_cast<u32>(prng.between(1, 64));
  out.quiesce_after = prng.chance(0.3) ? milliseconds(100) : Duration();
  return out;
}

}  // namespace

Fuzz::Fuzz(const FuzzOptions& options)
    : options_(options),
      prng_(options.seed),
      group_(
          group_options(prng_), options.seed, [this](const Message& m) { send(m); },
          options.print == nullptr ? Group::Trace() : [this](const std::string& line) {
            options_.print(fmt::format("{:>10} {}", group_.now.ns / 1000, line));
          }),
      checker_(group_) {
  group_.observer = &checker_;
  draw();
}

void Fuzz::draw() {
  const auto often = [&](double chance, u64 most) {
    return prng_.chance(chance) ? prng_.between(1, most) : 0;
  };
  manner_.loss = prng_.chance(0.5) ? 0 : prng_.unit() * 0.3;
  manner_.twice = prng_.chance(0.5) ? 0 : prng_.unit() * 0.2;
  manner_.delay_us_max = prng_.chance(0.3) ? 300'000 : prng_.chance(0.5) ? 40'000 : 2'000;
  manner_.disk_us_max = prng_.chance(0.2) ? 300'000 : prng_.chance(0.5) ? 30'000 : 1'000;
  manner_.mischief_us = prng_.chance(0.3) ? 3'000 : 15'000;
  manner_.weight_propose = prng_.between(5, 60);
  manner_.weight_crash = often(0.7, 10);
  manner_.weight_cut = often(0.6, 10);
  manner_.weight_change = often(0.6, 20);
  manner_.weight_compact = often(0.6, 10);
  manner_.weight_transfer = often(0.4, 5);
  manner_.weight_read = often(0.7, 30);
  manner_.weight_reset = often(0.4, 5);
  manner_.hunt_us_max =
      prng_.chance(0.3) ? prng_.between(500, prng_.chance(0.5) ? 5'000 : 60'000) : 0;

  Configuration first;
  const u64 size = prng_.between(1, 5);
  const bool skew = prng_.chance(0.5);
  const bool forgetful = prng_.chance(0.4);
  for (u64 id = 1; id <= 7; ++id) {
    nodes_.push_back(NodeId{id});
    if (id <= size) {
      first.voters.push_back(NodeId{id});
    }
    if (skew) {
      group_.set_speed(NodeId{id}, static_cast<i64>(prng_.between(800, 1250)));
    }
  }
  for (const NodeId id : nodes_) {
    const bool in = id.value() <= size;
    group_.add(id, in ? first : Configuration()).forgets_every =
        forgetful ? prng_.between(1, 5) : 0;
    schedule(milliseconds(static_cast<i64>(prng_.below(10))), Kind::tick, id);
    wake_disk(id);
  }
  schedule(milliseconds(1), Kind::mischief, kNobody);
  report_.scenario = fmt::format(
      "{} voters, loss {:.2f}, twice {:.2f}, delay {} us, disk {} us, crash {} cut {} change {} "
      "compact {} transfer {} read {} reset {} hunt {} us, append {} window {} x {}, quiesce {}",
      size, manner_.loss, manner_.twice, manner_.delay_us_max, manner_.disk_us_max,
      manner_.weight_crash, manner_.weight_cut, manner_.weight_change, manner_.weight_compact,
      manner_.weight_transfer, manner_.weight_read, manner_.weight_reset, manner_.hunt_us_max,
      group_.options.append_bytes_max, group_.options.inflight_bytes_max,
      group_.options.inflight_messages_max, group_.options.quiesce_after.ms());
  group_.trace(report_.scenario);
}

void Fuzz::schedule(Duration after, Kind kind, NodeId node) {
  const u64 incarnation = node == kNobody ? 0 : group_.at(node).incarnation;
  events_.push({group_.now + after, ++order_, kind, node, incarnation, {}});
}

void Fuzz::send(const Message& message) {
  if (message.as<AppendRequest>() != nullptr) {
    notice_leader(message);
  }
  if (!group_.nodes.contains(message.to) || (!calm_ && prng_.chance(manner_.loss))) {
    return;
  }
  for (const auto& [from, to] : cuts_) {
    if (from == message.from && to == message.to) {
      return;
    }
  }
  const int copies = !calm_ && prng_.chance(manner_.twice) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    // Most messages are quick, some very late.
    const u64 most = prng_.chance(0.8) ? 500 : calm_ ? 1'000 : manner_.delay_us_max;
    const Duration delay = microseconds(static_cast<i64>(prng_.between(10, most)));
    events_.push({group_.now + delay, ++order_, Kind::deliver, message.to, 0, message});
  }
}

// Gives a node's background work a time to happen.
void Fuzz::wake_disk(NodeId id) {
  Node& node = group_.at(id);
  if (node.core == nullptr) {
    return;
  }
  const auto plan = [&](bool due, Kind kind, u64 us_max) {
    u64& planned = scheduled_[{id, kind}];
    if (due && planned != node.incarnation) {
      planned = node.incarnation;
      schedule(microseconds(static_cast<i64>(prng_.between(10, us_max))), kind, id);
    }
  };
  const u64 disk = calm_ || prng_.chance(0.7) ? 1'000 : manner_.disk_us_max;
  plan(!node.writes.empty(), Kind::persist, disk);
  plan(node.applied.id.index < node.to_apply, Kind::apply, 2'000);
  plan(!node.fetches.empty(), Kind::fetch, disk);
  plan(node.pull.has_value(), Kind::pull, calm_ ? 5'000 : 300'000);
}

void Fuzz::handle(Event& event) {
  if (event.kind == Kind::mischief) {
    if (!calm_) {
      mischief();
      const i64 us = static_cast<i64>(prng_.between(1, 2 * manner_.mischief_us));
      schedule(microseconds(us), Kind::mischief, kNobody);
    }
    return;
  }
  Node& node = group_.at(event.node);
  const NodeId id = event.node;
  if (event.kind == Kind::hunt) {
    if (!calm_ && node.core != nullptr && event.incarnation == node.incarnation) {
      hunt(node);
    }
    return;
  }
  if (event.kind == Kind::restart) {
    if (node.core == nullptr) {
      group_.restart(id);
      schedule(milliseconds(1), Kind::tick, id);
    }
  } else if (event.kind == Kind::deliver) {
    if (node.core != nullptr) {
      if (group_.tracing()) {
        group_.trace(to_string(event.message));
      }
      group_.step(id, event.message);
    }
  } else if (node.core != nullptr && event.incarnation == node.incarnation) {
    scheduled_[{id, event.kind}] = 0;
    if (event.kind == Kind::persist) {
      const u64 count = prng_.chance(0.7) ? 1 : 3;
      for (u64 i = 0; i < count && group_.persist_one(id); ++i) {
      }
    } else if (event.kind == Kind::apply) {
      const u64 count = prng_.between(1, 20);
      for (u64 i = 0; i < count && group_.apply_one(id); ++i) {
      }
    } else if (event.kind == Kind::fetch) {
      group_.finish_fetch(id);
    } else if (event.kind == Kind::pull) {
      const NodeId from = calm_ ? node.core->leader() : nodes_[prng_.below(nodes_.size())];
      const auto source = group_.nodes.find(from);
      const bool works = source != group_.nodes.end() && source->second.core != nullptr &&
                         (calm_ || prng_.chance(0.9));
      group_.finish_pull(id, works ? &source->second : nullptr);
    } else {
      group_.tick(id);
      schedule(milliseconds(static_cast<i64>(prng_.between(2, 15))), Kind::tick, id);
    }
  }
  wake_disk(id);
}

void Fuzz::drive_until(Instant end) {
  while (!events_.empty() && events_.top().at < end && group_.failure().empty()) {
    Event event = events_.top();
    events_.pop();
    group_.now = std::max(group_.now, event.at);
    ++report_.events;
    handle(event);
  }
  group_.now = end;
}

FuzzReport Fuzz::run() {
  drive_until(group_.now + options_.chaos);
  if (group_.failure().empty() && options_.check_recovery) {
    recover();
  }
  report_.failure = group_.failure();
  report_.committed = checker_.chosen();
  report_.elections = checker_.elections();
  report_.reads = checker_.reads_served();
  return report_;
}

Node* Fuzz::leader() {
  Node* out = nullptr;
  for (auto& [id, node] : group_.nodes) {
    if (node.core != nullptr && node.core->role() == Role::leader &&
        (out == nullptr || out->core->term() < node.core->term())) {
      out = &node;
    }
  }
  return out;
}

// The adversary rests. Members of the latest committed configuration are up; within some timeouts
// there must be a leader, and then everybody has all of its log.
void Fuzz::recover() {
  group_.trace("the adversary rests");
  calm_ = true;
  cuts_.clear();
  for (const NodeId id : nodes_) {
    if (group_.at(id).core == nullptr) {
      group_.restart(id);
      schedule(milliseconds(1), Kind::tick, id);
    }
    wake_disk(id);
  }
  std::string wrong = "nothing was tried";
  u64 mark = 0;
  for (int second = 0; second < 20 && !wrong.empty() && group_.failure().empty(); ++second) {
    drive_until(group_.now + seconds(1));
    Node* node = leader();
    if (node != nullptr && mark == 0) {
      const NodeId id = node->id;
      propose(*node);
      mark = group_.at(id).core->log().last().index;
      drive_until(group_.now + seconds(1));
    }
    wrong = not_recovered();
  }
  if (!wrong.empty()) {
    group_.fail("recovery: " + wrong);
  }
}

std::string Fuzz::not_recovered() {
  Node* lead = leader();
  if (lead == nullptr) {
    return "no leader";
  }
  const Core& core = *lead->core;
  if (core.configuration().is_joint() && core.configuration().auto_leave) {
    return "still joint";
  }
  if (core.commit() != core.log().last().index) {
    return fmt::format("leader {} has committed {} of {}", lead->id.value(), core.commit(),
                       core.log().last().index);
  }
  for (const NodeId id : core.configuration().members()) {
    const Node& node = group_.at(id);
    if (node.core->leader() != lead->id || node.applied.id != core.log().last() ||
        node.applied.chain != lead->applied.chain) {
      return fmt::format("member {} follows {} and has applied {}; the leader is {} with log {}",
                         id.value(), node.core->leader().value(), to_string(node.applied.id),
                         lead->id.value(), to_string(core.log().last()));
    }
  }
  return "";
}

}  // namespace pangu::raft::testing
