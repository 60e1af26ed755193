#include "env/conformance.h"

// What every Env does with files.
namespace pangu::env::conformance {
namespace {

constexpr OpenOptions kCreate{.create = true};
constexpr OpenOptions kCreateDirect{.create = true, .direct = true};

TEST_P(Conformance, FileKeepsWhatWasWritten) {
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  File& file = **opened;
  Aligned out(64 * kKiB);
  out.fill(1);
  EXPECT_EQ(write_now(world(), file, 0, out.bytes()), 64 * 1024);
  EXPECT_EQ(flush_now(world(), file), 0);
  EXPECT_EQ(file.size(), 64 * kKiB);
  Aligned in(64 * kKiB);
  EXPECT_EQ(read_now(world(), file, 0, in.bytes()), 64 * 1024);
  EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
  // A part in the middle.
  Aligned part(4096);
  EXPECT_EQ(read_now(world(), file, 8192, part.bytes()), 4096);
  EXPECT_EQ(std::memcmp(part.data(), out.data() + 8192, 4096), 0);
}

TEST_P(Conformance, DurableWriteIsReadBack) {
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Aligned out(8192);
  out.fill(2);
  EXPECT_EQ(write_now(world(), **opened, 4096, out.bytes(), Durability::durable_write), 8192);
  Aligned in(8192);
  EXPECT_EQ(read_now(world(), **opened, 4096, in.bytes()), 8192);
  EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
}

TEST_P(Conformance, AlignmentIsAPowerOfTwoThatUnitsSatisfy) {
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const u32 alignment = (*opened)->alignment();
  EXPECT_TRUE(std::has_single_bit(alignment));
  EXPECT_LE(alignment, 4096u);
  // Exactly that much is enough.
  Aligned out(4096);
  out.fill(3);
  EXPECT_EQ(write_now(world(), **opened, alignment, out.part(0, alignment)), alignment);
  Aligned in(4096);
  EXPECT_EQ(read_now(world(), **opened, alignment, in.part(0, alignment)), alignment);
  EXPECT_EQ(std::memcmp(in.data(), out.data(), alignment), 0);
}

TEST_P(Conformance, ReadStopsAtTheEndOfTheFile) {
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Aligned out(8192);
  out.fill(4);
  ASSERT_EQ(write_now(world(), **opened, 0, out.bytes()), 8192);
  Aligned in(16384);
  EXPECT_EQ(read_now(world(), **opened, 4096, in.bytes()), 4096);
  EXPECT_EQ(std::memcmp(in.data(), out.data() + 4096, 4096), 0);
  EXPECT_EQ(read_now(world(), **opened, 8192, in.bytes()), 0);
}

TEST_P(Conformance, ManyWritesInFlightAtOnce) {
  constexpr size_t kCount = 300;
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  ASSERT_TRUE((*opened)->resize(kCount * 4096).ok());
  Aligned out(kCount * 4096);
  out.fill(5);
  std::vector<Waited> ops(kCount);
  size_t finished = 0;
  for (size_t i = 0; i < kCount; ++i) {
    (*opened)->write(ops[i], i * 4096, out.part(i * 4096, 4096), Durability::volatile_write, -1);
  }
  EXPECT_TRUE(world().run_until([&] {
    finished = static_cast<size_t>(
        std::count_if(ops.begin(), ops.end(), [](const Waited& op) { return op.finished; }));
    return finished == kCount;
  }));
  for (const Waited& op : ops) {
    EXPECT_EQ(op.result, 4096);
  }
  Aligned in(kCount * 4096);
  EXPECT_EQ(read_now(world(), **opened, 0, in.bytes()), static_cast<i64>(in.size()));
  EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
}

TEST_P(Conformance, RegisteredMemoryIsWrittenLikeAnyOther) {
  Aligned memory(64 * kKiB);
  memory.fill(6);
  const i32 slot = env().register_memory(memory.data(), memory.size());
  EXPECT_GE(slot, -1);
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(
      write_now(world(), **opened, 0, memory.part(4096, 8192), Durability::durable_write, slot),
      8192);
  EXPECT_EQ(read_now(world(), **opened, 0, memory.part(16384, 8192)), 8192);
  EXPECT_EQ(std::memcmp(memory.data() + 4096, memory.data() + 16384, 8192), 0);
  // Memory from elsewhere on the same file.
  Aligned other(8192);
  EXPECT_EQ(read_now(world(), **opened, 0, other.bytes()), 8192);
  EXPECT_EQ(std::memcmp(memory.data() + 4096, other.data(), 8192), 0);
}

TEST_P(Conformance, OpenSaysWhatIsWrong) {
  EXPECT_EQ(files().open(path("absent"), {}).code(), Code::kNotFound);
  EXPECT_EQ(files().open(path("no/such/folder"), kCreate).code(), Code::kNotFound);
  ASSERT_TRUE(files().open(path("there"), kCreate).ok());
  EXPECT_TRUE(files().open(path("there"), kCreate).ok());
  const OpenOptions exclusive{.create = true, .exclusive = true};
  const auto again = files().open(path("there"), exclusive);
  ASSERT_EQ(again.code(), Code::kAlreadyExists);
  EXPECT_NE(again.error().message().find("there"), std::string::npos) << again.error().message();
}

TEST_P(Conformance, ReadOnlyFileRefusesWrites) {
  ASSERT_TRUE(files().replace_file(path("data"), std::string(4096, 'x')).ok());
  const OpenOptions read_only{.read_only = true, .direct = true};
  auto opened = files().open(path("data"), read_only);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Aligned bytes(4096);
  EXPECT_EQ(read_now(world(), **opened, 0, bytes.bytes()), 4096);
  EXPECT_EQ(static_cast<char>(bytes.data()[4095]), 'x');
  EXPECT_LT(write_now(world(), **opened, 0, bytes.bytes()), 0);
  EXPECT_FALSE((*opened)->resize(8192).ok());
}

TEST_P(Conformance, ResizeExtendsWithZeroesAndCuts) {
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ((*opened)->size(), 0u);
  ASSERT_TRUE((*opened)->resize(12288).ok());
  EXPECT_EQ((*opened)->size(), 12288u);
  Aligned bytes(12288);
  bytes.fill(7);
  EXPECT_EQ(read_now(world(), **opened, 0, bytes.bytes()), 12288);
  EXPECT_TRUE(std::all_of(bytes.data(), bytes.data() + 12288,
                          [](std::byte each) { return each == std::byte{0}; }));
  ASSERT_TRUE((*opened)->resize(4096).ok());
  EXPECT_EQ((*opened)->size(), 4096u);
  EXPECT_EQ(read_now(world(), **opened, 0, bytes.bytes()), 4096);
}

TEST_P(Conformance, LockKeepsOthersOutUntilClosed) {
  const OpenOptions locked{.create = true, .lock = true};
  auto first = files().open(path("disk"), locked);
  ASSERT_TRUE(first.ok()) << first.error().message();
  const auto second = files().open(path("disk"), locked);
  ASSERT_EQ(second.code(), Code::kInUse);
  EXPECT_NE(second.error().message().find("disk"), std::string::npos) << second.error().message();
  EXPECT_TRUE(files().open(path("disk"), {}).ok()) << "without lock it may be opened";
  first->reset();
  EXPECT_TRUE(files().open(path("disk"), locked).ok());
}

TEST_P(Conformance, ReplaceFileReplacesAll) {
  ASSERT_TRUE(files().replace_file(path("identity"), "first version, the longer one").ok());
  ASSERT_TRUE(files().replace_file(path("identity"), "second").ok());
  auto text = files().read_file(path("identity"));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "second");
  auto names = files().list(world().scratch_dir());
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(*names, std::vector<std::string>{"identity"}) << "no temporary file is left";
  EXPECT_FALSE(files().replace_file(path("absent/identity"), "x").ok());
}

TEST_P(Conformance, NamesCanBeMadeListedAndRemoved) {
  ASSERT_TRUE(files().make_directories(path("a/b/c")).ok());
  ASSERT_TRUE(files().make_directories(path("a/b/c")).ok()) << "there already is fine";
  ASSERT_TRUE(files().replace_file(path("a/b/z"), "").ok());
  ASSERT_TRUE(files().replace_file(path("a/b/a"), "").ok());
  auto names = files().list(path("a/b"));
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(*names, (std::vector<std::string>{"a", "c", "z"}));
  EXPECT_TRUE(files().exists(path("a/b/z")));
  ASSERT_TRUE(files().remove(path("a/b/z")).ok());
  EXPECT_FALSE(files().exists(path("a/b/z")));
  EXPECT_EQ(files().remove(path("a/b/z")).code(), Code::kNotFound);
  EXPECT_EQ(files().read_file(path("a/b/z")).code(), Code::kNotFound);
  EXPECT_EQ(files().list(path("nowhere")).code(), Code::kNotFound);
}

// Writes ten blocks one after another, each from inside the done of the one before.
struct Chain : Operation {
  File* file = nullptr;
  MutableBytes block;
  u64 next = 0;
  i64 bad = 0;
  void start() {
    done = [](Operation* op, i64 result) noexcept {
      auto* self = static_cast<Chain*>(op);
      self->bad += result != 4096;
      if (++self->next < 10) {
        self->file->write(*op, self->next * 4096, self->block, Durability::volatile_write, -1);
      }
    };
    file->write(*this, 0, block, Durability::volatile_write, -1);
  }
};

TEST_P(Conformance, OperationsMayBeStartedInsideDone) {
  auto opened = files().open(path("data"), kCreateDirect);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Aligned block(4096);
  Chain chain;
  chain.file = opened->get();
  chain.block = block.bytes();
  chain.start();
  EXPECT_TRUE(world().run_until([&] { return chain.next == 10; }));
  EXPECT_EQ(chain.bad, 0);
  EXPECT_EQ((*opened)->size(), 40960u);
}

TEST_P(Conformance, DoneIsNeverCalledFromTheStartingCall) {
  auto opened = files().open(path("data"), kCreate);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Aligned block(4096);
  Waited write;
  Waited flush;
  (*opened)->write(write, 0, block.bytes(), Durability::volatile_write, -1);
  EXPECT_FALSE(write.finished);
  (*opened)->flush(flush);
  EXPECT_FALSE(flush.finished);
  EXPECT_EQ(finish(world(), write), 4096);
  EXPECT_EQ(finish(world(), flush), 0);
}

}  // namespace
}  // namespace pangu::env::conformance
