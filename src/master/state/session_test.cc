#include "master/state/session.h"

#include <gtest/gtest.h>

#include "master/state/harness.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

using test::Harness;

constexpr Uuid kClient{.high = 0xabc, .low = 0xdef};

pb::CreateFileRequest create_request(const std::string& path, u64 sequence, u64 first_unanswered,
                                     const Uuid& client = kClient) {
  pb::CreateFileRequest request;
  *request.mutable_place() = Harness::in_root(path);
  request.set_exclusive(true);
  Harness::set_id(request, client, sequence, first_unanswered);
  return request;
}

Result<pb::CreateFileReply> send(Harness& h, const pb::CreateFileRequest& request) {
  return h.call<pb::CreateFileReply>(wire::Method::create_file, request);
}

size_t kept_answers(Harness& h) {
  return h.query([](Txn& txn) {
    size_t count = txn.scan_prefix("Q", 10'000).entries.size();
    size_t spilled = 0;
    for (const KvEntry& entry : txn.scan_prefix("R", 100).entries) {
      record::Session session;
      EXPECT_TRUE(txn.get(entry.key, session));
      EXPECT_LE(entry.value.size(), kSessionBytes + 32);
      count += static_cast<size_t>(session.kept_size());
      spilled += session.spilled();
    }
    EXPECT_EQ(spilled, txn.scan_prefix("Q", 10'000).entries.size());
    return count;
  });
}

TEST(Session, ARequestThatComesAgainGetsTheSameAnswer) {
  Harness h(pb::GROUP_NAMESPACE);
  const auto request = create_request("f", 1, 1);
  const auto first = send(h, request);
  ASSERT_TRUE(first.ok());
  for (int i = 0; i < 3; ++i) {
    const auto again = send(h, request);
    ASSERT_TRUE(again.ok()) << again.error().message();
    EXPECT_EQ(again->SerializeAsString(), first->SerializeAsString());
  }
  EXPECT_EQ(h.meta().files(), 1u);
}

TEST(Session, ErrorsAreAnswersToo) {
  Harness h(pb::GROUP_NAMESPACE);
  ASSERT_TRUE(send(h, create_request("f", 1, 1)).ok());
  EXPECT_EQ(send(h, create_request("f", 2, 1)).code(), Code::kAlreadyExists);
  ASSERT_TRUE(h.remove("f") == Code::kOk);
  // A late copy must not do now what it was told it could not.
  EXPECT_EQ(send(h, create_request("f", 2, 1)).code(), Code::kAlreadyExists);
  EXPECT_TRUE(send(h, create_request("f", 3, 3)).ok());
}

TEST(Session, AnErrorThatMayBeTriedAgainIsNotKept) {
  Harness h(pb::GROUP_NAMESPACE);
  const u64 directory = wire::directory_id(0, 1, "d", 0);
  pb::CreateFileRequest request = create_request("f", 1, 1);
  request.mutable_place()->set_directory(directory);
  request.mutable_place()->add_chain(directory);
  EXPECT_EQ(send(h, request).code(), Code::kStale);
  ASSERT_EQ(h.commit(Harness::make_directory_part("d")).code(), 0u);
  EXPECT_TRUE(send(h, request).ok());
}

TEST(Session, RequestsMayComeInAnyOrder) {
  Harness h(pb::GROUP_NAMESPACE);
  for (const u64 sequence : {3u, 1u, 2u}) {
    EXPECT_TRUE(send(h, create_request(fmt::format("f{}", sequence), sequence, 1)).ok());
  }
  EXPECT_EQ(kept_answers(h), 3u);
}

TEST(Session, AnswersAreForgottenOnceTheClientHasThem) {
  Harness h(pb::GROUP_NAMESPACE);
  for (u64 i = 1; i <= 300; ++i) {
    ASSERT_TRUE(send(h, create_request(fmt::format("f{}", i), i, 1)).ok());
  }
  EXPECT_EQ(kept_answers(h), 300u);
  // A bounded number with each command.
  for (u64 i = 301; i <= 306; ++i) {
    ASSERT_TRUE(send(h, create_request(fmt::format("f{}", i), i, i)).ok());
  }
  EXPECT_EQ(kept_answers(h), 1u);
  EXPECT_EQ(send(h, create_request("late", 17, 1)).code(), Code::kCancelled);
  EXPECT_EQ(h.meta().files(), 306u);
}

TEST(Session, EveryKeptAnswerIsFoundWhereverItStands) {
  Harness h(pb::GROUP_NAMESPACE);
  std::vector<std::string> answers;
  for (u64 i = 1; i <= 100; ++i) {
    const auto reply = send(h, create_request(fmt::format("f{}", i), i, 1));
    ASSERT_TRUE(reply.ok());
    answers.push_back(reply->SerializeAsString());
  }
  EXPECT_EQ(kept_answers(h), 100u);
  for (u64 i = 1; i <= 100; ++i) {
    const auto again = send(h, create_request(fmt::format("f{}", i), i, 1));
    ASSERT_TRUE(again.ok()) << i;
    EXPECT_EQ(again->SerializeAsString(), answers[i - 1]);
  }
  EXPECT_EQ(h.meta().files(), 100u);
  // Long ones too.
  for (u64 i = 101; i <= 105; ++i) {
    const std::string path = std::string(3, static_cast<char>('a' + i - 101));
    ASSERT_TRUE(send(h, create_request(path + std::string(250, 'n'), i, 101)).ok());
  }
  EXPECT_EQ(send(h, create_request("f1", 1, 1)).code(), Code::kCancelled);
  EXPECT_TRUE(send(h, create_request("whatever", 103, 101)).ok());
  EXPECT_EQ(kept_answers(h), 5u);
}

TEST(Session, BadRequestIds) {
  Harness h(pb::GROUP_NAMESPACE);
  EXPECT_EQ(send(h, create_request("f", 0, 0)).code(), Code::kInvalidArgument);
  EXPECT_EQ(send(h, create_request("f", 1, 0, {})).code(), Code::kInvalidArgument);
  EXPECT_EQ(send(h, create_request("f", 1, 2)).code(), Code::kInvalidArgument);
  ASSERT_TRUE(send(h, create_request("g", 1, 1)).ok());
  EXPECT_EQ(send(h, create_request("f", kUnansweredMax + 1, 1)).code(), Code::kBusy);
  EXPECT_EQ(h.meta().files(), 1u);
}

TEST(Session, TheTableIsBoundedAndTheLeastRecentGoes) {
  Harness h(pb::GROUP_NAMESPACE, StateOptions{.sessions_max = 3});
  const auto client = [](u64 n) { return Uuid{.high = 5, .low = n}; };
  for (u64 n = 1; n <= 3; ++n) {
    ASSERT_TRUE(send(h, create_request(fmt::format("f{}", n), 1, 1, client(n))).ok());
  }
  // Client 1 is used again, late enough to count.
  for (u64 i = 0; i < kSessionUseStep; ++i) {
    record::Reclaim nothing;
    h.internal(InternalMethod::reclaim, nothing);
  }
  ASSERT_TRUE(send(h, create_request("g1", 2, 1, client(1))).ok());
  ASSERT_TRUE(send(h, create_request("f4", 1, 1, client(4))).ok());
  EXPECT_EQ(h.meta().sessions(), 3u);
  // 1, 3 and 4 still have their answers; 2 was evicted with its answer.
  for (const u64 n : {1u, 3u, 4u}) {
    EXPECT_TRUE(send(h, create_request(fmt::format("f{}", n), 1, 1, client(n))).ok());
  }
  EXPECT_EQ(send(h, create_request("f2", 1, 1, client(2))).code(), Code::kAlreadyExists);
  EXPECT_EQ(h.meta().sessions(), 3u);
  EXPECT_EQ(h.query([](Txn& txn) { return txn.scan_prefix("L", 10); }).entries.size(), 3u);
  EXPECT_EQ(h.query([](Txn& txn) { return txn.scan_prefix("R", 10); }).entries.size(), 3u);
}

TEST(Session, GarbageIsAnsweredNotApplied) {
  Harness h(pb::GROUP_NAMESPACE);
  record::Command command;
  for (const u32 method : {0u, 1u, 101u, 103u, 120u, 1000u, 1001u, 1003u, 1010u, 1012u, 65535u, ~0u}) {
    command.set_method(method);
    command.set_request("\xff\xff\xff\xff not a message");
    EXPECT_NE(h.apply(command).code(), 0u) << method;
  }
  EXPECT_EQ(h.meta().applied_index(), 12u);
  EXPECT_EQ(h.meta().sessions(), 0u);
}

}  // namespace
}  // namespace pangu::master
