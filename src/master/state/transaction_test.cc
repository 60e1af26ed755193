#include "master/state/transaction.h"

#include <gtest/gtest.h>

#include "base/prng.h"
#include "master/state/removed_files.h"
#include "master/state/session.h"
#include "master/state/tree_rig.h"

namespace pangu::master {
namespace {

using test::code_of;
using test::Plan;
using test::TreeRig;
using test::Way;

const Way kRoot;

class TransactionTest : public testing::Test {
 protected:
  u64 home(const Way& way) { return rig.group_of(way.directory()); }
  Code run_at(const Way& way, const Plan& plan) { return rig.run(home(way), plan); }
  Way make(const Way& way, const std::string& name) {
    EXPECT_EQ(run_at(way, rig.make_directory_plan(way, name, 0)), Code::kOk) << name;
    return way.below(rig.directory_id(way.directory(), name, 0));
  }
  u64 file(const Way& way, const std::string& name) {
    const auto made = rig.create(way, name);
    EXPECT_TRUE(made.ok()) << made.error().message();
    return made->entry().id();
  }
  // A name below `way` whose directory is (not) of the group that has `way`.
  std::string name_elsewhere(const Way& way, bool elsewhere = true) {
    for (int i = 0;; ++i) {
      const std::string name = fmt::format("n{}", i);
      const u64 id = rig.directory_id(way.directory(), name, 0);
      const bool there = rig.query(home(way), [&](Txn& txn) {
        return find_entry(txn, way.directory(), name).has_value();
      });
      if ((rig.group_of(id) != home(way)) == elsewhere && !there) {
        return name;
      }
    }
  }
  Code prepare(const Plan& plan, u64 to, const record::TxnId& id) {
    return code_of(rig.apply(to, InternalMethod::prepare, TreeRig::prepare_of(plan, to, id)));
  }
  Code finish(const record::TxnId& id, u64 to, bool commit) {
    return code_of(
        rig.apply(to, InternalMethod::finish, TreeRig::finish_of(id, to, commit)));
  }
  record::Outcome commit(const Plan& plan, const record::TxnId& id, const pb::RequestId& client) {
    return rig.apply(id.group(), InternalMethod::commit, TreeRig::commit_of(plan, id, client));
  }
  size_t rows(u64 group, const std::string& table) {
    return rig.query(group, [&](Txn& txn) { return txn.scan_prefix(table, 100'000); })
        .entries.size();
  }
  void expect_nothing_locked() {
    for (const auto& [id, group] : rig.groups()) {
      for (const char* table : {"K", "J", "T"}) {
        EXPECT_EQ(rows(id, table), 0u) << id << table;
      }
      EXPECT_EQ(group->meta().prepared(), 0u);
      EXPECT_EQ(group->meta().unfinished(), 0u);
    }
  }

  TreeRig rig;
};

TEST_F(TransactionTest, NobodySeesHalfOfWhatIsCommitted) {
  const std::string name = name_elsewhere(kRoot);
  const Plan plan = rig.make_directory_plan(kRoot, name, 0);
  const Way child = kRoot.below(rig.directory_id(1, name, 0));
  const record::TxnId id = rig.next_id(home(kRoot));
  ASSERT_EQ(prepare(plan, home(child), id), Code::kOk);
  EXPECT_EQ(rig.look(kRoot, name)->answers(0).result(), pb::LOOKUP_NO_ENTRY);
  EXPECT_EQ(rig.look(child, "f", true).code(), Code::kBusy);
  ASSERT_EQ(commit(plan, id, rig.next_request()).code(), 0u);
  EXPECT_EQ(rig.look(kRoot, name)->answers(0).result(), pb::LOOKUP_FOUND);
  EXPECT_EQ(rig.look(child, "f").code(), Code::kBusy);
  EXPECT_EQ(rig.create(child, "f").code(), Code::kBusy);
  EXPECT_EQ(rig.list_of(child).code(), Code::kBusy);
  EXPECT_TRUE(rig.query(home(kRoot), [&](Txn& txn) { return is_committed(txn, id); }));
  const auto left = rig.query(home(kRoot), [](Txn& txn) { return unfinished(txn, 10); });
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].id.SerializeAsString(), id.SerializeAsString());
  EXPECT_EQ(left[0].participants, std::vector<u64>{home(child)});
  ASSERT_EQ(finish(id, home(child), true), Code::kOk);
  EXPECT_TRUE(rig.create(child, "f").ok());
  record::Finished finished;
  *finished.add_done()->mutable_txn() = id;
  finished.mutable_done(0)->set_participant(home(child));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(rig.apply(home(kRoot), InternalMethod::finished, finished).code(), 0u);
  }
  EXPECT_FALSE(rig.query(home(kRoot), [&](Txn& txn) { return is_committed(txn, id); }));
  expect_nothing_locked();
}

TEST_F(TransactionTest, WhatIsGivenUpLeavesNothing) {
  const std::string name = name_elsewhere(kRoot);
  const Plan plan = rig.make_directory_plan(kRoot, name, 0);
  const u64 there = rig.group_of(rig.directory_id(1, name, 0));
  const auto content = [&] {
    return rig.query(there, [](Txn& txn) { return txn.scan_prefix("D", 100); }).entries.size();
  };
  const size_t before = content();
  const record::TxnId id = rig.next_id(home(kRoot));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(prepare(plan, there, id), Code::kOk);
  }
  const auto parts = rig.query(there, [](Txn& txn) { return prepared_parts(txn, 10); });
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].txn().SerializeAsString(), id.SerializeAsString());
  // Another transaction meets the lock.
  EXPECT_EQ(run_at(kRoot, plan), Code::kBusy);
  ASSERT_EQ(finish(id, there, false), Code::kOk);
  EXPECT_EQ(content(), before);
  expect_nothing_locked();
  EXPECT_EQ(run_at(kRoot, plan), Code::kOk);
}

TEST_F(TransactionTest, LateCopiesDoNothing) {
  const std::string name = name_elsewhere(kRoot);
  const Plan plan = rig.make_directory_plan(kRoot, name, 0);
  const Way child = kRoot.below(rig.directory_id(1, name, 0));
  const record::TxnId id = rig.next_id(home(kRoot));
  ASSERT_EQ(prepare(plan, home(child), id), Code::kOk);
  ASSERT_EQ(commit(plan, id, rig.next_request()).code(), 0u);
  ASSERT_EQ(finish(id, home(child), true), Code::kOk);
  EXPECT_EQ(finish(id, home(child), true), Code::kOk);
  ASSERT_EQ(run_at(kRoot, rig.remove_directory_plan(kRoot, name, child.directory())), Code::kOk);
  // The whole transaction once more, as its participant sees it.
  EXPECT_EQ(prepare(plan, home(child), id), Code::kStale);
  EXPECT_EQ(finish(id, home(child), true), Code::kOk);
  EXPECT_EQ(rig.look(child, "f", true)->answers(0).result(), pb::LOOKUP_NO_DIRECTORY);
  // Given up before it came.
  const record::TxnId other = rig.next_id(home(kRoot));
  EXPECT_EQ(finish(other, home(child), false), Code::kOk);
  EXPECT_EQ(prepare(plan, home(child), other), Code::kStale);
  // Of a leader that was deposed since.
  const record::TxnId old = rig.next_id(home(kRoot));
  rig.next_term(home(kRoot));
  ASSERT_EQ(run_at(kRoot, plan), Code::kOk);
  EXPECT_EQ(prepare(plan, home(child), old), Code::kStale);
  EXPECT_EQ(rows(home(child), "f"), 1u);
}

TEST_F(TransactionTest, OnlySoManyEndsAreRemembered) {
  const std::string name = name_elsewhere(kRoot);
  const u64 there = rig.group_of(rig.directory_id(1, name, 0));
  const record::TxnId first = rig.next_id(home(kRoot));
  for (int i = 0; i < kEndedKept + 10; ++i) {
    finish(rig.next_id(home(kRoot)), there, false);
  }
  record::Ended ended;
  EXPECT_TRUE(rig.query(there, [&](Txn& txn) {
    return txn.get(keys::ended(home(kRoot)), ended);
  }));
  EXPECT_EQ(ended.numbers_size(), kEndedKept);
  EXPECT_EQ(prepare(rig.make_directory_plan(kRoot, name, 0), there, first), Code::kStale);
  EXPECT_EQ(run_at(kRoot, rig.make_directory_plan(kRoot, name, 0)), Code::kOk);
}

TEST_F(TransactionTest, ConditionsThatDoNotHoldAreTold) {
  const Way a = make(kRoot, "a");
  const Way b = make(kRoot, "b");
  const u64 f = file(a, "f");
  file(b, "f");
  const auto entry = rig.query(home(a), [&](Txn& txn) {
    return find_entry(txn, a.directory(), "f");
  });
  EXPECT_EQ(run_at(kRoot, rig.make_directory_plan(kRoot, "a", 1)), Code::kAlreadyExists);
  EXPECT_EQ(run_at(a, rig.rename_file_plan(a, "f", b, "f", *entry)), Code::kAlreadyExists);
  EXPECT_EQ(run_at(a, rig.remove_file_plan(a, "g", f)), Code::kStale);
  EXPECT_EQ(run_at(a, rig.remove_file_plan(a, "f", f + 1)), Code::kStale);
  EXPECT_EQ(run_at(kRoot, rig.remove_file_plan(kRoot, "a", a.directory())),
            Code::kInvalidArgument);
  EXPECT_EQ(run_at(kRoot, rig.remove_directory_plan(kRoot, "a", a.directory())),
            Code::kNotEmpty);
  EXPECT_EQ(run_at(a, rig.rename_file_plan(a, "f", a, "f", *entry)), Code::kInvalidArgument);
  EXPECT_EQ(run_at(a, rig.rename_file_plan(a, "f", b, "g", *entry)), Code::kOk);
  EXPECT_EQ(rig.look(b, "g")->answers(0).entry().id(), f);
  EXPECT_EQ(run_at(kRoot, rig.remove_directory_plan(kRoot, "a", a.directory())), Code::kOk);
  EXPECT_EQ(run_at(a, rig.make_directory_plan(a, "x", 0)), Code::kStale);
  EXPECT_EQ(rig.group(home(a)).meta().files() + rig.group(home(b)).meta().files(),
            home(a) == home(b) ? 4u : 2u);
  expect_nothing_locked();
}

TEST_F(TransactionTest, PartsThatNoLeaderMakesAreRefused) {
  const Way a = make(kRoot, "a");
  const auto refused = [&](auto change) {
    Plan plan = rig.make_directory_plan(kRoot, "x", 0);
    change(plan);
    return run_at(kRoot, plan);
  };
  record::Part other;
  const auto own = [&](Plan& plan) -> record::Part& { return plan.parts[home(kRoot)]; };
  EXPECT_EQ(refused([&](Plan& plan) { own(plan).clear_ways(); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) { own(plan).mutable_ways(0)->clear_chain(); }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) { own(plan).add_steps(); }), Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) { *own(plan).add_steps() = own(plan).steps(0); }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) {
              own(plan).mutable_steps(0)->mutable_add_entry()->mutable_entry()->set_type(0);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) {
              own(plan).mutable_steps(0)->mutable_add_entry()->set_name("a/b");
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) {
              own(plan).add_steps()->mutable_erase_directory()->set_id(1);
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) {
              own(plan).add_steps()->mutable_bury_directory()->set_id(a.directory());
            }),
            Code::kInvalidArgument);
  EXPECT_EQ(refused([&](Plan& plan) {
              own(plan).set_moved_directory(a.directory());
              own(plan).set_tree_epoch(1);
            }),
            Code::kInvalidArgument);
  // A directory of another group.
  Plan lost = rig.make_directory_plan(kRoot, name_elsewhere(kRoot), 0);
  Plan here;
  for (const auto& [group, part] : lost.parts) {
    here.parts[home(kRoot)].MergeFrom(part);
  }
  EXPECT_EQ(run_at(kRoot, here), Code::kInvalidArgument);
  // A transaction of another group, or with itself.
  Plan plan = rig.make_directory_plan(kRoot, "y", 0);
  record::Commit request = TreeRig::commit_of(plan, rig.next_id(home(kRoot)), rig.next_request());
  request.add_participants(home(kRoot));
  EXPECT_EQ(code_of(rig.apply(home(kRoot), InternalMethod::commit, request)),
            Code::kInvalidArgument);
  expect_nothing_locked();
}

TEST_F(TransactionTest, NothingAppearsInADirectoryThatIsBeingRemoved) {
  const std::string name = name_elsewhere(kRoot);
  const Way d = make(kRoot, name);
  const Plan removal = rig.remove_directory_plan(kRoot, name, d.directory());
  const record::TxnId id = rig.next_id(home(kRoot));
  ASSERT_EQ(prepare(removal, home(d), id), Code::kOk);
  EXPECT_EQ(rig.create(d, "f").code(), Code::kBusy);
  EXPECT_EQ(run_at(d, rig.make_directory_plan(d, name_elsewhere(d), 0)), Code::kBusy);
  EXPECT_EQ(run_at(d, rig.make_directory_plan(d, name_elsewhere(d, false), 0)), Code::kBusy);
  EXPECT_EQ(finish(id, home(d), false), Code::kOk);
  // And the other way round: something is about to appear.
  const u64 moved = file(kRoot, "f");
  const auto entry = rig.query(home(kRoot), [](Txn& txn) { return find_entry(txn, 1, "f"); });
  const Plan rename = rig.rename_file_plan(kRoot, "f", d, "f", *entry);
  const record::TxnId second = rig.next_id(home(kRoot));
  ASSERT_EQ(prepare(rename, home(d), second), Code::kOk);
  EXPECT_EQ(run_at(kRoot, removal), Code::kBusy);
  ASSERT_EQ(commit(rename, second, rig.next_request()).code(), 0u);
  EXPECT_EQ(run_at(kRoot, removal), Code::kBusy);
  EXPECT_EQ(finish(second, home(d), true), Code::kOk);
  EXPECT_EQ(run_at(kRoot, removal), Code::kNotEmpty);
  EXPECT_EQ(rig.look(d, "f")->answers(0).entry().id(), moved);
}

TEST_F(TransactionTest, WhatIsBelowAMovingDirectoryWaits) {
  const Way a = make(kRoot, "a");
  const Way b = make(a, "b");
  const Way c = make(kRoot, "c");
  file(b, "f");
  const Plan plan = rig.move_plan(kRoot, "a", c, "x", a.directory());
  const record::TxnId id = rig.next_id(wire::kRootGroup);
  for (const u64 group : rig.namespaces()) {
    ASSERT_EQ(prepare(plan, group, id), Code::kOk);
  }
  for (const Way& below : {a, b}) {
    EXPECT_EQ(rig.look(below, "f").code(), Code::kBusy);
    EXPECT_EQ(rig.look(below, "f", true).code(), Code::kBusy);
    EXPECT_EQ(rig.create(below, "g").code(), Code::kBusy);
    EXPECT_EQ(run_at(below, rig.make_directory_plan(below, "y", 0)), Code::kBusy);
  }
  EXPECT_EQ(rig.look(kRoot, "a").code(), Code::kBusy);
  EXPECT_EQ(rig.look(c, "x").code(), Code::kBusy);
  EXPECT_TRUE(rig.create(c, "free").ok());
  // One at a time: nobody else prepares a move.
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(kRoot, "c", c.directory())),
            Code::kBusy);
  ASSERT_EQ(commit(plan, id, rig.next_request()).code(), 0u);
  EXPECT_EQ(rig.look(b, "f").code(), Code::kBusy);
  ASSERT_EQ(finish(id, home(b), true), Code::kOk);
  EXPECT_EQ(rig.look(b, "f").code(), Code::kStale);
  // The next one waits for the groups that are behind.
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(kRoot, "c", c.directory())),
            Code::kBusy);
  for (const u64 group : rig.namespaces()) {
    ASSERT_EQ(finish(id, group, true), Code::kOk);
    EXPECT_EQ(rig.group(group).meta().tree_epoch(), 1u);
  }
  const Way now{{1, c.directory(), a.directory(), b.directory()}, 1};
  EXPECT_EQ(rig.look(now, "f")->answers(0).result(), pb::LOOKUP_FOUND);
}

TEST_F(TransactionTest, AMoveWaitsForWhatIsPreparedBelow) {
  const std::string name = name_elsewhere(kRoot);
  const Way a = make(kRoot, name);
  file(kRoot, "f");
  const auto entry = rig.query(home(kRoot), [](Txn& txn) { return find_entry(txn, 1, "f"); });
  const Plan rename = rig.rename_file_plan(kRoot, "f", a, "g", *entry);
  const record::TxnId id = rig.next_id(home(kRoot));
  ASSERT_EQ(prepare(rename, home(a), id), Code::kOk);
  // Else the file could come to a directory that its reader has seen moved away before.
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, name, kRoot, "b", a.directory())),
            Code::kBusy);
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(kRoot, name, a.directory())),
            Code::kBusy);
  ASSERT_EQ(commit(rename, id, rig.next_request()).code(), 0u);
  ASSERT_EQ(finish(id, home(a), true), Code::kOk);
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, name, kRoot, "b", a.directory())),
            Code::kOk);
}

TEST_F(TransactionTest, MovesAreNumberedAndNeverMakeACircle) {
  const Way a = make(kRoot, "a");
  const Way b = make(a, "b");
  const Way c = make(kRoot, "c");
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, "a", b, "x", a.directory())),
            Code::kInvalidArgument);
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, "a", a, "x", a.directory())),
            Code::kInvalidArgument);
  // With a chain that is not the way.
  const Way lie{{1, b.directory()}, 0};
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, "a", lie, "x", a.directory())),
            Code::kStale);
  Plan late = rig.move_plan(kRoot, "c", kRoot, "d", c.directory());
  EXPECT_EQ(rig.run(wire::kRootGroup, rig.move_plan(kRoot, "a", kRoot, "e", a.directory())),
            Code::kOk);
  EXPECT_EQ(rig.run(wire::kRootGroup, late), Code::kConflict);
  // The root itself refuses a number that is taken, and steps.
  Plan alone;
  alone.parts[wire::kRootGroup] = late.parts[wire::kRootGroup];
  EXPECT_EQ(rig.run(wire::kRootGroup, alone), Code::kConflict);
  *alone.parts[wire::kRootGroup].add_ways() = test::record_of(kRoot);
  EXPECT_EQ(rig.run(wire::kRootGroup, alone), Code::kInvalidArgument);
  EXPECT_EQ(rig.group(wire::kRootGroup).meta().tree_epoch(), 1u);
  expect_nothing_locked();
}

TEST_F(TransactionTest, ATreeGoesWithAllThatIsInIt) {
  std::vector<u64> files;
  std::vector<Way> ways{make(kRoot, "t")};
  for (int i = 0; i < 20; ++i) {
    ways.push_back(make(ways[static_cast<size_t>(i) / 2], fmt::format("d{}", i)));
    for (int f = 0; f < 15; ++f) {
      files.push_back(file(ways.back(), fmt::format("f{}", f)));
    }
  }
  const u64 kept = file(kRoot, "keep");
  ASSERT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(kRoot, "t", ways[0].directory())),
            Code::kOk);
  EXPECT_EQ(rig.look(kRoot, "t")->answers(0).result(), pb::LOOKUP_NO_ENTRY);
  for (const Way& way : ways) {
    EXPECT_EQ(rig.create(way, "late").code(), Code::kStale);
  }
  // The name is free at once, with another id while the old one is being freed.
  EXPECT_EQ(run_at(kRoot, rig.make_directory_plan(kRoot, "t", 0)), Code::kConflict);
  EXPECT_EQ(run_at(kRoot, rig.make_directory_plan(kRoot, "t", 1)), Code::kOk);
  // A bounded number of records a command.
  record::Reclaim step;
  step.set_budget(3);
  rig.apply(home(ways[0]), InternalMethod::reclaim, step);
  EXPECT_LE(rig.group(home(ways[0])).last().batch.size(), 3u * 3 + 2);
  rig.deliver_all();
  u64 directories = 0;
  for (const u64 group : rig.namespaces()) {
    directories += rig.group(group).meta().directories();
    EXPECT_EQ(rows(group, "E"), group == home(kRoot) ? 2u : 0u);
    for (const char* table : {"G", "B"}) {
      EXPECT_EQ(rows(group, table), 0u);
    }
    EXPECT_EQ(rig.group(group).meta().messages(), 0u);
  }
  EXPECT_EQ(directories, 2u);
  const auto gone = [&](u64 id) {
    return rig.query(wire::stream_group_of({id}), [&](Txn& txn) { return is_removed(txn, {id}); });
  };
  for (const u64 id : files) {
    EXPECT_TRUE(gone(id));
  }
  EXPECT_FALSE(gone(kept));
  // Freed: version 0 is free again.
  ASSERT_EQ(run_at(kRoot, rig.remove_directory_plan(
                              kRoot, "t", rig.directory_id(1, "t", 1))),
            Code::kOk);
  EXPECT_EQ(run_at(kRoot, rig.make_directory_plan(kRoot, "t", 0)), Code::kOk);
}

TEST_F(TransactionTest, AMessageThatComesAgainLateBuriesNobodyElse) {
  const Way t = make(kRoot, "t");
  const std::string name = name_elsewhere(t);
  make(t, name);
  ASSERT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(kRoot, "t", t.directory())),
            Code::kOk);
  rig.group(home(t)).reclaim_all();
  auto pages = rig.query(home(t), [](Txn& txn) { return outbox(txn, 10); });
  ASSERT_EQ(pages.size(), 1u);
  EXPECT_EQ(pages[0].messages.from(), home(t));
  rig.deliver_all();
  Way again = t;
  again.seen = 1;
  ASSERT_EQ(run_at(kRoot, rig.make_directory_plan(kRoot, "t", 0)), Code::kOk);
  const Way child = make(again, name);
  ASSERT_TRUE(rig.create(child, "f").ok());
  EXPECT_EQ(rig.apply(pages[0].to, InternalMethod::deliver, pages[0].messages).code(), 0u);
  EXPECT_TRUE(rig.look(child, "f")->answers(0).has_entry());
  // Out of order, of nobody, or for another kind of group.
  record::Deliver wrong;
  wrong.set_from(4099);
  wrong.add_messages()->set_remove_file(5);
  wrong.mutable_messages(0)->set_number(1);
  EXPECT_EQ(code_of(rig.apply(home(t), InternalMethod::deliver, wrong)), Code::kInvalidArgument);
  EXPECT_EQ(code_of(rig.apply(rig.streams()[0], InternalMethod::deliver, wrong)), Code::kOk);
  *wrong.add_messages() = wrong.messages(0);
  EXPECT_EQ(code_of(rig.apply(rig.streams()[0], InternalMethod::deliver, wrong)),
            Code::kInvalidArgument);
  wrong.clear_from();
  EXPECT_EQ(code_of(rig.apply(rig.streams()[0], InternalMethod::deliver, wrong)),
            Code::kInvalidArgument);
}

// The end of its making comes later than the message that it goes.
TEST_F(TransactionTest, ADirectoryThatIsStillLockedIsBuriedLater) {
  const Way t = make(kRoot, "t");
  const std::string name = name_elsewhere(t);
  const Plan plan = rig.make_directory_plan(t, name, 0);
  const Way child = t.below(rig.directory_id(t.directory(), name, 0));
  const record::TxnId id = rig.next_id(home(t));
  ASSERT_EQ(prepare(plan, home(child), id), Code::kOk);
  ASSERT_EQ(commit(plan, id, rig.next_request()).code(), 0u);
  ASSERT_EQ(rig.run(wire::kRootGroup, rig.remove_tree_plan(kRoot, "t", t.directory())),
            Code::kOk);
  rig.group(home(t)).reclaim_all();
  const auto pages = rig.query(home(t), [](Txn& txn) { return outbox(txn, 10); });
  ASSERT_EQ(pages.size(), 1u);
  EXPECT_EQ(code_of(rig.apply(pages[0].to, InternalMethod::deliver, pages[0].messages)),
            Code::kBusy);
  ASSERT_EQ(finish(id, home(child), true), Code::kOk);
  rig.deliver_all();
  EXPECT_EQ(rows(home(child), "D"), home(child) == home(kRoot) ? 1u : 0u);
}

TEST_F(TransactionTest, ARequestIsDecidedOnce) {
  const pb::RequestId client = rig.next_request();
  Plan plan = rig.make_directory_plan(kRoot, name_elsewhere(kRoot), 0);
  plan.reply = "made";
  const u64 there = plan.parts.rbegin()->first == home(kRoot) ? plan.parts.begin()->first
                                                              : plan.parts.rbegin()->first;
  const record::TxnId id = rig.next_id(home(kRoot));
  ASSERT_EQ(prepare(plan, there, id), Code::kOk);
  // An error is no answer.
  Plan wrong = rig.make_directory_plan(kRoot, "x", 0);
  wrong.parts[home(kRoot)].mutable_ways(0)->add_chain(99);
  EXPECT_NE(commit(wrong, id, client).code(), 0u);
  EXPECT_FALSE(rig.query(home(kRoot), [&](Txn& txn) { return kept_answer(txn, client); }));
  const record::Outcome made = commit(plan, id, client);
  EXPECT_EQ(made.reply(), "made");
  EXPECT_FALSE(made.already());
  // The very transaction again: it is committed. Another attempt: it is not.
  EXPECT_FALSE(commit(plan, id, client).already());
  const record::Outcome other = commit(plan, rig.next_id(home(kRoot)), client);
  EXPECT_TRUE(other.already());
  EXPECT_EQ(other.reply(), "made");
  const auto kept = rig.query(home(kRoot), [&](Txn& txn) { return kept_answer(txn, client); });
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(kept->reply(), "made");
  EXPECT_EQ(rows(home(kRoot), "T"), 1u);
  record::Refuse refusal;
  refusal.set_client_high(client.client().high());
  refusal.set_client_low(client.client().low());
  refusal.set_client_sequence(client.sequence());
  refusal.set_first_unanswered(client.sequence());
  refusal.set_code(static_cast<u32>(Code::kNotEmpty));
  EXPECT_EQ(rig.apply(home(kRoot), InternalMethod::refuse, refusal).reply(), "made");
  // Refused first: it never happens.
  const pb::RequestId second = rig.next_request();
  refusal.set_client_low(second.client().low());
  EXPECT_EQ(code_of(rig.apply(home(kRoot), InternalMethod::refuse, refusal)), Code::kNotEmpty);
  const record::Outcome never =
      commit(rig.make_directory_plan(kRoot, "never", 0), rig.next_id(home(kRoot)), second);
  EXPECT_EQ(code_of(never), Code::kNotEmpty);
  EXPECT_TRUE(never.already());
  EXPECT_EQ(rig.look(kRoot, "never")->answers(0).result(), pb::LOOKUP_NO_ENTRY);
}

TEST_F(TransactionTest, AnEntryOfAnUnknownSubtreeWaitsForTheMap) {
  pb::PartitionMap map = rig.map();
  map.set_version(2);
  pb::Subtree& added = *map.add_subtrees();
  added.set_number(9);
  added.add_partitions(0);
  Plan plan;
  record::Part& part = plan.parts[home(kRoot)];
  *part.add_ways() = test::record_of(kRoot);
  record::AddEntry& add = *part.add_steps()->mutable_add_entry();
  add.set_directory(1);
  add.set_name("n");
  add.mutable_entry()->set_type(pb::ENTRY_DIRECTORY);
  add.mutable_entry()->set_id(u64{9} << wire::kHashBits | 77);
  EXPECT_EQ(run_at(kRoot, plan), Code::kBusy);
  rig.apply(home(kRoot), InternalMethod::update_map, map);
  EXPECT_EQ(run_at(kRoot, plan), Code::kOk);
}

}  // namespace
}  // namespace pangu::master
