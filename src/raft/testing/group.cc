#include "raft/testing/group.h"

#include <fmt/format.h>

#include "base/hash.h"

namespace pangu::raft::testing {
namespace {

void cut(Disk& disk, Index first) {
  while (disk.last() >= first && !disk.log.empty()) {
    disk.log.pop_back();
  }
}

void replace(Disk& disk, const SnapshotMeta& meta, u64 chain) {
  disk.base = meta;
  disk.base_chain = chain;
  disk.log.clear();
}

u64 chain_of_last(const Disk& disk) {
  return disk.log.empty() ? disk.base_chain : disk.log.back().chain;
}

}  // namespace

u64 extend(u64 chain, const Entry& entry) {
  const u64 head = mix64(chain ^ mix64(entry.term.value() * 4 + static_cast<u64>(entry.kind)));
  u64 sum = entry.payload.size();
  for (const std::byte byte : entry.payload.bytes()) {
    sum = sum * 131 + static_cast<u64>(byte);
  }
  return mix64(head + sum);
}

std::optional<u64> Disk::chain_at(Index index) const {
  if (index == base.id.index) {
    return base_chain;
  }
  const Stored* stored = find(index);
  return stored == nullptr ? std::nullopt : std::optional<u64>(stored->chain);
}

LogView::Found Node::read(IndexRange range, u64 bytes_max, Entries& out) const {
  if (forgets_every != 0 && range.first % forgets_every == 0) {
    return Found::not_in_memory;
  }
  u64 bytes = 0;
  for (Index index = range.first; index <= range.last; ++index) {
    const Stored* stored = disk.find(index);
    CHECK(stored != nullptr);
    bytes += stored->entry.bytes();
    if (bytes > bytes_max && !out.empty()) {
      break;
    }
    out.push_back(stored->entry);
  }
  return Found::here;
}

Group::Group(Options group_options, u64 seed, Send send, Trace trace)
    : options(group_options), seed_(seed), send_(std::move(send)), trace_(std::move(trace)) {}

Instant Group::local(NodeId id) const {
  const auto speed = speed_.find(id);
  const i64 thousandths = speed == speed_.end() ? 1000 : speed->second;
  return Instant{now.ns / 1000 * thousandths + static_cast<i64>(id.value()) * 1'000'000'000};
}

Node& Group::add(NodeId id, const Configuration& configuration) {
  Node& node = nodes[id];
  node.id = id;
  node.disk.base.configuration = configuration;
  restart(id);
  return node;
}

void Group::restart(NodeId id) {
  Node& node = at(id);
  CHECK(node.core == nullptr);
  ++node.incarnation;
  LogSummary log(node.disk.base);
  for (const Stored& stored : node.disk.log) {
    CHECK(log.append(stored.entry).ok());
  }
  Options mine = options;
  mine.self = id;
  mine.seed = hash64(seed_ * 1000 + id.value() * 100 + node.incarnation);
  auto core = Core::start(mine, {node.disk.hard_state, std::move(log), node.disk.flushed.id.index},
                          node, local(id));
  if (!core.ok()) {
    fail(fmt::format("node {} cannot start: {}", id.value(), core.error().message()));
    return;
  }
  node.core = std::move(*core);
  node.memory = node.disk;
  node.applied = node.disk.flushed;
  node.to_apply = node.applied.id.index;
  node.commands.clear();
  trace(fmt::format("{} starts: term {} vote {} log {} commit {}", id.value(),
                    node.core->term().value(), node.core->vote().value(),
                    to_string(node.core->log().last()), node.core->commit()));
  drive(node);
}

void Group::crash(NodeId id, size_t survive, std::optional<size_t> torn) {
  Node& node = at(id);
  trace(fmt::format("{} crashes; {} writes under way, {} survive", id.value(), node.writes.size(),
                    std::min(survive, node.writes.size())));
  if (observer != nullptr) {
    observer->on_crash(node);
  }
  for (size_t i = 0; i < survive && i < node.writes.size(); ++i) {
    make_durable(node, node.writes[i]);
  }
  if (torn && survive < node.writes.size()) {
    Node::Write& write = node.writes[survive];
    write.entries.resize(std::min(*torn, write.entries.size()));
    make_durable(node, write);
  }
  node.writes.clear();
  node.core.reset();
  node.fetches.clear();
  node.pull.reset();
  node.pulled.reset();
  node.reads.clear();
}

void Group::step(NodeId id, const Message& message) {
  Node& node = at(id);
  const Status done = node.core->step(local(id), message);
  if (!done.ok()) {
    Error error = Status(done).error();
    fail(fmt::format("node {} at \"{}\": {}", id.value(), to_string(message), error.message()));
  }
  drive(node);
}

void Group::tick(NodeId id) {
  Node& node = at(id);
  const Instant time = local(id);
  if (time < node.core->next_deadline()) {
    return;  // a tick before that would do nothing: that is part of the contract
  }
  node.core->tick(time);
  drive(node);
}

Status Group::read(NodeId id, u64 context) {
  if (observer != nullptr) {
    observer->on_read_asked(context);
  }
  return act(id, [&](Core& core) { return core.read_index(context); });
}

void Group::drive(Node& node) {
  for (int rounds = 0; failure_.empty(); ++rounds) {
    CHECK(rounds < 1000);
    Ready ready = node.core->ready();
    if (ready.empty()) {
      break;
    }
    take(node, std::move(ready));
  }
  if (observer != nullptr && failure_.empty()) {
    observer->after_step(node);
  }
}

void Group::take(Node& node, Ready ready) {
  if (observer != nullptr) {
    observer->on_ready(node, ready);
  }
  Node::Write write;
  if (ready.install) {
    CHECK(node.pulled && node.pulled->meta == *ready.install);
    write.install_chain = node.pulled->chain;
    replace(node.memory, *ready.install, node.pulled->chain);
    node.applied = {ready.install->id, node.pulled->chain};
    node.to_apply = ready.install->id.index;
    node.pulled.reset();
  }
  for (const Entry& entry : ready.entries) {
    cut(node.memory, entry.index);
    CHECK(node.memory.last() + 1 == entry.index);
    node.memory.log.push_back({entry, extend(chain_of_last(node.memory), entry)});
    write.entries.push_back(node.memory.log.back());
  }
  for (const Message& message : ready.messages) {
    send_(message);
  }
  if (!ready.committed.empty()) {
    CHECK(ready.committed.first == node.to_apply + 1);
    node.to_apply = ready.committed.last;
  }
  for (const ReadState& read : ready.reads) {
    node.reads[read.context] = read.index;
  }
  for (const u64 context : ready.reads_failed) {
    node.reads.erase(context);
  }
  for (EntryFetch& fetch : ready.fetches) {
    node.fetches.push_back(fetch);
  }
  if (node.fetches.size() > 2 * nodes.size()) {
    fail(fmt::format("node {} has {} reads from disk under way", node.id.value(),
                     node.fetches.size()));
  }
  if (ready.snapshot_fetch) {
    node.pull = Node::Pull{ready.snapshot_fetch->meta, 0};
  }
  for (const NodeId to : ready.snapshots_wanted) {
    node.core->offer_snapshot(
        to, {node.applied.id, node.core->log().summary().configuration_at(node.applied.id.index)});
  }
  if (ready.write != 0) {
    write.ready = std::move(ready);
    node.writes.push_back(std::move(write));
  }
}

void Group::make_durable(Node& node, Node::Write& write) {
  if (write.ready.install) {
    replace(node.disk, *write.ready.install, *write.install_chain);
    node.disk.flushed = {write.ready.install->id, *write.install_chain};
  }
  for (Stored& stored : write.entries) {
    cut(node.disk, stored.entry.index);
    CHECK(node.disk.last() + 1 == stored.entry.index);
    node.disk.log.push_back(stored);
  }
  if (write.ready.hard_state) {
    node.disk.hard_state = *write.ready.hard_state;
  }
}

bool Group::persist_one(NodeId id) {
  Node& node = at(id);
  if (node.writes.empty()) {
    return false;
  }
  Node::Write write = std::move(node.writes.front());
  node.writes.pop_front();
  make_durable(node, write);
  node.core->on_persisted(write.ready.write);
  drive(node);
  return true;
}

bool Group::apply_one(NodeId id) {
  Node& node = at(id);
  if (node.applied.id.index >= node.to_apply) {
    return false;
  }
  const Stored* stored = node.disk.find(node.applied.id.index + 1);
  if (stored == nullptr) {
    fail(fmt::format("node {} was told to apply {}, which is not on its disk", id.value(),
                     node.applied.id.index + 1));
    return false;
  }
  node.applied = {stored->entry.id(), extend(node.applied.chain, stored->entry)};
  if (stored->entry.kind == EntryKind::command) {
    node.commands.emplace_back(stored->entry.payload.text());
  }
  if (observer != nullptr) {
    observer->on_applied(node);
  }
  node.core->on_applied(node.applied.id.index);
  drive(node);
  return true;
}

void Group::flush(NodeId id) {
  Node& node = at(id);
  if (node.applied.id.index > node.disk.last()) {
    return;  // a snapshot whose installation is not durable yet
  }
  node.disk.flushed = node.applied;
}

bool Group::finish_fetch(NodeId id) {
  Node& node = at(id);
  if (node.fetches.empty()) {
    return false;
  }
  const EntryFetch fetch = node.fetches.front();
  node.fetches.erase(node.fetches.begin());
  Entries entries;
  u64 bytes = 0;
  for (Index index = fetch.range.first; index <= fetch.range.last; ++index) {
    const Stored* stored = node.disk.find(index);
    if (stored == nullptr || (bytes > 0 && bytes + stored->entry.bytes() > fetch.bytes_max)) {
      break;
    }
    bytes += stored->entry.bytes();
    entries.push_back(stored->entry);
  }
  node.core->on_fetched(fetch.to, std::move(entries));
  drive(node);
  return true;
}

bool Group::finish_pull(NodeId id, const Node* source) {
  Node& node = at(id);
  if (!node.pull) {
    return false;
  }
  Node::Pull pull = *node.pull;
  node.pull.reset();
  const std::optional<u64> chain =
      source == nullptr || source->applied.id.index < pull.meta.id.index
          ? std::nullopt
          : source->memory.chain_at(pull.meta.id.index);
  if (!chain) {
    node.core->on_snapshot_failed(pull.meta);
  } else {
    pull.chain = *chain;
    const Index before = node.core->log().base().index;
    node.core->on_snapshot_fetched(pull.meta);
    if (node.core->log().base().index != before) {
      node.pulled = pull;
    }
  }
  drive(node);
  return true;
}

void Group::compact(NodeId id, Index index) {
  Node& node = at(id);
  if (node.disk.flushed.id.index < index) {
    flush(id);
  }
  index = std::min(
      {index, node.disk.flushed.id.index, node.core->log().persisted(), node.core->applied()});
  if (index <= node.disk.base.id.index || !node.writes.empty()) {
    return;
  }
  const SnapshotMeta meta = node.core->log().summary().describe(index);
  for (Disk* disk : {&node.disk, &node.memory}) {
    const u64 chain = *disk->chain_at(index);
    disk->log.erase(disk->log.begin(),
                    disk->log.begin() + static_cast<i64>(index - disk->base.id.index));
    disk->base = meta;
    disk->base_chain = chain;
  }
  node.core->compact(index);
  drive(node);
}

void Group::fail(const std::string& what) {
  trace("FAILED: " + what);
  if (failure_.empty()) {
    failure_ = what;
  }
}

}  // namespace pangu::raft::testing
