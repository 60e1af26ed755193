#pragma once
#include <functional>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "master/state/removed_files.h"
#include "master/state/tree_model.h"
#include "master/state/tree_rig.h"
#include "master/state/turns.h"

// Many clients, coordinators that stop between any two steps, messages that come again late: at each
// moment what groups answer is what one plain tree says, changed at the moments of the decisions.
namespace pangu::master {
namespace {

using test::code_of;
using test::ModelEntry;
using test::ModelTree;
using test::Names;
using test::Plan;
using test::TreeRig;
using test::Turns;
using test::Way;

struct Options {
  u64 seed = 0;
  u32 namespace_groups = 3;
  int clients = 6;
  int changes = 300;
  int names = 4;
  double crash = 0.01;  // of a group's leader, a turn
  double renames = 0;   // so much more often than other changes
};

// What a client knows of a path after it has looked.
struct Found {
  Code code = Code::kOk;  // kNotFound: a directory of the path, kNotDirectory: likewise
  Way way;                // to the directory of the last name
  std::string name;
  std::optional<ModelEntry> entry;
};

class World {
 public:
  explicit World(const Options& options)
      : options_(options),
        random_(options.seed),
        rig_(options.namespace_groups, 2),
        turns_(random_) {}

  void run() {
    for (int i = 0; i < options_.clients; ++i) {
      turns_.start(client(std::make_unique<Alive>(clients_)));
    }
    for (u64 group : rig_.namespaces()) {
      turns_.start(sweeper(group));
      turns_.start(deliverer(group));
    }
    turns_.start(sweeper(wire::kRootGroup));
    turns_.start(reclaimer());
    turns_.start(repeater());
    u64 turns = 0;
    while (turns_.step() && !testing::Test::HasFailure()) {
      ASSERT_LT(++turns, 3'000'000u);
      if (random_.chance(options_.crash / 10) && changes_ < options_.changes) {
        crash();
      }
    }
  }

  void check_end();
  const std::map<std::string, int>& counts() const { return counts_; }
  TreeRig& rig() { return rig_; }

 private:
  // ---- commands, remembered so that they can come again ----

  template <class Request>
  record::Outcome send(u64 to, InternalMethod method, const Request& request) {
    sent_.push_back({to, method, request.SerializeAsString()});
    return rig_.apply(to, method, request);
  }
  struct Sent {
    u64 to;
    InternalMethod method;
    std::string bytes;
  };

  void crash() {
    std::vector<u64> groups = rig_.namespaces();
    groups.push_back(wire::kRootGroup);
    const u64 group = groups[random_.below(groups.size())];
    turns_.stop_those_at(group);
    rig_.next_term(group);
    std::erase_if(active_, [&](const auto& each) { return each.first == group; });
    ++counts_["crashes"];
    // Whoever asked there begins with something else.
    while (clients_ < options_.clients) {
      turns_.start(client(std::make_unique<Alive>(clients_)));
    }
  }

  // ---- what clients do ----

  // Counts clients that live, also those that a crash takes away.
  struct Alive {
    explicit Alive(int& count) : count_(count) { ++count_; }
    ~Alive() { --count_; }
    Alive(const Alive&) = delete;
    int& count_;
  };

  Task<void> client(std::unique_ptr<Alive> alive);
  Task<Found> look(Names names);
  Task<void> look_for(Names names, size_t from, std::vector<u64>& chain,
                      std::vector<pb::LookupAnswer>& answers, std::vector<u64>& epochs,
                      std::vector<std::optional<ModelEntry>>& expected);
  Task<void> create(Found at);
  Task<void> make_directory(Found at);
  Task<void> remove(Found at);
  Task<void> rename(Found from, Found to);
  Task<void> remove_tree(Found at);
  Task<void> read_old_way();
  Task<Code> run_plan(u64 coordinator, Plan plan, std::function<void()> committed);
  Task<void> finish(record::TxnId id, std::vector<u64> groups, bool commit);

  // ---- the groups' own work ----

  bool busy() const { return clients_ > 0; }
  Task<void> sweeper(u64 group);
  Task<void> deliverer(u64 group);
  Task<void> reclaimer();
  Task<void> repeater();
  bool is_at_rest();

  Names some_names() {
    Names names(random_.between(1, 4));
    for (std::string& name : names) {
      // The other subtree, sometimes.
      const u64 letter = random_.below(static_cast<u64>(options_.names));
      name = letter == 0 ? "s" : std::string(1, static_cast<char>('a' + letter));
    }
    return names;
  }
  void expect_way(const Way& way, const char* what) {
    EXPECT_EQ(model_.chain(way.directory()), way.chain) << what << ", seed " << options_.seed;
  }

  const Options options_;
  Prng random_;
  TreeRig rig_;
  ModelTree model_;
  Turns turns_;
  std::set<std::pair<u64, u64>> active_;  // coordinator, number
  std::vector<Sent> sent_;
  std::vector<Way> ways_;  // seen by anybody at any time
  std::map<std::string, int> counts_;
  int changes_ = 0;
  int clients_ = 0;
};

// ---- looking up a path (docs/design/0006, "The tree's changes") ----

// Asks all groups about names[from..], with guessed ids; answers stand at their names' places.
Task<void> World::look_for(Names names, size_t from, std::vector<u64>& chain,
                           std::vector<pb::LookupAnswer>& answers, std::vector<u64>& epochs,
                           std::vector<std::optional<ModelEntry>>& expected) {
  chain.resize(from + 1);
  for (size_t i = from; i + 1 < names.size(); ++i) {
    chain.push_back(rig_.directory_id(chain[i], names[i], 0));
  }
  std::map<u64, std::vector<size_t>> by_group;
  for (size_t i = from; i < names.size(); ++i) {
    by_group[rig_.group_of(chain[i])].push_back(i);
  }
  while (!by_group.empty()) {
    co_await turns_.next();
    auto chosen = std::next(by_group.begin(), static_cast<int>(random_.below(by_group.size())));
    pb::LookupRequest request;
    request.set_guess(true);
    for (const size_t i : chosen->second) {
      const Way way{{chain.begin(), chain.begin() + static_cast<int>(i) + 1}, 0};
      *request.add_places() = test::place_of(way, names[i]);
    }
    const auto reply = rig_.look(chosen->first, request);
    if (!reply.ok()) {
      EXPECT_EQ(reply.code(), Code::kBusy);
      continue;
    }
    for (size_t k = 0; k < chosen->second.size(); ++k) {
      const size_t i = chosen->second[k];
      answers[i] = reply->answers(static_cast<int>(k));
      epochs[i] = reply->tree_epoch();
      expected[i] = model_.resolve(names, i + 1);
    }
    by_group.erase(chosen);
  }
}

Task<Found> World::look(Names names) {
  std::vector<u64> chain{keys::kRootDirectory};
  std::vector<pb::LookupAnswer> answers(names.size());
  std::vector<u64> epochs(names.size());
  std::vector<std::optional<ModelEntry>> expected(names.size());
  size_t from = 0;
  for (;;) {
    co_await look_for(names, from, chain, answers, epochs, expected);
    // As far as the answers are about the right directories.
    size_t last = 0;
    while (last + 1 < names.size() && answers[last].result() == pb::LOOKUP_FOUND &&
           answers[last].entry().type() == pb::ENTRY_DIRECTORY &&
           answers[last].entry().id() == chain[last + 1]) {
      ++last;
    }
    const pb::LookupAnswer& answer = answers[last];
    const bool directory_follows = answer.result() == pb::LOOKUP_FOUND &&
                                   answer.entry().type() == pb::ENTRY_DIRECTORY &&
                                   last + 1 < names.size();
    if (directory_follows) {
      ++counts_["guess failed"];
      from = last + 1;
      chain.resize(from);
      chain.push_back(answer.entry().id());
      continue;
    }
    u64 moved = 0;
    u64 seen = ~u64{0};
    for (size_t i = 0; i <= last; ++i) {
      moved = std::max(moved, answers[i].moved());
      seen = std::min(seen, epochs[i]);
    }
    if (answer.result() == pb::LOOKUP_NO_DIRECTORY || moved > seen) {
      ++counts_[moved > seen ? "answers did not fit" : "directory vanished"];
      from = 0;
      chain.resize(1);
      continue;
    }
    Found found;
    found.way = {{chain.begin(), chain.begin() + static_cast<int>(last) + 1}, seen};
    found.name = names[last];
    if (answer.result() == pb::LOOKUP_FOUND) {
      found.entry = {answer.entry().type() == pb::ENTRY_DIRECTORY, answer.entry().id()};
    }
    EXPECT_EQ(found.entry, expected[last]) << "seed " << options_.seed << ", depth " << last;
    if (last + 1 < names.size()) {
      found.code = found.entry ? Code::kNotDirectory : Code::kNotFound;
    }
    ways_.push_back(found.way);
    ++counts_["paths looked up"];
    co_return found;
  }
}

// Somebody who has kept a way for any time: it is right, or Stale.
Task<void> World::read_old_way() {
  co_await turns_.next();
  if (ways_.empty()) {
    co_return;
  }
  const Way way = ways_[random_.below(ways_.size())];
  const std::string name = some_names().front();
  if (random_.chance(0.3)) {
    const auto page = rig_.list_of(way);
    if (!page.ok()) {
      EXPECT_TRUE(page.code() == Code::kBusy || page.code() == Code::kStale);
      co_return;
    }
    expect_way(way, "list");
    std::map<std::string, ModelEntry> entries;
    for (const pb::Entry& entry : page->entries()) {
      entries[entry.name()] = {entry.type() == pb::ENTRY_DIRECTORY, entry.id()};
    }
    const auto* const there = model_.find(way.directory());
    EXPECT_TRUE(there != nullptr && there->entries == entries) << "seed " << options_.seed;
    ++counts_["lists"];
    co_return;
  }
  const auto reply = rig_.look(way, name);
  if (!reply.ok()) {
    EXPECT_TRUE(reply.code() == Code::kBusy || reply.code() == Code::kStale);
    ++counts_[reply.code() == Code::kBusy ? "old ways: busy" : "old ways: stale"];
    co_return;
  }
  const pb::LookupAnswer& answer = reply->answers(0);
  if (answer.result() == pb::LOOKUP_NO_DIRECTORY) {
    EXPECT_EQ(model_.find(way.directory()), nullptr) << "seed " << options_.seed;
    co_return;
  }
  expect_way(way, "lookup");
  const auto entry = model_.entry(way.directory(), name);
  EXPECT_EQ(answer.result() == pb::LOOKUP_FOUND, entry.has_value()) << options_.seed;
  EXPECT_TRUE(!entry || answer.entry().id() == entry->id);
  ++counts_["old ways: good"];
}

// ---- changes ----

Task<void> World::create(Found at) {
  const bool exclusive = random_.chance(0.5);
  const u64 home = rig_.group_of(at.way.directory());
  const auto request = rig_.create_request(at.way, at.name, exclusive, rig_.next_request());
  co_await turns_.next();
  const auto reply =
      rig_.group(home).call<pb::CreateFileReply>(wire::Method::create_file, request);
  if (reply.code() == Code::kBusy || reply.code() == Code::kStale) {
    ++counts_["create: again"];
    co_return;
  }
  expect_way(at.way, "create");
  const auto there = model_.entry(at.way.directory(), at.name);
  if (reply.ok() && reply->created()) {
    EXPECT_FALSE(there.has_value());
    model_.add_file(at.way.directory(), at.name, reply->entry().id());
    ++counts_["create"];
  } else if (reply.ok()) {
    EXPECT_TRUE(there && !there->directory && there->id == reply->entry().id());
  } else {
    EXPECT_TRUE(there.has_value());
    EXPECT_EQ(reply.code(), there && there->directory ? Code::kIsDirectory : Code::kAlreadyExists);
  }
}

Task<void> World::make_directory(Found at) {
  for (u64 version = 0; version < 20; ++version) {
    const u64 parent = at.way.directory();
    const u64 id = rig_.directory_id(parent, at.name, version);
    const Code code = co_await run_plan(rig_.group_of(parent),
                                        rig_.make_directory_plan(at.way, at.name, version),
                                        [this, parent, at, id] {
                                          expect_way(at.way, "make directory");
                                          model_.add_directory(parent, at.name, id);
                                        });
    ++counts_[fmt::format("make directory: {}", code_name(code))];
    if (code != Code::kConflict) {
      co_return;
    }
  }
}

Task<void> World::remove(Found at) {
  const u64 parent = at.way.directory();
  const u64 id = at.entry->id;
  const bool directory = at.entry->directory;
  Plan plan = directory ? rig_.remove_directory_plan(at.way, at.name, id)
                        : rig_.remove_file_plan(at.way, at.name, id);
  const Code code =
      co_await run_plan(rig_.group_of(parent), std::move(plan), [this, at, parent, id, directory] {
        expect_way(at.way, "remove");
        directory ? model_.remove_empty(parent, at.name, id)
                  : model_.remove_file(parent, at.name, id);
      });
  ++counts_[fmt::format("remove {}: {}", directory ? "directory" : "file", code_name(code))];
}

Task<void> World::rename(Found from, Found to) {
  const ModelEntry moved = *from.entry;
  const bool below = std::find(to.way.chain.begin(), to.way.chain.end(), moved.id) !=
                     to.way.chain.end();
  const bool itself = from.way.directory() == to.way.directory() && from.name == to.name;
  if ((moved.directory && (below || random_.chance(0.3))) || itself) {
    co_return;
  }
  record::Entry entry;
  entry.set_type(pb::ENTRY_FILE);
  entry.set_id(moved.id);
  co_await turns_.next();
  Plan plan = moved.directory
                  ? rig_.move_plan(from.way, from.name, to.way, to.name, moved.id)
                  : rig_.rename_file_plan(from.way, from.name, to.way, to.name, entry);
  const u64 home = moved.directory ? wire::kRootGroup : rig_.group_of(from.way.directory());
  const Code code = co_await run_plan(home, std::move(plan), [this, from, to, moved] {
    expect_way(from.way, "rename from");
    expect_way(to.way, "rename to");
    const u64 a = from.way.directory();
    const u64 b = to.way.directory();
    moved.directory ? model_.move(a, from.name, b, to.name, moved.id)
                    : model_.rename_file(a, from.name, b, to.name, moved.id);
  });
  ++counts_[fmt::format("{}: {}", moved.directory ? "move" : "rename", code_name(code))];
}

Task<void> World::remove_tree(Found at) {
  co_await turns_.next();
  const u64 id = at.entry->id;
  const Code code = co_await run_plan(
      wire::kRootGroup, rig_.remove_tree_plan(at.way, at.name, id), [this, at, id] {
        expect_way(at.way, "remove tree");
        model_.remove_tree(at.way.directory(), at.name, id);
      });
  ++counts_[fmt::format("remove tree: {}", code_name(code))];
}

// The coordinator. Between any two turns its leader can be gone.
Task<Code> World::run_plan(u64 coordinator, Plan plan, std::function<void()> committed) {
  turns_.set_place(coordinator);
  const record::TxnId id = rig_.next_id(coordinator);
  active_.insert({coordinator, id.number()});
  std::vector<u64> others;
  for (const auto& [group, part] : plan.parts) {
    if (group != coordinator) {
      others.insert(others.begin() + static_cast<int>(random_.below(others.size() + 1)), group);
    }
  }
  Code code = Code::kOk;
  for (const u64 group : others) {
    co_await turns_.next();
    code = code_of(send(group, InternalMethod::prepare, TreeRig::prepare_of(plan, group, id)));
    if (code != Code::kOk) {
      break;
    }
  }
  if (code == Code::kOk) {
    co_await turns_.next();
    const pb::RequestId client = rig_.next_request();
    const record::Commit request = TreeRig::commit_of(plan, id, client);
    const record::Outcome outcome = rig_.apply(coordinator, InternalMethod::commit, request);
    code = code_of(outcome);
    if (code == Code::kOk) {
      committed();
      ++changes_;
      if (random_.chance(0.1)) {
        // The client has not heard of it and asks again.
        record::Commit again = request;
        again.mutable_part()->mutable_txn()->set_number(1 << 30);
        EXPECT_TRUE(rig_.apply(coordinator, InternalMethod::commit, again).already());
      }
    }
  }
  EXPECT_NE(code, Code::kInvalidArgument);
  active_.erase({coordinator, id.number()});
  co_await finish(id, others, code == Code::kOk);
  turns_.set_place(0);
  co_return code;
}

// Some of it stays undone: sweepers find it.
Task<void> World::finish(record::TxnId id, std::vector<u64> groups, bool commit) {
  record::Finished finished;
  for (const u64 group : groups) {
    co_await turns_.next();
    if (random_.chance(0.1)) {
      continue;
    }
    EXPECT_EQ(send(group, InternalMethod::finish, TreeRig::finish_of(id, group, commit)).code(),
              0u);
    record::Finished::One& one = *finished.add_done();
    *one.mutable_txn() = id;
    one.set_participant(group);
  }
  if (commit && finished.done_size() > 0) {
    co_await turns_.next();
    send(id.group(), InternalMethod::finished, finished);
  }
}

Task<void> World::client(std::unique_ptr<Alive>) {
  while (changes_ < options_.changes && !testing::Test::HasFailure()) {
    co_await turns_.next();
    turns_.set_place(0);
    co_await read_old_way();
    Found at = co_await look(some_names());
    if (at.code != Code::kOk) {
      continue;
    }
    const u64 what = random_.chance(options_.renames) ? 10 : random_.below(20);
    if (what < 5) {
      co_await create(at);
    } else if (!at.entry) {
      co_await make_directory(at);
    } else if (what < 9) {
      co_await remove(at);
    } else if (what < 17) {
      Found to = co_await look(some_names());
      if (to.code == Code::kOk && !to.entry) {
        co_await rename(at, to);
      }
    } else if (at.entry->directory && what == 19) {
      co_await remove_tree(at);
    }
  }
}

// ---- the groups' own work ----

// What became of parts that were left prepared, and of participants that did not answer.
Task<void> World::sweeper(u64 group) {
  while (busy() || !is_at_rest()) {
    co_await turns_.next();
    if (random_.chance(0.8)) {
      continue;
    }
    const auto parts = rig_.query(group, [](Txn& txn) { return prepared_parts(txn, 100); });
    for (const record::Part& part : parts) {
      const record::TxnId id = part.txn();
      const u64 home = id.group();
      if (active_.contains({home, id.number()})) {
        continue;
      }
      const bool commit = rig_.query(home, [&](Txn& txn) { return is_committed(txn, id); });
      co_await turns_.next();
      send(group, InternalMethod::finish, TreeRig::finish_of(id, group, commit));
      ++counts_[commit ? "swept: committed" : "swept: aborted"];
    }
    const auto left = rig_.query(group, [](Txn& txn) { return unfinished(txn, 100); });
    for (const UnfinishedTxn& each : left) {
      co_await finish(each.id, each.participants, true);
    }
  }
}

Task<void> World::deliverer(u64 group) {
  while (busy() || !is_at_rest()) {
    co_await turns_.next();
    const size_t limit = random_.between(1, 5);
    auto pages = rig_.query(group, [&](Txn& txn) { return outbox(txn, limit); });
    for (OutboxPage& page : pages) {
      co_await turns_.next();
      page.messages.set_group(page.to);
      const record::Outcome outcome = send(page.to, InternalMethod::deliver, page.messages);
      if (outcome.code() != 0) {
        EXPECT_EQ(code_of(outcome), Code::kBusy);
        ++counts_["deliver: busy"];
        continue;
      }
      co_await turns_.next();
      if (random_.chance(0.8)) {
        record::Delivered delivered;
        delivered.set_to(page.to);
        delivered.set_until(page.until);
        send(group, InternalMethod::delivered, delivered);
      }
    }
  }
}

Task<void> World::reclaimer() {
  while (busy() || !is_at_rest()) {
    co_await turns_.next();
    for (const auto& [id, group] : rig_.groups()) {
      if (group->meta().reclaims() > 0) {
        record::Reclaim request;
        request.set_budget(static_cast<u32>(random_.between(1, 5)));
        rig_.apply(id, InternalMethod::reclaim, request);
      }
    }
  }
}

// Anything between groups comes again, at any time, alone or with what came after it.
Task<void> World::repeater() {
  while (busy()) {
    co_await turns_.next();
    if (sent_.empty() || random_.chance(0.7)) {
      continue;
    }
    const size_t oldest = random_.chance(0.5) ? sent_.size() : std::min<size_t>(sent_.size(), 20);
    const size_t from = sent_.size() - 1 - random_.below(oldest);
    const size_t until = std::min(sent_.size(), from + random_.between(1, 8));
    for (size_t i = from; i < until; ++i) {
      record::Command command;
      command.set_method(static_cast<u32>(sent_[i].method));
      command.set_request(sent_[i].bytes);
      rig_.group(sent_[i].to).apply(command);
    }
  }
}

bool World::is_at_rest() {
  for (const auto& [id, group] : rig_.groups()) {
    const record::Meta meta = group->meta();
    if (meta.prepared() + meta.unfinished() + meta.messages() + meta.reclaims() > 0) {
      return false;
    }
  }
  return true;
}

// ---- when all is quiet ----

void World::check_end() {
  std::map<u64, test::ModelDirectory> found;
  u64 files = 0;
  for (const u64 group : rig_.namespaces()) {
    Txn txn(rig_.group(group).kv());
    for (const char* table : {"K", "J", "T", "B", "G"}) {
      EXPECT_TRUE(txn.scan_prefix(table, 1).entries.empty()) << table << group;
    }
    const size_t before = found.size();
    for (const KvEntry& row : txn.scan_prefix("D", 100'000).entries) {
      const u64 id = keys::decode_u64(std::string_view(row.key).substr(1));
      record::Directory directory;
      ASSERT_TRUE(txn.get(row.key, directory));
      EXPECT_EQ(rig_.group_of(id), group);
      found[id].parent = directory.parent();
      found[id].name = directory.name();
    }
    EXPECT_EQ(found.size() - before, txn.meta().directories());
    files += txn.meta().files();
    const size_t moves = txn.scan_prefix("W", 100'000).entries.size();
    EXPECT_EQ(moves, txn.meta().moves_kept());
    EXPECT_EQ(moves, txn.scan_prefix("Y", 100'000).entries.size());
    EXPECT_EQ(txn.meta().tree_epoch(), rig_.group(wire::kRootGroup).meta().tree_epoch());
  }
  for (const u64 group : rig_.namespaces()) {
    Txn txn(rig_.group(group).kv());
    for (const KvEntry& row : txn.scan_prefix("E", 100'000).entries) {
      const u64 parent = keys::decode_u64(std::string_view(row.key).substr(1, 8));
      record::Entry entry;
      ASSERT_TRUE(txn.get(row.key, entry));
      ASSERT_TRUE(found.contains(parent)) << "an entry of no directory";
      found[parent].entries[row.key.substr(9)] = {entry.type() == pb::ENTRY_DIRECTORY,
                                                  entry.id()};
      files -= entry.type() == pb::ENTRY_FILE ? 1 : 0;
    }
  }
  EXPECT_EQ(files, 0u);
  ASSERT_EQ(found.size(), model_.directories().size());
  for (const auto& [id, directory] : model_.directories()) {
    ASSERT_TRUE(found.contains(id));
    EXPECT_EQ(found[id].parent, directory.parent);
    EXPECT_EQ(found[id].name, directory.name);
    EXPECT_EQ(found[id].entries, directory.entries);
    EXPECT_FALSE(model_.chain(id).empty());
  }
  std::set<u64> removed;
  for (const u64 stream : rig_.streams()) {
    Txn txn(rig_.group(stream).kv());
    for (const FileRange& range : removed_from(txn, {0}, 100'000).ranges) {
      for (u64 id = range.from.number; id < range.end.number; ++id) {
        removed.insert(id);
      }
    }
  }
  EXPECT_EQ(removed, model_.removed_files());
}

}  // namespace
}  // namespace pangu::master
