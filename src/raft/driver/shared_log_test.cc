#include "raft/driver/shared_log_rig.h"

namespace pangu::raft {
namespace {

TEST(SharedLog, WhatWasWrittenComesBack) {
  SharedLogRig rig(1);
  ASSERT_TRUE(rig.open().ok());
  EXPECT_TRUE(rig.recovered.empty());
  ASSERT_TRUE(rig.create(7).ok());
  ASSERT_TRUE(rig.create(3, {}).ok());
  EXPECT_EQ(rig.create(7).code(), Code::kAlreadyExists);
  LogWrite write = SharedLogRig::entries(7, 2, 1, {"a", "", "ccc"});
  write.hard_state = HardState{.term = {2}, .vote = {9}, .commit = 1};
  ASSERT_TRUE(rig.write(std::move(write)).ok());
  EXPECT_EQ(rig.text_of(7, 1, 3), "2:a 2: 2:ccc");
  ASSERT_TRUE(rig.reopen().ok());
  ASSERT_EQ(rig.recovered.size(), 2u);
  const LogStore::Recovered& seven = rig.recovered.at({7});
  EXPECT_EQ(seven.hard_state, (HardState{.term = {2}, .vote = {9}, .commit = 1}));
  EXPECT_EQ(seven.log.last(), (LogId{{2}, 3}));
  EXPECT_EQ(seven.log.configuration(), first_members().configuration);
  EXPECT_EQ(rig.recovered.at({3}).log.last(), LogId{});
  EXPECT_EQ(rig.all(7), "2:a 2: 2:ccc");
  EXPECT_EQ(rig.fetch(7, 4, 4).code(), Code::kNotFound);
  EXPECT_EQ(rig.fetch(8, 1, 1).code(), Code::kNotFound);
}

TEST(SharedLog, ATailIsCutWhereANewOneBegins) {
  SharedLogRig rig(2);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.append(1, 1, 1, {"a", "b", "c", "d"}).ok());
  ASSERT_TRUE(rig.append(1, 3, 3, {"x"}).ok());
  EXPECT_EQ(rig.text_of(1, 1, 3), "1:a 1:b 3:x");
  Entries seen;
  EXPECT_EQ(rig.log->view({1}).read({1, 3}, kGiB, seen), LogView::Found::here);
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(rig.fetch(1, 4, 4).code(), Code::kNotFound);
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.all(1), "1:a 1:b 3:x");
  EXPECT_EQ(rig.log->view({1}).read({1, 3}, kGiB, seen), LogView::Found::not_in_memory);
}

TEST(SharedLog, AnInstalledSnapshotReplacesTheLog) {
  SharedLogRig rig(3);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.append(1, 1, 1, {"a", "b"}).ok());
  LogWrite write = SharedLogRig::entries(1, 6, 101, {"x", "y"});
  write.install = first_members({4, 5});
  write.install->id = {{5}, 100};
  write.hard_state = HardState{.term = {6}, .vote = {}, .commit = 100};
  ASSERT_TRUE(rig.write(std::move(write)).ok());
  // A later write may know of less that is committed.
  ASSERT_TRUE(rig.write({.group = {1}, .hard_state = HardState{.term = {7}}}).ok());
  EXPECT_EQ(rig.text_of(1, 101, 102), "6:x 6:y");
  EXPECT_EQ(rig.fetch(1, 2, 2).code(), Code::kNotFound);
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.recovered.at({1}).log.base(), (LogId{{5}, 100}));
  EXPECT_EQ(rig.recovered.at({1}).hard_state, (HardState{.term = {7}, .commit = 100}));
  EXPECT_EQ(rig.recovered.at({1}).log.configuration(), first_members({4, 5}).configuration);
  EXPECT_EQ(rig.all(1), "6:x 6:y");
}

TEST(SharedLog, RemovedGroupsStayAway) {
  SharedLogRig rig(4);
  rig.options.segment_bytes = 400;
  ASSERT_TRUE(rig.open().ok());
  for (u64 group = 1; group <= 5; ++group) {
    ASSERT_TRUE(rig.create(group).ok());
    ASSERT_TRUE(rig.append(group, 1, 1, {std::string(300, 'x')}).ok());
  }
  ASSERT_TRUE(rig.remove(2).ok());
  ASSERT_TRUE(rig.remove(4).ok());
  ASSERT_TRUE(rig.remove(3).ok());
  EXPECT_EQ(rig.remove(3).code(), Code::kNotFound);
  EXPECT_EQ(rig.append(3, 1, 2, {"y"}).code(), Code::kNotFound);
  EXPECT_EQ(rig.log->compact({3}, 1).code(), Code::kNotFound);
  EXPECT_EQ(rig.log->stored_bytes({3}), 0u);
  for (int life = 0; life < 3; ++life) {
    EXPECT_EQ(rig.create(2).code(), Code::kAlreadyExists);
    EXPECT_EQ(rig.create(4).code(), Code::kAlreadyExists);
    ASSERT_TRUE(rig.append(5, 1, 2 + static_cast<u64>(life), {std::string(500, 'z')}).ok());
    ASSERT_TRUE(rig.reopen().ok());
    EXPECT_EQ(rig.recovered.size(), 2u);
  }
}

TEST(SharedLog, WritesThatWaitShareOneDeviceWrite) {
  SharedLogRig rig(5);
  ASSERT_TRUE(rig.open().ok());
  for (u64 group = 1; group <= 50; ++group) {
    ASSERT_TRUE(rig.create(group).ok());
  }
  const u64 before = rig.log->counters().device_writes;
  for (u64 index = 1; index <= 20; ++index) {
    for (u64 group = 1; group <= 50; ++group) {
      rig.write_later(SharedLogRig::entries(group, 1, index, {"some text"}));
    }
  }
  ASSERT_TRUE(rig.run_until([&] { return rig.outcomes.size() == 1000; }));
  EXPECT_LE(rig.log->counters().device_writes - before, 4u);
  // In the order in which they were begun.
  for (u64 i = 0; i < 1000; ++i) {
    EXPECT_EQ(rig.outcomes[i].first, i);
    EXPECT_TRUE(rig.outcomes[i].second.ok());
  }
  ASSERT_TRUE(rig.reopen().ok());
  for (u64 group = 1; group <= 50; ++group) {
    EXPECT_EQ(rig.recovered.at({group}).log.last().index, 20u);
  }
}

TEST(SharedLog, WhatIsImpossibleIsRefusedAndChangesNothing) {
  SharedLogRig rig(6);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.append(1, 4, 1, {"a", "b", "c"}).ok());
  ASSERT_TRUE(
      rig.write({.group = {1}, .hard_state = HardState{.term = {4}, .vote = {2}, .commit = 2}})
          .ok());
  const auto refused = [&](LogWrite write) {
    return rig.write(std::move(write)).code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(refused(SharedLogRig::entries(1, 4, 5, {"gap"})));
  EXPECT_TRUE(refused(SharedLogRig::entries(1, 4, 0, {"zero"})));
  EXPECT_TRUE(refused(SharedLogRig::entries(1, 3, 4, {"older term"})));
  EXPECT_TRUE(refused(SharedLogRig::entries(1, 5, 1, {"cuts what was committed"})));
  EXPECT_TRUE(refused({.group = {1}, .hard_state = HardState{.term = {3}, .commit = 2}}));
  EXPECT_TRUE(refused({.group = {1}, .hard_state = HardState{.term = {4}, .vote = {3}}}));
  EXPECT_TRUE(refused({.group = {1}, .hard_state = HardState{.term = {5}, .commit = 4}}));
  LogWrite jumps = SharedLogRig::entries(1, 4, 4, {"d", "e"});
  jumps.entries[1].index = 6;
  EXPECT_TRUE(refused(std::move(jumps)));
  LogWrite nonsense = SharedLogRig::entries(1, 4, 4, {"d"});
  nonsense.entries[0].kind = EntryKind::configuration;
  EXPECT_TRUE(refused(std::move(nonsense)));
  EXPECT_EQ(rig.append(1, 4, 4, {std::string(kEntryBytesMax + 1, 'x')}).code(), Code::kTooLarge);
  EXPECT_EQ(rig.log->compact({1}, 4).code(), Code::kInvalidArgument);
  ASSERT_TRUE(rig.append(1, 4, 4, {"d"}).ok());
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.all(1), "4:a 4:b 4:c 4:d");
}

TEST(SharedLog, TheCacheKeepsToItsBoundAndTheRestComesFromDisk) {
  SharedLogRig rig(7);
  rig.options.cache_bytes = 10'000;
  rig.options.segment_bytes = 20'000;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.create(2).ok());
  std::string expected[3];
  for (u64 index = 1; index <= 200; ++index) {
    for (u64 group = 1; group <= 2; ++group) {
      const std::string text = std::to_string(index) + std::string(index % 90 * 3, 'x');
      ASSERT_TRUE(rig.append(group, 1, index, {text}).ok());
      expected[group] += (index == 1 ? "1:" : " 1:") + text;
      ASSERT_LE(rig.log->cached_bytes(), rig.options.cache_bytes);
    }
  }
  EXPECT_GT(rig.log->cached_bytes(), rig.options.cache_bytes / 2);
  Entries seen;
  EXPECT_EQ(rig.log->view({1}).read({1, 200}, kGiB, seen), LogView::Found::not_in_memory);
  EXPECT_EQ(rig.log->view({1}).read({195, 200}, kGiB, seen), LogView::Found::here);
  EXPECT_EQ(seen.size(), 6u);
  for (u64 group = 1; group <= 2; ++group) {
    EXPECT_EQ(rig.text_of(group, 1, 200), expected[group]);
  }
  // Few reads for many entries.
  EXPECT_LT(rig.log->counters().fetches, 50u);
  // By bytes: at least one, never more than fit.
  EXPECT_EQ(rig.fetch(1, 5, 100, 1)->size(), 1u);
  const u64 five = 5 * 32 + 3 * (5 + 6 + 7 + 8 + 9) + 5;
  EXPECT_EQ(rig.fetch(1, 5, 100, five)->size(), 5u);
  EXPECT_EQ(rig.fetch(1, 5, 100, five - 1)->size(), 4u);
  ASSERT_TRUE(rig.reopen().ok());
  for (u64 group = 1; group <= 2; ++group) {
    EXPECT_EQ(rig.all(group), expected[group]);
  }
}

TEST(SharedLog, SegmentsThatNobodyNeedsAreDeleted) {
  SharedLogRig rig(8);
  rig.options.segment_bytes = 2000;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.create(2).ok());
  for (u64 index = 1; index <= 100; ++index) {
    ASSERT_TRUE(rig.append(1, 1, index, {std::string(100, 'a')}).ok());
    ASSERT_TRUE(rig.append(2, index, index, {std::string(100, 'b')}).ok());
  }
  const u64 all = rig.log->stored_bytes();
  EXPECT_EQ(rig.log->stored_bytes({1}), 100 * (64 + 104u));
  ASSERT_TRUE(rig.log->compact({1}, 90).ok());
  EXPECT_EQ(rig.log->stored_bytes({1}), 10 * (64 + 104u));
  ASSERT_TRUE(rig.log->compact({1}, 50).ok());
  ASSERT_TRUE(rig.log->compact({2}, 80).ok());
  EXPECT_EQ(rig.fetch(1, 90, 90).code(), Code::kNotFound);
  rig.world.run_for(seconds(1));
  EXPECT_LT(rig.log->stored_bytes(), all / 2);
  EXPECT_GT(rig.log->counters().segments_removed, 5u);
  EXPECT_EQ(rig.log->counters().entries_copied, 0u);
  ASSERT_TRUE(rig.reopen().ok());
  // Some that were compacted may be back, nothing else.
  const LogSummary& two = rig.recovered.at({2}).log;
  EXPECT_LE(two.base().index, 80u);
  EXPECT_GT(two.base().index, 60u);
  EXPECT_EQ(two.base().term.value(), two.base().index);
  EXPECT_EQ(two.last(), (LogId{{100}, 100}));
  EXPECT_EQ(two.configuration(), first_members().configuration);
  EXPECT_GE(rig.recovered.at({2}).hard_state.commit, two.base().index);
  EXPECT_EQ(rig.fetch(2, two.base().index + 1, 100)->size(), 100 - two.base().index);
}

TEST(SharedLog, AnOldSegmentStaysUntilTheTableOfTheNextOneIsDurable) {
  for (u64 seed = 1; seed <= 20; ++seed) {
    SharedLogRig rig(seed);
    rig.options.segment_bytes = 2000;
    ASSERT_TRUE(rig.open().ok());
    ASSERT_TRUE(rig.create(1).ok());
    ASSERT_TRUE(rig.append(1, 1, 1, {std::string(2000, 'a')}).ok());
    rig.world.run_for(milliseconds(10));
    rig.node.disk().set_stuck(true);
    rig.write_later(SharedLogRig::entries(1, 1, 2, {"b"}));
    rig.world.run_for(milliseconds(10));
    ASSERT_EQ(rig.segments().size(), 2u);
    ASSERT_TRUE(rig.log->compact({1}, 1).ok());
    rig.world.run_for(milliseconds(10));
    EXPECT_EQ(rig.segments().size(), 2u);
    rig.crash(env::sim::Crash::power);
    rig.node.disk().set_stuck(false);
    ASSERT_TRUE(rig.open().ok());
    ASSERT_EQ(rig.recovered.count({1}), 1u);
    EXPECT_GE(rig.recovered.at({1}).log.last().index, 1u);
  }
}

TEST(SharedLog, AnIdleGroupDoesNotKeepOldSegments) {
  SharedLogRig rig(9);
  rig.options.segment_bytes = 20'000;
  rig.options.cache_bytes = 5000;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.create(2).ok());
  ASSERT_TRUE(rig.append(1, 1, 1, {"idle", "since", std::string(9000, 'l'), "long"}).ok());
  const std::string idle = "1:idle 1:since 1:" + std::string(9000, 'l') + " 1:long";
  u64 largest = 0;
  for (u64 index = 1; index <= 2000; ++index) {
    ASSERT_TRUE(rig.append(2, 1, index, {std::string(400, 'b')}).ok());
    if (index > 5) {
      ASSERT_TRUE(rig.log->compact({2}, index - 5).ok());
    }
    largest = std::max(largest, rig.log->stored_bytes());
  }
  EXPECT_LT(largest, 5 * rig.options.segment_bytes);
  EXPECT_GT(rig.log->counters().segments_removed, 30u);
  EXPECT_GE(rig.log->counters().entries_copied, 4u);
  EXPECT_EQ(rig.text_of(1, 1, 4), idle);
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.all(1), idle);
  EXPECT_EQ(rig.recovered.at({2}).log.last().index, 2000u);
  // And after the copies a new tail can be cut and written.
  ASSERT_TRUE(rig.append(1, 2, 3, {"awake"}).ok());
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.all(1), "1:idle 1:since 2:awake");
}

TEST(SharedLog, ConfigurationsAndTermsSurviveTheDeletionOfTheirSegments) {
  SharedLogRig rig(10);
  rig.options.segment_bytes = 500;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  for (u64 index = 1; index <= 60; ++index) {
    LogWrite write = SharedLogRig::entries(1, 1 + index / 7, index, {std::string(90, 'x')});
    if (index % 10 == 0) {
      write.entries[0].kind = EntryKind::configuration;
      write.entries[0].payload = encode(first_members({index, index + 1}).configuration);
    }
    ASSERT_TRUE(rig.write(std::move(write)).ok());
  }
  ASSERT_TRUE(rig.log->compact({1}, 33).ok());
  rig.world.run_for(seconds(1));
  ASSERT_TRUE(rig.reopen().ok());
  const LogSummary& log = rig.recovered.at({1}).log;
  EXPECT_GT(log.base().index, 25u);
  for (Index index = log.base().index; index <= 60; ++index) {
    EXPECT_EQ(log.term_at(index)->value(), 1 + index / 7);
    const u64 node = index / 10 * 10;
    EXPECT_EQ(log.configuration_at(index), first_members({node, node + 1}).configuration);
  }
}

TEST(SharedLog, AFullDiskRefusesLosesNothingAndGoesOn) {
  SharedLogRig rig(11);
  rig.options.segment_bytes = 64 * kKiB;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.create(2).ok());
  rig.node.disk().options().capacity = rig.node.disk().used() + 300 * kKiB;
  u64 next = 1;
  int refused = 0;
  for (int i = 0; refused < 5; ++i) {
    ASSERT_LT(i, 1000);
    const std::string text = std::to_string(i) + std::string(10'000, 'x');
    const Status written = rig.append(1, 1, next, {text});
    if (written.ok()) {
      ++next;
    } else {
      ASSERT_EQ(written.code(), Code::kNoSpace) << written.error().message();
      ++refused;
    }
  }
  while (rig.append(1, 1, next, {"y"}).ok()) {
    ++next;
  }
  EXPECT_EQ(rig.create(3).code(), Code::kNoSpace);
  // Compaction frees room on a disk without any.
  ASSERT_GT(next, 15u);
  ASSERT_TRUE(rig.log->compact({1}, next - 1).ok());
  rig.world.run_for(seconds(1));
  EXPECT_GT(rig.log->counters().segments_removed, 2u);
  ASSERT_TRUE(rig.append(1, 1, next, {"after"}).ok());
  ASSERT_TRUE(rig.create(3).ok());
  ASSERT_TRUE(rig.remove(2).ok());
  rig.crash(env::sim::Crash::power);
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.recovered.at({1}).log.last().index, next);
  EXPECT_EQ(rig.recovered.count({2}), 0u);
  EXPECT_EQ(rig.recovered.count({3}), 1u);
}

TEST(SharedLog, WhatWaitsBehindAWriteWithoutSpaceFailsAlike) {
  SharedLogRig rig(12);
  rig.options.prepared_ahead = 0;
  rig.options.write_bytes_max = 1000;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  rig.node.disk().options().capacity = rig.node.disk().used() + 4 * kKiB;
  for (Index index = 1; index <= 10; ++index) {
    rig.write_later(SharedLogRig::entries(1, 1, index, {std::string(900, 'x')}));
  }
  ASSERT_TRUE(rig.run_until([&] { return rig.outcomes.size() == 10; }));
  u64 kept = 0;
  for (const auto& [number, outcome] : rig.outcomes) {
    if (outcome.ok()) {
      EXPECT_EQ(number, kept++);
    } else {
      EXPECT_EQ(outcome.code(), Code::kNoSpace);
    }
  }
  ASSERT_GT(kept, 2u);
  ASSERT_LT(kept, 10u);
  rig.node.disk().options().capacity = 0;
  // A gap is refused, the next one is not.
  EXPECT_EQ(rig.append(1, 1, kept + 2, {"y"}).code(), Code::kInvalidArgument);
  ASSERT_TRUE(rig.append(1, 1, kept + 1, {"y"}).ok());
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.recovered.at({1}).log.last().index, kept + 1);
}

TEST(SharedLog, AFailedWriteEndsTheLog) {
  SharedLogRig rig(13);
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.append(1, 1, 1, {"good"}).ok());
  rig.world.run_for(milliseconds(100));
  rig.node.disk().fail_next(env::sim::DiskAction::write, 1);
  rig.write_later(SharedLogRig::entries(1, 1, 2, {"lost?"}));
  rig.write_later(SharedLogRig::entries(1, 1, 3, {"lost too?"}));
  ASSERT_TRUE(rig.run_until([&] { return rig.outcomes.size() == 2; }));
  EXPECT_EQ(rig.outcomes[0].second.code(), Code::kIoError);
  EXPECT_EQ(rig.outcomes[1].second.code(), Code::kIoError);
  const Status later = rig.append(1, 1, 2, {"later"});
  EXPECT_EQ(later.code(), Code::kIoError);
  EXPECT_NE(later.error().message().find("restarted"), std::string::npos);
  EXPECT_EQ(rig.create(2).code(), Code::kIoError);
  EXPECT_EQ(rig.text_of(1, 1, 1), "1:good");
  ASSERT_TRUE(rig.reopen().ok());
  EXPECT_EQ(rig.all(1).substr(0, 6), "1:good");
}

TEST(SharedLog, StopFinishesWhatIsBeingWritten) {
  SharedLogRig rig(14);
  rig.options.write_bytes_max = 1000;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  for (Index index = 1; index <= 10; ++index) {
    rig.write_later(SharedLogRig::entries(1, 1, index, {std::string(900, 'x')}));
  }
  rig.world.run_for(microseconds(5));
  rig.run(SharedLogRig::stopped(*rig.log));
  EXPECT_EQ(rig.outcomes.size(), 10u);
  EXPECT_EQ(rig.append(1, 1, 20, {"late"}).code(), Code::kClosed);
  EXPECT_EQ(rig.fetch(1, 1, 1).code(), Code::kClosed);
  rig.log.reset();
  u64 kept = 0;
  for (const auto& [number, outcome] : rig.outcomes) {
    kept += outcome.ok() ? 1 : 0;
  }
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.recovered.at({1}).log.last().index, kept);
}

TEST(SharedLog, ManyGroupsManySegments) {
  SharedLogRig rig(15);
  rig.options.segment_bytes = 30'000;
  rig.options.cache_bytes = 1000;
  ASSERT_TRUE(rig.open().ok());
  for (u64 group = 1; group <= 300; ++group) {
    rig.reactor->spawn("create", TaskClass::foreground, [](SharedLogRig& on, u64 id) -> Task<void> {
      EXPECT_TRUE((co_await on.log->create_group({id}, first_members())).ok());
    }(rig, group));
  }
  rig.world.run_for(milliseconds(100));
  for (Index index = 1; index <= 20; ++index) {
    for (u64 group = 1; group <= 300; ++group) {
      rig.write_later(SharedLogRig::entries(group, 1, index, {std::to_string(group * index)}));
    }
    rig.world.run_for(milliseconds(1));
  }
  ASSERT_TRUE(rig.run_until([&] { return rig.outcomes.size() == 6000; }));
  ASSERT_TRUE(rig.reopen().ok());
  for (const u64 group : {u64{1}, u64{77}, u64{300}}) {
    const auto got = rig.fetch(group, 1, 20);
    ASSERT_TRUE(got.ok());
    for (const Entry& entry : *got) {
      EXPECT_EQ(entry.payload.text(), std::to_string(group * entry.index));
    }
  }
}

}  // namespace
}  // namespace pangu::raft
