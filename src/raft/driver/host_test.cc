#include "raft/driver/host.h"

#include <gtest/gtest.h>

#include "raft/driver/testing/rig.h"

// Hosts over the real rpc on a simulated network, in situations that a person can name. What nobody
// thought of is looked for by testing/storm.h.
namespace pangu::raft::testing {
namespace {

RigOptions small_log() {
  RigOptions options;
  options.host.log_keep_entries = 0;
  options.host.snapshot_keep = seconds(5);
  return options;
}

class HostTest : public ::testing::Test {
 protected:
  void begin(u32 processes, u32 members, const RigOptions& options = {}, u64 seed = 1) {
    rig_ = std::make_unique<Rig>(seed, processes, members, options);
    for (auto& process : rig_->processes) {
      process->start();
    }
    ASSERT_TRUE(rig_->wait([&] { return all_ready(); }, seconds(5)));
  }
  bool all_ready() {
    return std::all_of(rig_->processes.begin(), rig_->processes.end(),
                       [](const auto& process) { return process->ready(); });
  }
  // All that run have the same state, at least up to `index`.
  bool settled(Index index) {
    const LedgerState* state = nullptr;
    for (auto& process : rig_->processes) {
      if (!process->ready()) {
        continue;
      }
      const LedgerState& mine = process->ledger().state();
      if (mine.index < index || (state != nullptr && *state != mine)) {
        return false;
      }
      state = &mine;
    }
    return true;
  }
  void append_some(Process& process, u64 count, u64 size = 20) {
    for (u64 i = 0; i < count; ++i) {
      auto index = rig_->append(process, size);
      ASSERT_TRUE(index.ok()) << index.error().message();
      last_ = *index;
    }
  }
  void TearDown() override {
    if (rig_ == nullptr) {
      return;
    }
    for (auto& process : rig_->processes) {
      if (process->ready()) {
        process->stop(rig_->world);
      }
    }
    EXPECT_EQ(rig_->oracle.failure(), "");
  }
  std::unique_ptr<Rig> rig_;
  Index last_ = 0;
};

TEST_F(HostTest, ThreeElectAndReplicate) {
  begin(3, 3);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 20);
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(2)));
  for (auto& process : rig_->processes) {
    EXPECT_EQ(process->ledger().state().commands, 20u);
    EXPECT_TRUE(rig_->read(*process).ok());
    if (process.get() != leader) {
      auto refused = rig_->append(*process);
      EXPECT_EQ(refused.code(), Code::kNotLeader);
      EXPECT_EQ(refused.error().context(), env::to_string(leader->address()));
    }
  }
}

TEST_F(HostTest, OneMemberAlone) {
  begin(1, 1);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 5);
  EXPECT_TRUE(rig_->read(*leader).ok());
}

TEST_F(HostTest, ALeaderThatDiesIsReplacedAtOnce) {
  begin(3, 3);
  Process* old = rig_->wait_leader(seconds(5));
  ASSERT_NE(old, nullptr);
  append_some(*old, 3);
  const Instant crashed = rig_->world.now();
  old->crash(env::sim::Crash::process);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  // The held calls broke: nobody waited for an election timeout of 250 ms.
  EXPECT_LT((rig_->world.now() - crashed).ms(), 120);
  append_some(*leader, 3);
  old->start();
  EXPECT_TRUE(rig_->wait([&] { return old->ready() && settled(last_); }, seconds(5)));
}

TEST_F(HostTest, AHostThatLosesPowerIsReplaced) {
  begin(3, 3);
  Process* old = rig_->wait_leader(seconds(5));
  ASSERT_NE(old, nullptr);
  append_some(*old, 3);
  old->crash(env::sim::Crash::power);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 3);
}

TEST_F(HostTest, ALeaderWithoutAMajorityAnswersNothing) {
  begin(3, 3);
  Process* old = rig_->wait_leader(seconds(5));
  ASSERT_NE(old, nullptr);
  append_some(*old, 3);
  rig_->world.net().isolate(old->node());
  auto index = rig_->append(*old, 20, milliseconds(2000));
  EXPECT_EQ(index.code(), Code::kUnknownOutcome);
  EXPECT_EQ(rig_->read(*old, milliseconds(500)).code(), Code::kTimeout);
  EXPECT_EQ(rig_->append(*old).code(), Code::kNotLeader);
  Process* leader = nullptr;
  rig_->wait([&] { return (leader = rig_->leader()) != nullptr && leader != old; }, seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 3);
  rig_->world.net().heal_all();
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(10)));
}

TEST_F(HostTest, AllCrashAndNothingIsLost) {
  begin(3, 3);
  append_some(*rig_->wait_leader(seconds(5)), 10);
  for (auto& process : rig_->processes) {
    process->ledger().flush();
    process->crash(env::sim::Crash::power);
  }
  for (auto& process : rig_->processes) {
    process->start();
  }
  ASSERT_TRUE(rig_->wait([&] { return all_ready(); }, seconds(5)));
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  EXPECT_TRUE(rig_->read(*leader).ok());
  EXPECT_EQ(leader->ledger().state().commands, 10u);
}

TEST_F(HostTest, WhoIsFarBehindGetsASnapshot) {
  begin(3, 3, small_log());
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  Process* behind = leader == &rig_->at(1) ? &rig_->at(2) : &rig_->at(1);
  for (auto& process : rig_->processes) {
    process->ledger_disks[0].snapshot_bytes = 3 * kSnapshotReadBytesMax / 2;
  }
  behind->crash(env::sim::Crash::process);
  append_some(*leader, 20);
  for (auto& process : rig_->processes) {
    if (process->ready()) {
      process->ledger().flush();
    }
  }
  rig_->world.run_for(seconds(3));
  EXPECT_GT(leader->replica().core()->log().base().index, 10u);
  behind->start();
  EXPECT_TRUE(rig_->wait([&] { return behind->ready() && settled(last_); }, seconds(5)));
  EXPECT_EQ(behind->replica().counters().snapshots_installed, 1u);
  EXPECT_EQ(leader->replica().counters().snapshots_made, 1u);
  append_some(*leader, 3);
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(5)));
  // And starts again from it.
  behind->crash(env::sim::Crash::power);
  behind->start();
  EXPECT_TRUE(rig_->wait([&] { return behind->ready() && settled(last_); }, seconds(5)));
}

TEST_F(HostTest, ACrashBetweenStateAndLogOfASnapshot) {
  begin(3, 3, small_log());
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  Process* behind = leader == &rig_->at(1) ? &rig_->at(2) : &rig_->at(1);
  rig_->world.net().isolate(behind->node());
  append_some(*leader, 20);
  leader->ledger().flush();
  rig_->world.run_for(seconds(3));
  behind->log_disk.full = true;
  rig_->world.net().heal_all();
  ASSERT_TRUE(rig_->wait([&] { return behind->ledger().applied() == last_; }, seconds(10)));
  EXPECT_EQ(behind->replica().counters().snapshots_installed, 0u);
  EXPECT_LT(behind->log_disk.groups.at(kGroup).last(), last_);
  behind->crash(env::sim::Crash::power);
  behind->log_disk.full = false;
  behind->start();
  ASSERT_TRUE(rig_->wait([&] { return behind->ready(); }, seconds(5)));
  EXPECT_EQ(behind->log_disk.groups.at(kGroup).base.id.index, last_);
  append_some(*leader, 3);
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(5)));
  EXPECT_FALSE(behind->node().env().files().exists("/raft/install-0000000000000007"));
}

// The same with the note of it and the old state: it means nothing.
TEST_F(HostTest, ACrashBeforeTheStateOfASnapshot) {
  begin(3, 3, small_log());
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  Process* behind = leader == &rig_->at(1) ? &rig_->at(2) : &rig_->at(1);
  rig_->world.net().isolate(behind->node());
  append_some(*leader, 20);
  leader->ledger().flush();
  rig_->world.run_for(seconds(3));
  behind->ledger_disks[0].full = true;
  rig_->world.net().heal_all();
  const std::string note = "/raft/install-0000000000000007";
  ASSERT_TRUE(rig_->wait([&] { return behind->node().env().files().exists(note); }, seconds(10)));
  behind->crash(env::sim::Crash::process);
  behind->ledger_disks[0].full = false;
  behind->start();
  EXPECT_TRUE(rig_->wait([&] { return behind->ready() && settled(last_); }, seconds(10)));
  EXPECT_EQ(behind->replica().counters().snapshots_installed, 1u);
  EXPECT_FALSE(behind->node().env().files().exists(note));
}

TEST_F(HostTest, MembersComeAndGo) {
  begin(5, 3, small_log());
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 10);
  leader->ledger().flush();
  rig_->world.run_for(seconds(3));
  using Kind = MemberChange::Kind;
  const Status added = rig_->change(
      *leader, {.changes = {{Kind::add_learner, NodeId{4}}, {Kind::add_learner, NodeId{5}}}});
  ASSERT_TRUE(added.ok()) << added.error().message();
  append_some(*leader, 3);
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(5)));
  const Status swapped =
      rig_->change(*leader, {.changes = {{Kind::add_voter, NodeId{4}},
                                         {Kind::add_voter, NodeId{5}},
                                         {Kind::remove, leader->id()}}});
  ASSERT_TRUE(swapped.ok() || swapped.code() == Code::kUnknownOutcome)
      << swapped.error().message();
  Process* next = nullptr;
  rig_->wait([&] { return (next = rig_->leader()) != nullptr && next != leader; }, seconds(5));
  ASSERT_NE(next, nullptr);
  ASSERT_NE(next, leader);
  append_some(*next, 3);
  EXPECT_EQ(next->replica().configuration().voters.size(), 4u);
}

TEST_F(HostTest, LeadershipIsHandedOver) {
  begin(3, 3);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 3);
  const Instant before = rig_->world.now();
  bool done = false;
  struct Body {
    static Task<void> run(Process& from, bool& finished) {
      co_await from.host().hand_over(from.reactor().now() + seconds(3));
      finished = true;
    }
  };
  leader->spawn("hand over", Body::run(*leader, done));
  ASSERT_TRUE(rig_->wait([&] { return done; }, seconds(4)));
  EXPECT_LT((rig_->world.now() - before).ms(), 200);
  Process* next = rig_->wait_leader(seconds(1));
  ASSERT_NE(next, nullptr);
  EXPECT_NE(next, leader);
  append_some(*next, 1);
}

TEST_F(HostTest, AFullLogGivesLeadershipAway) {
  begin(3, 3);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 3);
  leader->log_disk.full = true;
  // A majority has it: only this member cannot apply it.
  EXPECT_EQ(rig_->append(*leader, 20, milliseconds(300)).code(), Code::kUnknownOutcome);
  Process* next = nullptr;
  rig_->wait([&] { return (next = rig_->leader()) != nullptr && next != leader; }, seconds(5));
  ASSERT_NE(next, nullptr);
  ASSERT_NE(next, leader);
  append_some(*next, 5);
  leader->log_disk.full = false;
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(5)));
}

TEST_F(HostTest, ABrokenLogEndsTheHost) {
  begin(3, 3);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 3);
  leader->log_disk.broken = true;
  EXPECT_EQ(rig_->append(*leader).code(), Code::kUnknownOutcome);
  EXPECT_TRUE(leader->host().failure().has_value());
  EXPECT_EQ(rig_->append(*leader).code(), Code::kIoError);
  EXPECT_EQ(rig_->read(*leader).code(), Code::kIoError);
  Process* next = rig_->wait_leader(seconds(5));
  ASSERT_NE(next, nullptr);
  append_some(*next, 5);
  leader->crash(env::sim::Crash::process);
  leader->log_disk.broken = false;
  leader->start();
  EXPECT_TRUE(rig_->wait([&] { return leader->ready() && settled(last_); }, seconds(5)));
}

TEST_F(HostTest, ABrokenStateMachineSilencesItsMember) {
  begin(3, 3);
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  leader->ledger_disks[0].broken = true;
  EXPECT_EQ(rig_->append(*leader).code(), Code::kUnknownOutcome);
  EXPECT_EQ(rig_->append(*leader).code(), Code::kIoError);
  EXPECT_FALSE(leader->host().failure().has_value());
  Process* next = rig_->wait_leader(seconds(5));
  ASSERT_NE(next, nullptr);
  append_some(*next, 5);
}

TEST_F(HostTest, AnIdleClusterIsQuietAndWakes) {
  RigOptions options;
  options.groups = 20;
  options.host.group.quiesce_after = seconds(1);
  begin(3, 3, options);
  for (u64 group = 0; group < options.groups; ++group) {
    ASSERT_NE(rig_->wait_leader(seconds(5), group), nullptr);
  }
  append_some(*rig_->leader(), 1);
  rig_->world.run_for(seconds(4));
  const u64 before = rig_->at(1).host().transport_counters().messages;
  rig_->world.run_for(seconds(10));
  EXPECT_EQ(rig_->at(1).host().transport_counters().messages, before);
  Process* old = rig_->leader();
  const Term term = old->replica().term();
  append_some(*old, 2);
  rig_->world.run_for(seconds(4));
  EXPECT_EQ(old->replica().term(), term);  // waking is no reason for an election
  old->crash(env::sim::Crash::power);  // says nothing to anybody
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 1);
}

// Heartbeats of many groups leave together.
TEST_F(HostTest, HeartbeatsShareFrames) {
  RigOptions options;
  options.groups = 50;
  begin(3, 3, options);
  for (u64 group = 0; group < options.groups; ++group) {
    ASSERT_NE(rig_->wait_leader(seconds(5), group), nullptr);
  }
  rig_->world.run_for(seconds(2));
  const TransportCounters before = rig_->at(1).host().transport_counters();
  rig_->world.run_for(seconds(5));
  const TransportCounters after = rig_->at(1).host().transport_counters();
  const u64 calls = after.calls - before.calls;
  EXPECT_GT(after.messages - before.messages, 8 * calls);
}

TEST_F(HostTest, AMachineThatIsBehindItsLogIsRefused) {
  begin(3, 3, small_log());
  Process* leader = rig_->wait_leader(seconds(5));
  ASSERT_NE(leader, nullptr);
  append_some(*leader, 20);
  EXPECT_TRUE(rig_->wait([&] { return settled(last_); }, seconds(2)));
  Process& victim = rig_->at(2);
  victim.ledger().flush();
  victim.replica().compact();
  victim.crash(env::sim::Crash::process);
  const LedgerState state = std::exchange(victim.ledger_disks[0].flushed, {});
  victim.start();
  rig_->world.run_for(seconds(1));
  EXPECT_FALSE(victim.ready());
  EXPECT_NE(victim.trouble.find("state machine is at 0"), std::string::npos) << victim.trouble;
  victim.ledger_disks[0].flushed = state;
  EXPECT_TRUE(rig_->wait([&] { return victim.ready() && settled(last_); }, seconds(5)));
  EXPECT_NE(rig_->oracle.failure(), "");  // the rig takes it for lost data, which it was
  rig_->oracle = {};
  last_ = 0;
  for (auto& process : rig_->processes) {
    process->crash(env::sim::Crash::process);
  }
}

}  // namespace
}  // namespace pangu::raft::testing
