#include "chunk/server/forgetting.h"

#include <gtest/gtest.h>

#include "chunk/store/test_store.h"
#include "wire/proto.h"

namespace pangu::chunk {
namespace {

constexpr u64 kGroup = wire::kFirstStreamGroup;

void add_live(pb::DeadChunks& dead, u64 file, u32 first) {
  pb::LiveFile& live = *dead.add_live();
  live.set_file(file);
  live.set_first(first);
}

pb::DeadChunks answer(const ChunkId& from, const ChunkId& until) {
  pb::DeadChunks out;
  wire::set(*out.mutable_device(), kTestDevice);
  wire::set(*out.mutable_from(), from);
  wire::set(*out.mutable_until(), until);
  return out;
}

std::string text(const std::optional<std::vector<ChunkRange>>& ranges) {
  std::string out;
  if (!ranges) {
    return "contradiction";
  }
  for (const ChunkRange& range : *ranges) {
    out += std::to_string(range.from.file.number) + "." + std::to_string(range.from.sequence) +
           "-" + std::to_string(range.until.file.number) + "." +
           std::to_string(range.until.sequence) + " ";
  }
  return out;
}

TEST(Forgetting, WhatAnAnswerSays) {
  pb::DeadChunks dead = answer(chunk_id(3, 5), chunk_id(20, 0));
  EXPECT_EQ(text(dead_ranges(dead)), "3.5-20.0 ");
  add_live(dead, 3, 2);
  EXPECT_EQ(text(dead_ranges(dead)), "4.0-20.0 ") << "asked for the middle of a live file";
  add_live(dead, 4, 0);
  add_live(dead, 9, 7);
  EXPECT_EQ(text(dead_ranges(dead)), "5.0-9.7 10.0-20.0 ");
  add_live(dead, 19, 1);
  EXPECT_EQ(text(dead_ranges(dead)), "5.0-9.7 10.0-19.1 ");
  pb::DeadChunks wrong = dead;
  add_live(wrong, 19, 3);
  EXPECT_EQ(text(dead_ranges(wrong)), "contradiction");
  wrong = dead;
  add_live(wrong, 20, 0);
  EXPECT_EQ(text(dead_ranges(wrong)), "contradiction");
  wrong = answer(chunk_id(3, 5), chunk_id(20, 0));
  add_live(wrong, 2, 1);
  EXPECT_EQ(text(dead_ranges(wrong)), "contradiction");

  pb::DeadChunks many = answer(chunk_id(3, 5), chunk_id(20, 0));
  add_live(many, 3, 0);
  many.mutable_live(0)->set_files(7);
  EXPECT_EQ(text(dead_ranges(many)), "10.0-20.0 ") << "files that were never opened";
  wrong = many;
  add_live(wrong, 9, 1);
  EXPECT_EQ(text(dead_ranges(wrong)), "contradiction");
  add_live(many, 15, 0);
  many.mutable_live(1)->set_files(1000);
  EXPECT_EQ(text(dead_ranges(many)), "10.0-15.0 ") << "to the end and beyond";
  many.mutable_live(1)->set_files(~u64{0});
  EXPECT_EQ(text(dead_ranges(many)), "contradiction");
}

// The stream service, with every file alive that is a multiple of ten.
struct Service {
  u64 next_file = 0;
  u64 files_max = 7;
  u64 first_file = 0;
  pb::DeadChunks answer_to(const pb::ChunkOnDevice& question) const {
    const ChunkId from = wire::get(question.chunk());
    EXPECT_GE(from.file.number, first_file);
    EXPECT_LE(from.file.number, next_file);
    pb::DeadChunks out = answer(from, {.file = {next_file}});
    for (u64 file = round_up(from.file.number, 10); file < next_file; file += 10) {
      add_live(out, file, 3);
      if (static_cast<u64>(out.live_size()) == files_max) {
        wire::set(*out.mutable_until(), ChunkId{.file = {file + 1}});
        break;
      }
    }
    return out;
  }
};

struct Rig {
  TestStore on{8 * kMiB};
  std::unique_ptr<Forgetting> forgetting;
  Rig() {
    CHECK(on.open().ok());
    forgetting = std::make_unique<Forgetting>(on.reactor());
    forgetting->add_device(kTestDevice, on.store());
  }
  ~Rig() {
    stop();
  }
  static Task<Unit> stopped(Forgetting& forgetting) {
    co_await forgetting.stop();
    co_return Unit{};
  }
  void stop() {
    if (forgetting) {
      on.wait(stopped(*forgetting));
      forgetting.reset();
    }
  }
  std::optional<pb::ChunkOnDevice> question(u64 group = kGroup) {
    const auto questions = forgetting->questions(group);
    CHECK(questions.size() <= 1);
    return questions.empty() ? std::nullopt : std::optional(questions.front());
  }
  // Until there is no question; returns how many there were.
  u64 exchange(const Service& service, u64 group = kGroup) {
    u64 questions = 0;
    while (const auto asked = question(group)) {
      forgetting->take(group, service.answer_to(*asked));
      on.settle();
      ++questions;
    }
    return questions;
  }
  void make_and_remove(const ChunkId& id) {
    TestWriter writer{.chunk = id};
    ASSERT_EQ(on.append(writer, 10).code, Code::kOk) << to_string(id);
    ASSERT_EQ(on.remove(id).code, Code::kOk) << to_string(id);
  }
};

TEST(Forgetting, ADeviceIsNeverFullOfTombstones) {
  Rig rig;
  Service service;
  u64 questions = 0;
  for (u64 file = 1; file < 6000; ++file) {
    service.next_file = file + 1;
    // Old files go on having new chunks, and lose old ones.
    rig.make_and_remove(chunk_id(file, file % 10 == 0 ? 2 : 1));
    questions += rig.exchange(service);
    ASSERT_LT(rig.on.store().remembered().tombstones, 2000u) << file;
  }
  EXPECT_LT(questions, 2000u) << "the work is in proportion";
  EXPECT_LT(rig.on.store().remembered().ranges, 601u) << "one at most between two live files";
  for (int i = 0; i < 2; ++i) {
    TestWriter late{.chunk = chunk_id(51)};
    EXPECT_EQ(rig.on.append(late, 10).code, Code::kSealed);
    late = {.chunk = chunk_id(50, 2)};
    EXPECT_EQ(rig.on.append(late, 10).code, Code::kSealed);
    TestWriter live{.chunk = chunk_id(50, 4 + static_cast<u32>(i))};
    EXPECT_EQ(rig.on.append(live, 10).code, Code::kOk);
    rig.stop();
    rig.on.reopen();
  }
}

TEST(Forgetting, LittleIsNotWorthAQuestion) {
  Rig rig;
  Service service{.next_file = 1000};
  EXPECT_FALSE(rig.question());
  for (u64 file = 1; file < 60; ++file) {
    rig.make_and_remove(chunk_id(file));
  }
  EXPECT_FALSE(rig.question());
  for (u64 file = 61; file < 70; ++file) {
    rig.make_and_remove(chunk_id(file));
  }
  EXPECT_GT(rig.exchange(service), 0u);
  EXPECT_EQ(rig.on.store().remembered().tombstones, 0u);
}

// Tombstones of live files stay, and are not asked about again and again.
TEST(Forgetting, WhatIsAliveIsLeftAlone) {
  Rig rig;
  Service service{.next_file = 1000};
  for (u64 file = 10; file < 1000; file += 10) {
    ASSERT_EQ(rig.on.fence(chunk_id(file, 5), 3).code, Code::kOk);
  }
  EXPECT_GT(rig.exchange(service), 0u);
  EXPECT_EQ(rig.on.store().remembered().tombstones, 99u);
  EXPECT_EQ(rig.on.store().remembered().ranges, 0u) << "they would save nothing";
  EXPECT_EQ(rig.exchange(service), 0u);
  // A takeover fills one of them.
  TestWriter writer{.chunk = chunk_id(500, 5)};
  TestRun fill = writer.next(100);
  fill.args.recovers = true;
  fill.args.epoch = {3};
  EXPECT_EQ(rig.on.append(fill).code, Code::kOk);
}

TEST(Forgetting, AnswersThatFitNoQuestionAreIgnored) {
  Rig rig;
  const pb::DeadChunks all = answer({}, chunk_id(1'000'000));
  rig.forgetting->take(kGroup, all);
  for (u64 file = 1; file < 100; ++file) {
    rig.make_and_remove(chunk_id(file));
  }
  rig.forgetting->take(kGroup, all);
  rig.on.settle();
  EXPECT_EQ(rig.on.store().remembered().tombstones, 99u);
  const auto question = rig.question();
  ASSERT_TRUE(question);
  EXPECT_EQ(wire::get(question->chunk()), chunk_id(1));
  pb::DeadChunks wrong = answer(chunk_id(1), chunk_id(5, 0));
  add_live(wrong, 7, 1);
  rig.forgetting->take(kGroup, wrong);
  rig.on.settle();
  EXPECT_EQ(rig.on.store().remembered().tombstones, 99u);
  // A service that knows no such files yet.
  rig.forgetting->take(kGroup, answer(chunk_id(1), chunk_id(1)));
  EXPECT_FALSE(rig.question());
}

// Each group's leader is asked about its own chunks, and its word counts for these only.
TEST(Forgetting, EachGroupForItself) {
  Rig rig;
  constexpr u64 kOther = wire::kFirstStreamGroup + 3;
  constexpr u64 kLast = wire::kFirstStreamGroup + wire::kPartitionsMax - 1;
  const auto first_of = [](u64 group) { return range_of_group(group).from.file.number; };
  for (u64 counter = 1; counter < 100; ++counter) {
    rig.make_and_remove(chunk_id(counter));
    rig.make_and_remove(chunk_id(first_of(kOther) + counter));
    rig.make_and_remove(chunk_id(first_of(kLast) + counter));
  }
  rig.make_and_remove(chunk_id(first_of(kOther + 1) + 1));
  EXPECT_FALSE(rig.question(kOther + 1)) << "too few";
  // A leader that speaks of other groups' chunks.
  ASSERT_TRUE(rig.question(kOther));
  rig.forgetting->take(kOther, answer(chunk_id(first_of(kOther) + 1), chunk_id(~u64{0} - 5)));
  rig.forgetting->take(kLast, answer(chunk_id(first_of(kOther) + 1), chunk_id(~u64{0} - 5)));
  rig.on.settle();
  EXPECT_EQ(rig.on.store().remembered().tombstones, 298u);
  // All of its range at once, then a leader that is silent for long: the others do not wait for it.
  rig.forgetting->take(kOther, answer(chunk_id(first_of(kOther) + 1),
                                      range_of_group(kOther).until));
  rig.on.settle();
  EXPECT_EQ(rig.on.store().remembered().tombstones, 199u);
  EXPECT_FALSE(rig.question(kOther));
  ASSERT_TRUE(rig.question(kGroup));
  const Service last{.next_file = first_of(kLast) + 100, .first_file = first_of(kLast)};
  EXPECT_GT(rig.exchange(last, kLast), 0u);
  EXPECT_EQ(rig.on.store().remembered_of(wire::kPartitionsMax - 1).tombstones, 0u);
  EXPECT_EQ(rig.on.store().remembered_of(0).tombstones, 99u);
  const Service zero{.next_file = 100};
  EXPECT_GT(rig.exchange(zero), 0u);
  EXPECT_EQ(rig.on.store().remembered().tombstones, 1u);
  TestWriter alive{.chunk = chunk_id(first_of(kOther + 1) + 2)};
  EXPECT_EQ(rig.on.append(alive, 10).code, Code::kOk);
}

// A repair copy of a settled chunk, onto a device that has forgotten it.
TEST(Forgetting, CopiesOfForgottenChunksAreTaken) {
  TestStore on;
  ASSERT_TRUE(on.open().ok());
  const ChunkId id = chunk_id(5);
  ASSERT_TRUE(on.wait(on.store().forget_files({5}, {5})).ok());
  EXPECT_EQ(on.store().remembered().ranges, 0u);
  ASSERT_EQ(on.fence(id, 7).code, Code::kOk);
  ASSERT_TRUE(on.wait(on.store().forget_files({5}, {5})).ok());
  EXPECT_EQ(on.store().stat(id).code(), Code::kNotFound);
  for (int life = 0; life < 3; ++life) {
    ASSERT_EQ(on.fence(id, 8).code, Code::kOk);
    TestWriter writer{.chunk = id};
    TestRun copy = writer.next(9000);
    EXPECT_EQ(on.append(copy).code, Code::kFenced) << "its owner";
    copy.args.recovers = true;
    copy.args.epoch = {8};
    ASSERT_EQ(on.append(copy).code, Code::kOk);
    ASSERT_EQ(on.finalize(id, 9000).code, Code::kOk);
    on.reopen();
    ASSERT_EQ(on.store().stat(id)->length, 9000u);
    ASSERT_TRUE(on.wait(on.store().forget_files({1}, {9})).ok());
    ASSERT_EQ(on.store().stat(id)->length, 9000u) << "what is here stays";
    ASSERT_EQ(on.remove(id).code, Code::kOk);
    EXPECT_EQ(on.store().remembered().tombstones, 0u) << "the range says it already";
    on.reopen();
    TestWriter late{.chunk = id};
    EXPECT_EQ(on.append(late, 10).code, Code::kSealed);
    EXPECT_EQ(on.wait(on.store().close(id, Epoch{1})).code, Code::kOk);
    EXPECT_EQ(on.remove(id).code, Code::kOk);
    EXPECT_EQ(on.store().remembered().tombstones, 0u);
  }
}

}  // namespace
}  // namespace pangu::chunk
