#pragma once
#include <map>
#include <memory>
#include <set>

#include "master/state/harness.h"
#include "master/state/partition_map.h"
#include "master/state/transaction.h"
#include "wire/partition.h"

// For tests: the groups of a whole cluster in memory, and what their leaders and a client do by hand.
namespace pangu::master::test {

inline Code code_of(const record::Outcome& outcome) {
  return code_from_number(static_cast<u16>(outcome.code()));
}

// A way to a directory, as a client keeps it.
struct Way {
  std::vector<u64> chain{keys::kRootDirectory};
  u64 seen = 0;
  u64 directory() const { return chain.back(); }
  Way below(u64 child) const {
    Way out = *this;
    out.chain.push_back(child);
    return out;
  }
};

inline pb::Place place_of(const Way& way, const std::string& name) {
  pb::Place place;
  place.set_directory(way.directory());
  place.set_name(name);
  place.mutable_chain()->Assign(way.chain.begin(), way.chain.end());
  place.set_seen(way.seen);
  return place;
}
inline record::Way record_of(const Way& way) {
  record::Way out;
  out.mutable_chain()->Assign(way.chain.begin(), way.chain.end());
  out.set_seen(way.seen);
  return out;
}
inline pb::RequestId request_id(u64 client, u64 sequence) {
  pb::RequestId id;
  id.mutable_client()->set_high(0xc11e47);
  id.mutable_client()->set_low(client);
  id.set_sequence(sequence);
  id.set_first_unanswered(sequence);
  return id;
}

// A part for each group that has something to do.
struct Plan {
  std::map<u64, record::Part> parts;
  std::string reply;
};

class TreeRig {
 public:
  // Subtree 5 is the directory `s` of the root; the last namespace group has it alone.
  explicit TreeRig(u32 namespace_groups = 3, u32 stream_groups = 2) {
    map_ = make_map(namespace_groups, stream_groups);
    for (const pb::GroupInfo& info : map_.groups()) {
      groups_[info.group()] = std::make_unique<Harness>(
          Genesis{.cluster = {.high = 0xc1, .low = 0xc2},
                  .kind = info.kind(),
                  .index = info.index(),
                  .namespace_groups = namespace_groups,
                  .stream_groups = stream_groups,
                  .map = map_});
      if (info.kind() == pb::GROUP_NAMESPACE) {
        namespaces_.push_back(info.group());
      } else if (info.kind() == pb::GROUP_STREAM) {
        streams_.push_back(info.group());
      }
    }
  }

  Harness& group(u64 id) { return *groups_.at(id); }
  const std::map<u64, std::unique_ptr<Harness>>& groups() const { return groups_; }
  const std::vector<u64>& namespaces() const { return namespaces_; }
  const std::vector<u64>& streams() const { return streams_; }
  const pb::PartitionMap& map() const { return map_; }

  u64 group_of(u64 directory) const {
    for (const pb::Subtree& subtree : map_.subtrees()) {
      if (subtree.number() == wire::subtree_of(directory)) {
        const auto count = static_cast<u32>(subtree.partitions_size());
        return wire::kFirstNamespaceGroup +
               subtree.partitions(static_cast<int>(wire::directory_slot(directory, count)));
      }
    }
    return namespaces_.front();
  }
  u64 directory_id(u64 parent, const std::string& name, u64 version) const {
    for (const pb::Subtree& subtree : map_.subtrees()) {
      if (subtree.parent() == parent && subtree.name() == name) {
        return subtree.directory();
      }
    }
    return wire::directory_id(wire::subtree_of(parent), parent, name, version);
  }

  template <class Request>
  record::Outcome apply(u64 to, InternalMethod method, const Request& request) {
    return group(to).internal(method, request);
  }
  template <class F>
  auto query(u64 of, F f) {
    return group(of).query(f);
  }

  // ---- a client's questions ----

  Result<pb::LookupReply> look(u64 at, const pb::LookupRequest& request) {
    return query(at, [&](Txn& txn) { return lookup(txn, request); });
  }
  Result<pb::LookupReply> look(const Way& way, const std::string& name, bool guess = false) {
    pb::LookupRequest request;
    *request.add_places() = place_of(way, name);
    request.set_guess(guess);
    return look(group_of(way.directory()), request);
  }
  Result<pb::ListReply> list_of(const Way& way, const std::string& after = "", u32 limit = 0) {
    pb::ListRequest request;
    *request.mutable_place() = place_of(way, "");
    request.set_after(after);
    request.set_limit(limit);
    return query(group_of(way.directory()), [&](Txn& txn) { return list(txn, request); });
  }
  pb::CreateFileRequest create_request(const Way& way, const std::string& name, bool exclusive,
                                       const pb::RequestId& id) {
    pb::CreateFileRequest request;
    *request.mutable_id() = id;
    *request.mutable_place() = place_of(way, name);
    request.set_exclusive(exclusive);
    return request;
  }
  Result<pb::CreateFileReply> create(const Way& way, const std::string& name,
                                     bool exclusive = true) {
    return group(group_of(way.directory()))
        .call<pb::CreateFileReply>(wire::Method::create_file,
                                   create_request(way, name, exclusive, next_request()));
  }

  // ---- what leaders make of changes ----

  Plan make_directory_plan(const Way& way, const std::string& name, u64 version) {
    Plan plan;
    const u64 id = directory_id(way.directory(), name, version);
    record::Entry entry;
    entry.set_type(pb::ENTRY_DIRECTORY);
    entry.set_id(id);
    add_entry(plan, way, name, entry);
    record::AddDirectory& add = *plan.parts[group_of(id)].add_steps()->mutable_add_directory();
    add.set_id(id);
    add.set_parent(way.directory());
    add.set_name(name);
    return plan;
  }
  Plan remove_file_plan(const Way& way, const std::string& name, u64 id) {
    Plan plan;
    erase_entry(plan, way, name, id, true);
    return plan;
  }
  Plan remove_directory_plan(const Way& way, const std::string& name, u64 id) {
    Plan plan;
    erase_entry(plan, way, name, id, false);
    plan.parts[group_of(id)].add_steps()->mutable_erase_directory()->set_id(id);
    return plan;
  }
  Plan rename_file_plan(const Way& from, const std::string& name, const Way& to,
                        const std::string& to_name, const record::Entry& entry) {
    Plan plan;
    erase_entry(plan, from, name, entry.id(), false);
    add_entry(plan, to, to_name, entry);
    return plan;
  }
  Plan move_plan(const Way& from, const std::string& name, const Way& to,
                 const std::string& to_name, u64 id) {
    Plan plan = begin_move(id);
    for (size_t i = 1; i < to.chain.size(); ++i) {
      record::StandsIn& stands =
          *plan.parts[group_of(to.chain[i])].add_steps()->mutable_stands_in();
      stands.set_id(to.chain[i]);
      stands.set_parent(to.chain[i - 1]);
    }
    erase_entry(plan, from, name, id, false);
    record::Entry entry;
    entry.set_type(pb::ENTRY_DIRECTORY);
    entry.set_id(id);
    add_entry(plan, to, to_name, entry);
    record::MoveDirectory& move = *plan.parts[group_of(id)].add_steps()->mutable_move_directory();
    move.set_id(id);
    move.set_parent(to.directory());
    move.set_name(to_name);
    return plan;
  }
  Plan remove_tree_plan(const Way& way, const std::string& name, u64 id) {
    Plan plan = begin_move(id);
    erase_entry(plan, way, name, id, false);
    plan.parts[group_of(id)].add_steps()->mutable_bury_directory()->set_id(id);
    return plan;
  }

  // ---- transactions, step by step ----

  u64 term(u64 of) { return terms_.try_emplace(of, 1).first->second; }
  void next_term(u64 of) { ++terms_.try_emplace(of, 1).first->second; }
  record::TxnId next_id(u64 coordinator) {
    record::TxnId id;
    id.set_group(coordinator);
    id.set_term(term(coordinator));
    id.set_number(++numbers_);
    return id;
  }
  // Of a client that asks for nothing else.
  pb::RequestId next_request() { return request_id(++clients_, 1); }

  static record::Prepare prepare_of(const Plan& plan, u64 to, const record::TxnId& id) {
    record::Prepare request;
    *request.mutable_part() = plan.parts.at(to);
    *request.mutable_part()->mutable_txn() = id;
    request.set_group(to);
    return request;
  }
  static record::Commit commit_of(const Plan& plan, const record::TxnId& id,
                                  const pb::RequestId& client) {
    record::Commit request;
    request.set_client_high(client.client().high());
    request.set_client_low(client.client().low());
    request.set_client_sequence(client.sequence());
    request.set_first_unanswered(client.first_unanswered());
    for (const auto& [to, part] : plan.parts) {
      if (to != id.group()) {
        request.add_participants(to);
      } else {
        *request.mutable_part() = part;
      }
    }
    *request.mutable_part()->mutable_txn() = id;
    request.set_reply(plan.reply);
    return request;
  }
  static record::Finish finish_of(const record::TxnId& id, u64 to, bool commit) {
    record::Finish request;
    *request.mutable_txn() = id;
    request.set_commit(commit);
    request.set_group(to);
    return request;
  }
  // All of it at once, and its ends.
  Code run(u64 coordinator, const Plan& plan) {
    const record::TxnId id = next_id(coordinator);
    Code code = Code::kOk;
    for (const auto& [to, part] : plan.parts) {
      if (to != coordinator && code == Code::kOk) {
        code = code_of(apply(to, InternalMethod::prepare, prepare_of(plan, to, id)));
      }
    }
    if (code == Code::kOk) {
      code = code_of(
          apply(coordinator, InternalMethod::commit, commit_of(plan, id, next_request())));
    }
    record::Finished finished;
    for (const auto& [to, part] : plan.parts) {
      if (to != coordinator) {
        apply(to, InternalMethod::finish, finish_of(id, to, code == Code::kOk));
        record::Finished::One& one = *finished.add_done();
        *one.mutable_txn() = id;
        one.set_participant(to);
      }
    }
    apply(coordinator, InternalMethod::finished, finished);
    return code;
  }

  // ---- what goes on in the background, to its end ----

  void deliver_all() {
    for (bool any = true; any;) {
      any = false;
      for (const u64 from : namespaces_) {
        for (OutboxPage& page : query(from, [](Txn& txn) { return outbox(txn, 100); })) {
          page.messages.set_group(page.to);
          CHECK(apply(page.to, InternalMethod::deliver, page.messages).code() == 0);
          record::Delivered delivered;
          delivered.set_to(page.to);
          delivered.set_until(page.until);
          apply(from, InternalMethod::delivered, delivered);
          any = true;
        }
        any = any || group(from).meta().reclaims() > 0;
        group(from).reclaim_all();
      }
    }
    for (const u64 stream : streams_) {
      group(stream).reclaim_all();
    }
  }

 private:
  static pb::PartitionMap make_map(u32 namespace_groups, u32 stream_groups) {
    pb::PartitionMap map;
    map.set_version(1);
    const auto add = [&](pb::GroupKind kind, u64 first, u32 count) {
      for (u32 index = 0; index < count; ++index) {
        pb::GroupInfo& info = *map.add_groups();
        info.set_group(first + index);
        info.set_kind(kind);
        info.set_index(index);
      }
    };
    add(pb::GROUP_ROOT, wire::kRootGroup, 1);
    add(pb::GROUP_NAMESPACE, wire::kFirstNamespaceGroup, namespace_groups);
    add(pb::GROUP_STREAM, wire::kFirstStreamGroup, stream_groups);
    pb::Subtree& all = *map.add_subtrees();
    all.set_directory(wire::kRootDirectory);
    for (u32 index = 0; index < namespace_groups; ++index) {
      all.add_partitions(index);
    }
    pb::Subtree& apart = *map.add_subtrees();
    apart.set_number(5);
    apart.add_partitions(namespace_groups - 1);
    apart.set_parent(wire::kRootDirectory);
    apart.set_name("s");
    apart.set_directory(wire::directory_id(5, wire::kRootDirectory, "s", 0));
    return map;
  }
  void add_entry(Plan& plan, const Way& way, const std::string& name,
                 const record::Entry& entry) {
    record::Part& part = plan.parts[group_of(way.directory())];
    *part.add_ways() = record_of(way);
    record::AddEntry& add = *part.add_steps()->mutable_add_entry();
    add.set_directory(way.directory());
    add.set_name(name);
    *add.mutable_entry() = entry;
  }
  void erase_entry(Plan& plan, const Way& way, const std::string& name, u64 id, bool bury) {
    record::Part& part = plan.parts[group_of(way.directory())];
    *part.add_ways() = record_of(way);
    record::EraseEntry& erase = *part.add_steps()->mutable_erase_entry();
    erase.set_directory(way.directory());
    erase.set_name(name);
    erase.set_id(id);
    erase.set_bury(bury);
  }
  Plan begin_move(u64 directory) {
    Plan plan;
    const u64 epoch = group(wire::kRootGroup).meta().tree_epoch() + 1;
    const auto number = [&](record::Part& part) {
      part.set_moved_directory(directory);
      part.set_tree_epoch(epoch);
    };
    number(plan.parts[wire::kRootGroup]);
    for (const u64 each : namespaces_) {
      number(plan.parts[each]);
    }
    return plan;
  }

  pb::PartitionMap map_;
  std::map<u64, std::unique_ptr<Harness>> groups_;
  std::vector<u64> namespaces_;
  std::vector<u64> streams_;
  std::map<u64, u64> terms_;
  u64 numbers_ = 0;
  u64 clients_ = 0;
};

}  // namespace pangu::master::test
