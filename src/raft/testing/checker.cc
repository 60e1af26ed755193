#include "raft/testing/checker.h"

#include <fmt/format.h>

namespace pangu::raft::testing {

void Checker::on_ready(Node& node, const Ready& ready) {
  for (const Message& message : ready.messages) {
    check_promise(node, message);
  }
  for (const ReadState& read : ready.reads) {
    const auto floor = read_floor_.find(read.context);
    if (floor != read_floor_.end() && read.index < floor->second) {
      group_.fail(
          fmt::format("linearizable reads: node {} serves read {} at {}, but {} was "
                      "committed when it was asked",
                      node.id.value(), read.context, read.index, floor->second));
    }
    ++reads_served_;
  }
  check_log_matching(node, ready);
}

void Checker::check_promise(const Node& node, const Message& message) {
  const Disk& disk = node.disk;
  const VoteRequest* request = message.as<VoteRequest>();
  const VoteReply* reply = message.as<VoteReply>();
  const bool pre_vote = (request != nullptr && request->pre_vote) ||
                        (reply != nullptr && reply->pre_vote && reply->granted);
  const Term needed = pre_vote ? Term{message.term.value() - 1} : message.term;
  if (!pre_vote && disk.hard_state.term < needed) {
    group_.fail(fmt::format("durable promises: {} leaves while the disk is at term {}",
                            to_string(message), disk.hard_state.term.value()));
  }
  const bool votes = !pre_vote && (request != nullptr || (reply != nullptr && reply->granted));
  const NodeId vote = request != nullptr ? message.from : message.to;
  if (votes && disk.hard_state.term == message.term && disk.hard_state.vote != vote) {
    group_.fail(fmt::format("durable promises: {} leaves while the disk's vote is {}",
                            to_string(message), disk.hard_state.vote.value()));
  }
  const AppendReply* append = message.as<AppendReply>();
  if (append != nullptr && append->accepted && disk.last() < append->index) {
    group_.fail(fmt::format("durable promises: {} leaves while the disk ends at {}",
                            to_string(message), disk.last()));
  }
}

void Checker::check_log_matching(const Node& node, const Ready& ready) {
  if (ready.entries.empty()) {
    return;
  }
  // The mirror of the log in memory takes these entries after this call.
  const Index before = ready.entries.front().index - 1;
  std::optional<u64> chain = node.memory.chain_at(before);
  if (ready.install && before == ready.install->id.index && node.pulled) {
    chain = node.pulled->chain;
  }
  if (!chain) {
    group_.fail(fmt::format("node {} skips from {} to {}", node.id.value(), node.memory.last(),
                            before + 1));
    return;
  }
  for (const Entry& entry : ready.entries) {
    chain = extend(*chain, entry);
    if (seen_.size() <= entry.index) {
      seen_.resize(entry.index + 1);
    }
    bool known = false;
    for (const Point& point : seen_[entry.index]) {
      known |= point.id.term == entry.term;
      if (point.id.term == entry.term && point.chain != *chain) {
        group_.fail(fmt::format("log matching: node {} has another log up to entry {}",
                                node.id.value(), to_string(entry.id())));
      }
    }
    if (!known) {
      seen_[entry.index].push_back({entry.id(), *chain});
    }
  }
}

void Checker::after_step(Node& node) {
  if (node.core->role() == Role::leader) {
    check_leader(node);
  }
  check_commit(node);
}

void Checker::check_leader(const Node& node) {
  const Term term = node.core->term();
  const auto [known, first] = leaders_.try_emplace(term, node.id);
  if (!first) {
    if (known->second != node.id) {
      group_.fail(fmt::format("election safety: nodes {} and {} lead in term {}",
                              known->second.value(), node.id.value(), term.value()));
    }
    return;
  }
  group_.trace(fmt::format("{} leads in term {}", node.id.value(), term.value()));
  const Disk& log = node.memory;
  for (Index index = log.base.id.index; index < chosen_.size(); ++index) {
    if (chosen_[index].committed_in < term && log.chain_at(index) != chosen_[index].point.chain) {
      group_.fail(
          fmt::format("leader completeness: node {} leads in term {} without entry {}, "
                      "committed in term {}",
                      node.id.value(), term.value(), to_string(chosen_[index].point.id),
                      chosen_[index].committed_in.value()));
      return;
    }
  }
}

bool Checker::durable_majority(const Node& leader, Index index, u64 chain) const {
  const Configuration& members = leader.core->configuration();
  const auto have = [&](const std::vector<NodeId>& voters) {
    size_t count = 0;
    for (const NodeId id : voters) {
      const auto node = group_.nodes.find(id);
      if (node != group_.nodes.end()) {
        const Disk& disk = node->second.disk;
        count += disk.chain_at(index) == chain || disk.base.id.index > index ? 1 : 0;
      }
    }
    return 2 * count > voters.size();
  };
  return have(members.voters) && (!members.is_joint() || have(members.outgoing));
}

void Checker::check_commit(Node& node) {
  Index& before = commits_[node.id];
  const Index commit = node.core->commit();
  if (commit < before) {
    group_.fail(fmt::format("monotone commit: node {} goes back from {} to {}", node.id.value(),
                            before, commit));
  }
  const Disk& log = node.memory;
  for (Index index = std::max(before, log.base.id.index) + 1; index <= commit; ++index) {
    const Stored* stored = log.find(index);
    if (stored == nullptr) {
      group_.fail(
          fmt::format("node {} commits {}, which it does not have", node.id.value(), index));
      return;
    }
    if (index >= chosen_.size()) {
      chosen_.push_back({{stored->entry.id(), stored->chain}, node.core->term()});
      if (index == commit && !durable_majority(node, index, stored->chain)) {
        group_.fail(fmt::format("durable commits: node {} commits {} without a majority of disks",
                                node.id.value(), to_string(stored->entry.id())));
      }
    } else if (chosen_[index].point.chain != stored->chain) {
      group_.fail(fmt::format("state machine safety: node {} commits {}, but {} was committed",
                              node.id.value(), to_string(stored->entry.id()),
                              to_string(chosen_[index].point.id)));
      return;
    }
  }
  before = commit;
}

void Checker::on_applied(Node& node) {
  const Index index = node.applied.id.index;
  if (index >= chosen_.size() || chosen_[index].point.chain != node.applied.chain) {
    group_.fail(
        fmt::format("state machine safety: node {} applies another entry than the "
                    "committed one at {}",
                    node.id.value(), index));
  }
}

void Checker::on_read_asked(u64 context) {
  read_floor_[context] = chosen();
}

void Checker::on_crash(Node& node) {
  commits_[node.id] = 0;
}

}  // namespace pangu::raft::testing
