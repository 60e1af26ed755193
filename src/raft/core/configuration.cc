#include "raft/core/configuration.h"

#include <fmt/format.h>

namespace pangu::raft {
namespace {

using Nodes = std::vector<NodeId>;

bool contains(const Nodes& nodes, NodeId node) {
  return std::binary_search(nodes.begin(), nodes.end(), node);
}

void insert(Nodes& nodes, NodeId node) {
  const auto place = std::lower_bound(nodes.begin(), nodes.end(), node);
  if (place == nodes.end() || *place != node) {
    nodes.insert(place, node);
  }
}

void erase(Nodes& nodes, NodeId node) {
  std::erase(nodes, node);
}

size_t difference(const Nodes& a, const Nodes& b) {
  Nodes out;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out.size();
}

bool strictly_sorted(const Nodes& nodes) {
  return std::adjacent_find(nodes.begin(), nodes.end(), std::greater_equal<>()) == nodes.end() &&
         !contains(nodes, kNobody);
}

bool disjoint(const Nodes& a, const Nodes& b) {
  return std::none_of(a.begin(), a.end(), [&](NodeId node) { return contains(b, node); });
}

bool invariants_hold(const Configuration& c) {
  const bool sorted = strictly_sorted(c.voters) && strictly_sorted(c.outgoing) &&
                      strictly_sorted(c.learners) && strictly_sorted(c.learners_next);
  return sorted && disjoint(c.voters, c.learners) && disjoint(c.voters, c.learners_next) &&
         disjoint(c.learners, c.learners_next) && (c.is_joint() || !c.auto_leave) &&
         std::includes(c.outgoing.begin(), c.outgoing.end(), c.learners_next.begin(),
                       c.learners_next.end()) &&
         c.members().size() <= kMembersMax;
}

void list(std::string& out, std::string_view name, const Nodes& nodes) {
  if (nodes.empty()) {
    return;
  }
  out += out.empty() ? "" : " | ";
  out += name;
  for (const NodeId node : nodes) {
    out += fmt::format(" {}", node.value());
  }
}

}  // namespace

bool Configuration::is_voter(NodeId node) const {
  return contains(voters, node) || contains(outgoing, node);
}

bool Configuration::is_member(NodeId node) const {
  return is_voter(node) || contains(learners, node);
}

std::vector<NodeId> Configuration::members() const {
  Nodes out;
  for (const Nodes* nodes : {&voters, &outgoing, &learners}) {
    for (const NodeId node : *nodes) {
      insert(out, node);
    }
  }
  return out;
}

Result<Configuration> changed(const Configuration& from, const ConfigurationChange& change) {
  if (from.is_joint()) {
    return Error(Code::kInvalidArgument, "a joint configuration must be left first");
  }
  Configuration to{.voters = from.voters, .learners = from.learners};
  for (const MemberChange& member : change.changes) {
    if (member.node == kNobody) {
      return Error(Code::kInvalidArgument, "node 0 cannot be a member");
    }
    erase(to.voters, member.node);
    erase(to.learners, member.node);
    if (member.kind == MemberChange::Kind::add_voter) {
      insert(to.voters, member.node);
    } else if (member.kind == MemberChange::Kind::add_learner) {
      insert(to.learners, member.node);
    }
  }
  if (to.voters == from.voters && to.learners == from.learners) {
    return Error(Code::kInvalidArgument, "the change changes nothing");
  }
  if (to.voters.empty()) {
    return Error(Code::kInvalidArgument, "no voter would be left");
  }
  if (change.force_joint || difference(to.voters, from.voters) > 1) {
    to.outgoing = from.voters;
    to.auto_leave = !change.manual_leave;
    Nodes learners;
    for (const NodeId node : to.learners) {
      (contains(from.voters, node) ? to.learners_next : learners).push_back(node);
    }
    to.learners = std::move(learners);
  }
  if (to.members().size() > kMembersMax) {
    return Error(Code::kInvalidArgument, fmt::format("more than {} members", kMembersMax));
  }
  return to;
}

Configuration after_joint(const Configuration& from) {
  CHECK(from.is_joint());
  Configuration to{.voters = from.voters, .learners = from.learners};
  for (const NodeId node : from.learners_next) {
    insert(to.learners, node);
  }
  return to;
}

Payload encode(const Configuration& configuration) {
  std::string out;
  out.push_back(1);
  out.push_back(configuration.auto_leave ? 1 : 0);
  for (const Nodes* nodes : {&configuration.voters, &configuration.outgoing,
                             &configuration.learners, &configuration.learners_next}) {
    out.push_back(static_cast<char>(nodes->size()));
    for (const NodeId node : *nodes) {
      out.append(8, '\0');
      store_le(out.data() + out.size() - 8, node.value());
    }
  }
  return Payload::copy_of(out);
}

Result<Configuration> decode_configuration(Bytes bytes) {
  const Error damaged(Code::kCorrupt, "not a Raft configuration");
  if (bytes.size() < 2 || bytes[0] != std::byte{1} || bytes[1] > std::byte{1}) {
    return damaged;
  }
  Configuration out;
  out.auto_leave = bytes[1] == std::byte{1};
  bytes = bytes.subspan(2);
  for (Nodes* nodes : {&out.voters, &out.outgoing, &out.learners, &out.learners_next}) {
    const size_t count = bytes.empty() ? 256 : static_cast<size_t>(bytes[0]);
    if (count > kMembersMax || bytes.size() < 1 + 8 * count) {
      return damaged;
    }
    for (size_t i = 0; i < count; ++i) {
      nodes->push_back(NodeId{load_le<u64>(bytes.data() + 1 + 8 * i)});
    }
    bytes = bytes.subspan(1 + 8 * count);
  }
  if (!bytes.empty() || !invariants_hold(out)) {
    return damaged;
  }
  return out;
}

std::string to_string(const Configuration& configuration) {
  std::string out;
  list(out, "voters", configuration.voters);
  list(out, "was", configuration.outgoing);
  list(out, "learners", configuration.learners);
  list(out, "later learners", configuration.learners_next);
  return out.empty() ? "nobody" : out;
}

}  // namespace pangu::raft
