#include <gtest/gtest.h>

#include "raft/testing/group.h"

// The rules of core.h, one by one, on a single core: what it does at each event, and above all what
// it does not do yet. Situations of several members are scripts (scripts/*.txt).
namespace pangu::raft {
namespace {

using testing::Node;

constexpr NodeId kSelf{1};

Configuration members(std::initializer_list<u64> voters) {
  Configuration out;
  for (const u64 id : voters) {
    out.voters.push_back(NodeId{id});
  }
  return out;
}

// Node 1 of a group; the test plays its disk and the other members.
class OneCore : public ::testing::Test {
 protected:
  explicit OneCore(Configuration configuration = members({1, 2, 3}))
      : group_(Options(), 7, [this](const Message& m) { sent_.push_back(m); }, nullptr) {
    group_.add(kSelf, configuration);
  }
  Node& node() { return group_.at(kSelf); }
  Core& core() { return *node().core; }
  void persist() {
    while (group_.persist_one(kSelf)) {
    }
  }
  template <class Body>
  void receive(u64 from, u64 term, Body body) {
    group_.step(kSelf, {NodeId{from}, kSelf, Term{term}, std::move(body)});
  }
  // The messages with such a body since the last call.
  template <class Body>
  std::vector<Body> sent() {
    std::vector<Body> out;
    for (const Message& message : sent_) {
      if (const Body* body = message.as<Body>()) {
        out.push_back(*body);
      }
    }
    sent_.clear();
    return out;
  }
  void wait(i64 ms) {
    group_.now = group_.now + milliseconds(ms);
    group_.tick(kSelf);
  }
  void become_leader() {
    group_.act(kSelf, [](Core& core) { return core.campaign(), 0; });
    receive(2, core().term().value() + 1, VoteReply{true, true});
    persist();
    receive(2, core().term().value(), VoteReply{false, true});
    ASSERT_EQ(core().role(), Role::leader);
  }
  void propose(const char* text) {
    ASSERT_TRUE(group_.act(kSelf, [&](Core& core) {
      std::vector<Payload> commands;
      commands.push_back(Payload::copy_of(std::string_view(text)));
      return core.propose(std::move(commands)).ok();
    }));
  }
  static Entry entry(u64 term, Index index) {
    return {Term{term}, index, EntryKind::command, Payload::copy_of(std::string_view("x"))};
  }
  static LogId id(u64 term, Index index) { return {Term{term}, index}; }

  std::vector<Message> sent_;
  testing::Group group_;
};

TEST_F(OneCore, NoVoteRequestBeforeOnesOwnVoteIsDurable) {
  group_.act(kSelf, [](Core& core) { return core.campaign(), 0; });
  EXPECT_EQ(sent<VoteRequest>().size(), 2u);  // pre-votes bind nobody
  receive(2, 1, VoteReply{true, true});
  EXPECT_EQ(core().role(), Role::candidate);
  EXPECT_TRUE(sent<VoteRequest>().empty());
  persist();
  EXPECT_EQ(sent<VoteRequest>().size(), 2u);
}

TEST_F(OneCore, NoVoteBeforeItIsDurable) {
  receive(2, 1, VoteRequest{false, false, {}});
  EXPECT_TRUE(sent<VoteReply>().empty());
  persist();
  const auto replies = sent<VoteReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_TRUE(replies[0].granted);
  // Another candidate of the term gets no, also after a crash.
  group_.crash(kSelf, 0);
  group_.restart(kSelf);
  receive(3, 1, VoteRequest{false, false, {}});
  persist();
  const auto after = sent<VoteReply>();
  ASSERT_EQ(after.size(), 1u);
  EXPECT_FALSE(after[0].granted);
}

TEST_F(OneCore, NoMessageOfATermBeforeTheTermIsDurable) {
  receive(2, 5, Heartbeat{0, 1, false});
  EXPECT_TRUE(sent<HeartbeatReply>().empty());
  persist();
  EXPECT_EQ(sent<HeartbeatReply>().size(), 1u);
}

TEST_F(OneCore, AcknowledgesOnlyWhatIsDurable) {
  receive(2, 1, AppendRequest{{}, 0, {entry(1, 1)}});
  receive(2, 1, AppendRequest{id(1, 1), 0, {entry(1, 2)}});
  EXPECT_TRUE(sent<AppendReply>().empty());
  group_.persist_one(kSelf);
  auto replies = sent<AppendReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].index, 1u);
  persist();
  replies = sent<AppendReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].index, 2u);
}

TEST_F(OneCore, AppliesOnlyWhatIsDurableHere) {
  receive(2, 1, AppendRequest{{}, 2, {entry(1, 1), entry(1, 2)}});
  EXPECT_EQ(core().commit(), 2u);
  EXPECT_EQ(node().to_apply, 0u);
  persist();
  EXPECT_EQ(node().to_apply, 2u);
}

// The write of an entry that was cut away meanwhile proves nothing, not even for the same entry if
// it comes back: the disk has another one there in between.
TEST_F(OneCore, AWriteFromBeforeACutAcknowledgesNothing) {
  receive(2, 1, AppendRequest{{}, 0, {entry(1, 1), entry(1, 2)}});        // write 1
  receive(3, 2, AppendRequest{id(1, 1), 0, {entry(2, 2)}});               // write 2 cuts 2/1
  receive(2, 3, AppendRequest{id(1, 1), 0, {entry(1, 2), entry(3, 3)}});  // write 3 brings it back
  group_.persist_one(kSelf);
  group_.persist_one(kSelf);
  for (const AppendReply& reply : sent<AppendReply>()) {
    EXPECT_LE(reply.index, 1u);
  }
  persist();
  const auto replies = sent<AppendReply>();
  ASSERT_FALSE(replies.empty());
  EXPECT_EQ(replies.back().index, 3u);
}

TEST_F(OneCore, AVoteGoesOnlyToALogAsUpToDateAsOnesOwn) {
  receive(2, 2, AppendRequest{{}, 0, {entry(1, 1), entry(2, 2)}});
  persist();
  wait(1000);
  sent_.clear();
  const std::pair<LogId, bool> cases[] = {
      {id(1, 9), false}, {id(2, 1), false}, {id(2, 2), true}, {id(3, 1), true}};
  u64 term = core().term().value() + 1;
  for (const auto& [last, granted] : cases) {
    receive(3, term++, VoteRequest{false, false, last});
    persist();
    const auto replies = sent<VoteReply>();
    ASSERT_EQ(replies.size(), 1u);
    EXPECT_EQ(replies[0].granted, granted) << to_string(last);
  }
}

TEST_F(OneCore, ALeaderSendsBesideItsOwnWriteButCountsItselfOnlyAfterIt) {
  become_leader();
  EXPECT_FALSE(sent<AppendRequest>().empty());
  EXPECT_EQ(node().writes.size(), 1u);  // the empty entry
  EXPECT_EQ(core().commit(), 0u);
  receive(2, 1, AppendReply{true, 1, {}});
  EXPECT_EQ(core().commit(), 0u) << "one of three disks has it";
  persist();
  EXPECT_EQ(core().commit(), 1u);
}

TEST_F(OneCore, TwoOthersAreEnoughWithoutTheLeadersDisk) {
  become_leader();
  receive(2, 1, AppendReply{true, 1, {}});
  receive(3, 1, AppendReply{true, 1, {}});
  EXPECT_EQ(core().commit(), 1u);
  EXPECT_EQ(node().to_apply, 0u);
}

TEST_F(OneCore, EntriesOfFormerTermsAreNotCommittedByCounting) {
  receive(2, 1, AppendRequest{{}, 0, {entry(1, 1), entry(1, 2)}});
  persist();
  wait(1000);
  become_leader();
  persist();
  const u64 term = core().term().value();
  EXPECT_EQ(core().log().last(), id(term, 3));
  receive(3, term, AppendReply{true, 2, {}});
  EXPECT_EQ(core().commit(), 0u);
  receive(3, term, AppendReply{true, 3, {}});
  EXPECT_EQ(core().commit(), 3u);
}

// libraft 0.15 tests for a quorum at the leader's last index only: under load nothing commits.
TEST_F(OneCore, CommitsUnderSteadyLoadAlthoughNobodyEverHasTheLastEntry) {
  become_leader();
  for (Index i = 2; i < 2000; ++i) {
    propose("load");
    group_.persist_one(kSelf);
    if (i > 20) {
      receive(2, 1, AppendReply{true, i - 20, {}});
      receive(3, 1, AppendReply{true, i - 15, {}});
      ASSERT_EQ(core().commit(), i - 15) << "the leader and node 3 have it";
    }
  }
}

TEST_F(OneCore, AppendsFollowEachOtherUpToTheWindow) {
  group_.options.inflight_bytes_max = 100;
  group_.crash(kSelf, 0);
  group_.restart(kSelf);
  become_leader();
  receive(2, 1, AppendReply{true, 1, {}});
  sent_.clear();
  for (int i = 0; i < 20; ++i) {
    propose("twelve bytes");
  }
  const auto appends = sent<AppendRequest>();
  EXPECT_EQ(appends.size(), 3u);  // 3 x 44 bytes reach the 100
  receive(2, 1, AppendReply{true, 2, {}});
  const auto more = sent<AppendRequest>();
  ASSERT_EQ(more.size(), 1u);
  EXPECT_EQ(more[0].previous.index, 4u);
  EXPECT_EQ(more[0].entries.size(), 17u) << "what waited leaves together";
}

TEST_F(OneCore, NoChangeOfMembersBeforeACommitInTheTerm) {
  become_leader();
  const ConfigurationChange change{{{MemberChange::Kind::add_learner, NodeId{4}}}};
  EXPECT_EQ(core().change_configuration(change).code(), Code::kBusy);
  receive(2, 1, AppendReply{true, 1, {}});
  persist();
  EXPECT_TRUE(core().change_configuration(change).ok());
  EXPECT_EQ(core().change_configuration(change).code(), Code::kBusy) << "one at a time";
}

TEST_F(OneCore, AConfigurationIsInForceAtOnceAndGoesWithACut) {
  Configuration larger = members({1, 2, 3, 4});
  Entry change{Term{1}, 1, EntryKind::configuration, encode(larger)};
  receive(2, 1, AppendRequest{{}, 0, {change}});
  persist();
  EXPECT_EQ(core().configuration(), larger);
  receive(3, 2, AppendRequest{{}, 0, {entry(2, 1)}});
  EXPECT_EQ(core().configuration(), members({1, 2, 3}));
}

TEST_F(OneCore, MessagesOfFormerTermsChangeNothing) {
  receive(2, 3, AppendRequest{{}, 0, {entry(3, 1)}});
  persist();
  sent_.clear();
  receive(3, 2, AppendRequest{{}, 9, {entry(2, 1)}});
  receive(3, 2, VoteReply{false, true});
  receive(3, 2, TimeoutNow{});
  EXPECT_EQ(core().term(), Term{3});
  EXPECT_EQ(core().leader(), NodeId{2});
  EXPECT_EQ(core().log().last(), id(3, 1));
  EXPECT_EQ(core().commit(), 0u);
  // The deposed leader is told.
  const auto replies = sent<AppendReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_FALSE(replies[0].accepted);
}

TEST_F(OneCore, TimeoutNowWhileWriting) {
  receive(2, 1, AppendRequest{{}, 0, {entry(1, 1)}});
  receive(2, 1, TimeoutNow{});
  EXPECT_EQ(core().role(), Role::candidate);
  EXPECT_EQ(core().term(), Term{2});
  EXPECT_TRUE(sent<VoteRequest>().empty()) << "its vote is not durable yet";
  persist();
  const auto requests = sent<VoteRequest>();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_TRUE(requests[0].transfer);
  EXPECT_EQ(requests[0].last, id(1, 1));
}

TEST_F(OneCore, AcknowledgementsDieWithTheirTerm) {
  receive(2, 1, AppendRequest{{}, 0, {entry(1, 1)}});
  receive(3, 2, Heartbeat{0, 1, false});
  persist();
  EXPECT_TRUE(sent<AppendReply>().empty());
}

TEST_F(OneCore, ReadsWaitForACommitInTheTermAndShareARound) {
  become_leader();
  sent_.clear();
  for (u64 context = 1; context <= 100; ++context) {
    ASSERT_TRUE(group_.read(kSelf, context).ok());
  }
  EXPECT_TRUE(sent<Heartbeat>().empty());
  persist();
  receive(2, 1, AppendReply{true, 1, {}});
  const auto beats = sent<Heartbeat>();
  ASSERT_EQ(beats.size(), 2u) << "one round for all of them";
  EXPECT_TRUE(node().reads.empty());
  receive(3, 1, HeartbeatReply{beats[0].round - 1, false});
  EXPECT_TRUE(node().reads.empty()) << "an answer to an older round proves nothing";
  receive(3, 1, HeartbeatReply{beats[0].round, false});
  EXPECT_EQ(node().reads.size(), 100u);
  EXPECT_EQ(node().reads[100], 1u);
}

TEST_F(OneCore, TheConnectionToTheLeaderIsLost) {
  receive(2, 1, Heartbeat{0, 1, false});
  persist();
  wait(40);
  sent_.clear();
  group_.act(kSelf, [](Core& core) { return core.report_unreachable(NodeId{2}), 0; });
  wait(4);
  EXPECT_TRUE(sent<VoteRequest>().empty());
  wait(27);
  EXPECT_EQ(sent<VoteRequest>().size(), 2u);
}

TEST_F(OneCore, NonsenseFromTheWireIsAnErrorAndChangesNothing) {
  receive(2, 1, AppendRequest{{}, 1, {entry(1, 1)}});
  persist();
  const auto step = [&](u64 from, u64 term, auto body) {
    return core().step(group_.local(kSelf), {NodeId{from}, kSelf, Term{term}, body}).code();
  };
  EXPECT_EQ(step(2, 1, AppendRequest{id(1, 1), 0, {entry(1, 5)}}), Code::kCorrupt);
  EXPECT_EQ(step(2, 1, AppendRequest{id(1, 1), 0, {entry(9, 2)}}), Code::kCorrupt);
  Entry bad{Term{1}, 2, EntryKind::configuration, Payload::copy_of(std::string_view("nonsense"))};
  EXPECT_EQ(step(2, 1, AppendRequest{id(1, 1), 0, {bad}}), Code::kCorrupt);
  EXPECT_EQ(step(2, 1, Heartbeat{7, 1, false}), Code::kCorrupt);
  EXPECT_EQ(step(1, 1, Heartbeat{0, 1, false}), Code::kCorrupt);
  EXPECT_EQ(core().log().last(), id(1, 1));
  EXPECT_EQ(core().commit(), 1u);
}

TEST_F(OneCore, ALogThatLostItsEndIsRefused) {
  receive(2, 1, AppendRequest{{}, 2, {entry(1, 1), entry(1, 2)}});
  persist();
  receive(2, 1, AppendRequest{id(1, 2), 2, {entry(1, 3)}});
  persist();
  EXPECT_EQ(node().disk.hard_state.commit, 2u);
  group_.crash(kSelf, 0);
  node().disk.log.pop_back();
  node().disk.log.pop_back();
  group_.restart(kSelf);
  EXPECT_NE(group_.failure().find("lost its end"), std::string::npos) << group_.failure();
}

class Alone : public OneCore {
 protected:
  Alone() : OneCore(members({1})) {}
};

TEST_F(Alone, AGroupOfOneNeedsOnlyItsDisk) {
  wait(600);
  EXPECT_EQ(core().role(), Role::candidate);
  persist();
  EXPECT_EQ(core().role(), Role::leader);
  persist();
  EXPECT_EQ(core().commit(), 1u);
  propose("a");
  EXPECT_EQ(core().commit(), 1u);
  persist();
  EXPECT_EQ(core().commit(), 2u);
  ASSERT_TRUE(group_.read(kSelf, 5).ok());
  EXPECT_EQ(node().reads[5], 2u);
}

TEST(ConfigurationTest, BytesSurviveAndDamageIsFound) {
  Configuration joint = members({1, 2, 3});
  joint.outgoing = members({3, 4, 5}).voters;
  joint.learners = {NodeId{9}};
  joint.learners_next = {NodeId{5}};
  joint.auto_leave = true;
  const Payload bytes = encode(joint);
  EXPECT_EQ(*decode_configuration(bytes.bytes()), joint);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_configuration(bytes.bytes().first(size)).ok());
  }
  EXPECT_EQ(to_string(after_joint(joint)), "voters 1 2 3 | learners 5 9");
}

TEST(ConfigurationTest, MoreThanOneVoterMeansJoint) {
  using Kind = MemberChange::Kind;
  const Configuration three = members({1, 2, 3});
  EXPECT_FALSE(changed(three, {{{Kind::add_voter, NodeId{4}}}})->is_joint());
  const Configuration swap =
      *changed(three, {{{Kind::add_voter, NodeId{4}}, {Kind::remove, NodeId{1}}}});
  EXPECT_EQ(to_string(swap), "voters 2 3 4 | was 1 2 3");
  EXPECT_FALSE(changed(swap, {{{Kind::remove, NodeId{2}}}}).ok());
  EXPECT_FALSE(changed(three, {{{Kind::add_voter, NodeId{1}}}}).ok());
  EXPECT_FALSE(changed(members({1}), {{{Kind::remove, NodeId{1}}}}).ok());
}

TEST(ConfigurationTest, QuorumOfBothHalves) {
  Configuration joint = members({1, 2, 3});
  joint.outgoing = members({3, 4, 5}).voters;
  const u64 have[] = {0, 9, 8, 1, 5, 2};
  EXPECT_EQ(joint.quorum_value([&](NodeId id) { return have[id.value()]; }), 2u);
  EXPECT_EQ(members({1, 2, 3, 4}).quorum_value([&](NodeId id) { return have[id.value()]; }), 5u);
  EXPECT_EQ(Configuration().quorum_value([](NodeId) { return u64{7}; }), 0u);
}

TEST(LogSummaryTest, TermsAndConflicts) {
  LogSummary log({});
  const u64 terms[] = {1, 1, 4, 4, 5, 5, 6, 6, 6};
  for (Index i = 1; i <= std::size(terms); ++i) {
    ASSERT_TRUE(log.append({Term{terms[i - 1]}, i, EntryKind::command, {}}).ok());
  }
  EXPECT_EQ(log.term_at(4), Term{4});
  EXPECT_EQ(log.term_at(0), Term{0});
  EXPECT_EQ(log.term_at(10), std::nullopt);
  EXPECT_EQ(log.last_at_most(Term{4}, 9).index, 4u);
  EXPECT_EQ(log.last_at_most(Term{3}, 9).index, 2u);
  EXPECT_EQ(log.last_at_most(Term{6}, 7).index, 7u);
  log.compact(3);
  EXPECT_EQ(log.term_at(3), Term{4});
  EXPECT_EQ(log.term_at(2), std::nullopt);
  EXPECT_EQ(log.last_at_most(Term{2}, 9).index, 3u);
  log.truncate(5);
  EXPECT_EQ(log.last().index, 4u);
  EXPECT_FALSE(log.append({Term{3}, 5, EntryKind::command, {}}).ok());
  EXPECT_FALSE(log.append({Term{6}, 6, EntryKind::command, {}}).ok());
}

}  // namespace
}  // namespace pangu::raft
