#include <cstdio>
#include <cstdlib>

#include "base/crc32c.h"
#include "raft/driver/shared_log_rig.h"

// The bytes of the shared log: what version 1 wrote stays readable (docs/formats/raft-log.md), and
// damage to any of them is noticed. PANGU_UPDATE_GOLDEN=1 writes tests/data anew; that is right
// only for a format version that nobody uses yet.
namespace pangu::raft {
namespace {

const std::string kGoldenPath = std::string(PANGU_TEST_DATA) + "/raft_log_v1.bin";

std::string read_golden() {
  std::string out;
  if (FILE* file = std::fopen(kGoldenPath.c_str(), "rb")) {
    char block[4096];
    size_t got = 0;
    while ((got = std::fread(block, 1, sizeof block, file)) > 0) {
      out.append(block, got);
    }
    std::fclose(file);
  }
  return out;
}

// One record of every type but `copy`, in the second of two segments.
void write_example(SharedLogRig& rig) {
  rig.options.prepared_ahead = 0;
  rig.options.segment_bytes = 600;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(7).ok());
  ASSERT_TRUE(rig.create(9, {}).ok());
  ASSERT_TRUE(rig.create(10).ok());
  ASSERT_TRUE(rig.remove(10).ok());
  ASSERT_TRUE(rig.append(7, 1, 1, {"first", std::string(300, '2'), ""}).ok());
  // From here on in the second segment.
  LogWrite write = SharedLogRig::entries(7, 3, 3, {"third", "fourth"});
  write.hard_state = HardState{.term = {3}, .vote = {2}, .commit = 1};
  write.entries[1].kind = EntryKind::configuration;
  write.entries[1].payload = encode(first_members({1, 2}).configuration);
  ASSERT_TRUE(rig.write(std::move(write)).ok());
  LogWrite install = SharedLogRig::entries(9, 4, 51, {"fifty-one"});
  install.install = first_members({5});
  install.install->id = {{4}, 50};
  ASSERT_TRUE(rig.write(std::move(install)).ok());
  ASSERT_TRUE(rig.create(11).ok());
  ASSERT_TRUE(rig.remove(11).ok());
  LogWrite empty = SharedLogRig::entries(7, 3, 5, {""});
  empty.entries[0].kind = EntryKind::empty;
  ASSERT_TRUE(rig.write(std::move(empty)).ok());
}

void expect_example(SharedLogRig& rig) {
  ASSERT_EQ(rig.recovered.size(), 2u);
  const LogStore::Recovered& seven = rig.recovered.at({7});
  EXPECT_EQ(seven.hard_state.term, Term{3});
  EXPECT_EQ(seven.hard_state.vote, NodeId{2});
  EXPECT_EQ(seven.log.last(), (LogId{{3}, 5}));
  EXPECT_EQ(seven.log.configuration(), first_members({1, 2}).configuration);
  EXPECT_EQ(seven.log.configuration_at(3), first_members().configuration);
  EXPECT_EQ(rig.recovered.at({9}).log.base(), (LogId{{4}, 50}));
  EXPECT_EQ(rig.recovered.at({9}).log.configuration(), first_members({5}).configuration);
  EXPECT_EQ(rig.all(9), "4:fifty-one");
  EXPECT_EQ(rig.create(10).code(), Code::kAlreadyExists);
  EXPECT_EQ(rig.create(11).code(), Code::kAlreadyExists);
}

TEST(LogFormat, VersionOneIsReadAndWrittenAsEver) {
  SharedLogRig rig(1);
  write_example(rig);
  rig.stop();
  const std::vector<std::string> paths = rig.segments();
  ASSERT_EQ(paths.size(), 2u);
  const std::string written = rig.contents(paths[1]);
  if (std::getenv("PANGU_UPDATE_GOLDEN") != nullptr) {
    FILE* file = std::fopen(kGoldenPath.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(std::fwrite(written.data(), 1, written.size(), file), written.size());
    std::fclose(file);
  }
  const std::string golden = read_golden();
  EXPECT_EQ(written, golden);
  // The second segment alone: the first was given up.
  SharedLogRig reader(2);
  reader.put(paths[1], golden);
  ASSERT_TRUE(reader.open().ok());
  expect_example(reader);
  EXPECT_EQ(reader.recovered.at({7}).log.base(), (LogId{{1}, 2}));
  EXPECT_EQ(reader.recovered.at({7}).hard_state.commit, 2u);
  EXPECT_EQ(reader.all(7).substr(0, 8), "3:third ");
}

TEST(LogFormat, AnotherLogOrVersionIsRefused) {
  SharedLogRig rig(3);
  write_example(rig);
  rig.stop();
  rig.options.log = {.high = 1, .low = 3};
  const Status foreign = rig.open();
  EXPECT_EQ(foreign.code(), Code::kWrongCluster) << foreign.error().message();
  rig.options.log = kTestLog;
  SegmentHeader header = make_segment_header(kTestLog, 1);
  header.version = 2;
  header.crc32c = crc32c(as_bytes_of(header).first(sizeof header - 4));
  rig.put(rig.segments()[0], std::string(as_text(as_bytes_of(header))));
  EXPECT_EQ(rig.open().code(), Code::kUnsupported);
}

// The log as it is after the example, and as it is without its last write.
struct Example {
  Example() : rig(4) {
    write_example(rig);
    rig.stop();
    for (const std::string& path : rig.segments()) {
      files[path] = rig.contents(path);
    }
  }
  void restore() {
    for (const auto& [path, bytes] : files) {
      rig.put(path, bytes);
    }
  }
  // Opens; whatever is served has to be right. True: the last write is not there.
  bool open_and_check(const Status& opened) {
    EXPECT_TRUE(opened.ok());
    const LogSummary& seven = rig.recovered.at({7}).log;
    EXPECT_EQ(rig.all(7).substr(0, 8), "1:first ");
    const bool cut = seven.last().index == 4;
    EXPECT_TRUE(cut || seven.last().index == 5);
    EXPECT_EQ(rig.all(9), "4:fifty-one");
    EXPECT_EQ(rig.recovered.at({7}).hard_state, (HardState{.term = {3}, .vote = {2}, .commit = 1}));
    rig.stop();
    return cut;
  }
  SharedLogRig rig;
  std::map<std::string, std::string> files;
};

TEST(LogFormat, AnyFlippedBitIsNoticedOrIsATornTail) {
  Example example;
  SharedLogRig& rig = example.rig;
  const env::sim::WorldLog quiet(rig.world, [](void*, std::string_view) {});
  u64 noticed = 0;
  u64 torn = 0;
  for (const auto& [path, bytes] : example.files) {
    const bool last = path == rig.segments().back();
    const u64 last_write = bytes.size() - sizeof(RecordHeader);
    for (u64 offset = 0; offset < bytes.size(); ++offset) {
      example.restore();
      std::string flipped = bytes;
      flipped[offset] ^= static_cast<char>(1 << (offset * 5 % 8));
      rig.put(path, flipped);
      const Status opened = rig.open();
      if (last && offset >= last_write) {
        EXPECT_TRUE(example.open_and_check(opened)) << offset;
        ++torn;
        continue;
      }
      ASSERT_FALSE(opened.ok()) << path << " " << offset;
      ++noticed;
      EXPECT_EQ(opened.code(), Code::kCorrupt) << opened.error().message();
      EXPECT_NE(opened.error().message().find(path), std::string::npos);
      // Refusing changed nothing.
      ASSERT_EQ(rig.contents(path), flipped);
    }
  }
  EXPECT_GT(noticed, 1000u);
  EXPECT_EQ(torn, sizeof(RecordHeader));
}

TEST(LogFormat, EveryTornTailIsCut) {
  Example example;
  SharedLogRig& rig = example.rig;
  const env::sim::WorldLog quiet(rig.world, [](void*, std::string_view) {});
  const std::string path = rig.segments().back();
  const std::string& bytes = example.files[path];
  const u64 last_write = bytes.size() - sizeof(RecordHeader);
  for (u64 size = last_write; size < bytes.size(); ++size) {
    for (const bool filled : {false, true}) {
      example.restore();
      std::string left = bytes.substr(0, size);
      left.resize(filled ? bytes.size() + 100 : size, '\x77');
      rig.put(path, left);
      const Status opened = rig.open();
      EXPECT_TRUE(example.open_and_check(opened)) << size;
      std::string erased = bytes.substr(0, last_write);
      erased.resize(left.size());
      EXPECT_EQ(rig.contents(path), erased);
    }
  }
}

// What the next segment continues is whole, whatever stands behind it.
TEST(LogFormat, ATailThatCameBackInAnOldSegmentIsNoDamage) {
  Example example;
  SharedLogRig& rig = example.rig;
  const std::string first = rig.segments().front();
  const std::string& bytes = example.files[first];
  rig.put(first, bytes + bytes.substr(bytes.size() - 200));
  EXPECT_FALSE(example.open_and_check(rig.open()));
  // But then nothing may be missing.
  rig.put(first, bytes.substr(0, bytes.size() - 64));
  const Status opened = rig.open();
  EXPECT_EQ(opened.code(), Code::kCorrupt);
  EXPECT_NE(opened.error().message().find(first), std::string::npos) << opened.error().message();
}

TEST(LogFormat, AWriteThatIsNotWholeDoesNotCount) {
  SharedLogRig rig(5);
  const env::sim::WorldLog quiet(rig.world, [](void*, std::string_view) {});
  rig.options.prepared_ahead = 0;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.append(1, 1, 1, {"a"}).ok());
  LogWrite write = SharedLogRig::entries(1, 2, 1, {"b", "c", "d"});
  write.hard_state = HardState{.term = {2}, .vote = {3}};
  const std::string path = rig.segments()[0];
  const u64 before = rig.contents(path).size();
  ASSERT_TRUE(rig.write(std::move(write)).ok());
  rig.stop();
  const std::string bytes = rig.contents(path);
  for (u64 size = before; size < bytes.size(); size += 8) {
    rig.put(path, bytes.substr(0, size));
    ASSERT_TRUE(rig.open().ok());
    EXPECT_EQ(rig.all(1), "1:a") << size;
    EXPECT_EQ(rig.recovered.at({1}).hard_state, HardState{});
    rig.stop();
  }
}

TEST(LogFormat, SegmentsThatAreMissingAreNoticed) {
  SharedLogRig rig(6);
  rig.options.segment_bytes = 500;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  for (Index index = 1; index <= 30; ++index) {
    ASSERT_TRUE(rig.append(1, 1, index, {std::string(200, 'x')}).ok());
  }
  rig.stop();
  const std::vector<std::string> paths = rig.segments();
  ASSERT_GT(paths.size(), 5u);
  const std::string middle = rig.contents(paths[2]);
  ASSERT_TRUE(rig.files().remove(paths[2]).ok());
  const Status opened = rig.open();
  EXPECT_EQ(opened.code(), Code::kCorrupt);
  EXPECT_NE(opened.error().message().find("0000000000000003.raftlog is missing"), std::string::npos)
      << opened.error().message();
  // Another's contents under its name.
  rig.put(paths[2], rig.contents(paths[3]));
  EXPECT_EQ(rig.open().code(), Code::kCorrupt);
  rig.put(paths[2], middle);
  ASSERT_TRUE(rig.open().ok());
  EXPECT_EQ(rig.recovered.at({1}).log.last().index, 30u);
}

TEST(LogFormat, DamageUnderARunningLogIsNeverServed) {
  SharedLogRig rig(7);
  const env::sim::WorldLog quiet(rig.world, [](void*, std::string_view) {});
  rig.options.segment_bytes = 5000;
  rig.options.cache_bytes = 0;
  rig.options.prepared_ahead = 0;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  for (Index index = 1; index <= 100; ++index) {
    ASSERT_TRUE(rig.append(1, 1, index, {std::string(index, static_cast<char>(index))}).ok());
  }
  Prng random(7);
  u64 noticed = 0;
  for (int i = 0; i < 500; ++i) {
    const std::vector<std::string> paths = rig.segments();
    const std::string& path = paths[random.below(paths.size())];
    const u64 offset = random.below(rig.contents(path).size());
    const u32 bit = static_cast<u32>(random.below(8));
    ASSERT_TRUE(rig.node.disk().corrupt(path, offset, bit).ok());
    for (Index next = 1; next <= 100;) {
      const auto got = rig.fetch(1, next, 100, random.between(1, 3000));
      if (!got.ok()) {
        ++noticed;
        EXPECT_EQ(got.code(), Code::kCorrupt);
        EXPECT_NE(got.error().message().find(path), std::string::npos);
        break;
      }
      for (const Entry& entry : *got) {
        EXPECT_EQ(entry.index, next);
        EXPECT_EQ(entry.payload.text(), std::string(next, static_cast<char>(next)));
        ++next;
      }
    }
    ASSERT_TRUE(rig.node.disk().corrupt(path, offset, bit).ok());
  }
  EXPECT_GT(noticed, 400u);
}

// What is damaged is not copied either: its segment stays.
TEST(LogFormat, DamageIsNotCopied) {
  SharedLogRig rig(8);
  const env::sim::WorldLog quiet(rig.world, [](void*, std::string_view) {});
  rig.options.segment_bytes = 5000;
  rig.options.cache_bytes = 0;
  ASSERT_TRUE(rig.open().ok());
  ASSERT_TRUE(rig.create(1).ok());
  ASSERT_TRUE(rig.create(2).ok());
  ASSERT_TRUE(rig.append(1, 1, 1, {"idle one", "idle two"}).ok());
  const std::string path = rig.segments()[0];
  const std::string bytes = rig.contents(path);
  ASSERT_TRUE(rig.node.disk().corrupt(path, bytes.find("idle two"), 1).ok());
  for (Index index = 1; index <= 200; ++index) {
    ASSERT_TRUE(rig.append(2, 1, index, {std::string(300, 'x')}).ok());
    ASSERT_TRUE(rig.log->compact({2}, index).ok());
  }
  rig.world.run_for(seconds(5));
  EXPECT_EQ(rig.segments()[0], path);
  EXPECT_EQ(rig.text_of(1, 1, 1), "1:idle one");
  EXPECT_EQ(rig.fetch(1, 2, 2).code(), Code::kCorrupt);
  ASSERT_TRUE(rig.node.disk().corrupt(path, bytes.find("idle two"), 1).ok());
  rig.world.run_for(seconds(5));
  EXPECT_NE(rig.segments()[0], path);
  EXPECT_EQ(rig.text_of(1, 1, 2), "1:idle one 1:idle two");
}

TEST(LogFormat, ASummaryComesBackFromItsBytes) {
  LogSummary summary(first_members());
  for (Index index = 1; index <= 40; ++index) {
    Entry entry = make_entry(1 + index / 9, index, "x");
    if (index % 13 == 0) {
      entry.kind = EntryKind::configuration;
      entry.payload = encode(first_members({index, index + 1}).configuration);
    }
    ASSERT_TRUE(summary.append(entry).ok());
  }
  summary.compact(5);
  const HardState hard_state{.term = {9}, .vote = {1}, .commit = 30};
  const std::string bytes = encode_state(hard_state, summary);
  const auto back = decode_state(as_bytes_of(std::string_view(bytes)));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->hard_state, hard_state);
  EXPECT_EQ(encode_state(back->hard_state, back->summary), bytes);
  for (Index index = 5; index <= 40; ++index) {
    EXPECT_EQ(back->summary.describe(index), summary.describe(index));
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(decode_state(as_bytes_of(std::string_view(bytes).substr(0, size))).code(),
              Code::kCorrupt);
  }
}

}  // namespace
}  // namespace pangu::raft
