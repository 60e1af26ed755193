#include "chunk/store/writer.h"

#include <gtest/gtest.h>

#include "runtime/fake_env.h"

namespace pangu::chunk {
namespace {

// A file whose operations end when the test says so.
class HeldFile final : public env::File {
 public:
  struct Held {
    env::Operation* op = nullptr;
    char kind = 0;  // w: plain write, d: durable write, f: flush
    i64 result = 0;
  };
  void read(env::Operation&, u64, MutableBytes) override { CHECK(false); }
  void write(env::Operation& op, u64, Bytes from, env::Durability durability, i32) override {
    const bool durable = durability == env::Durability::durable_write;
    held.push_back({&op, durable ? 'd' : 'w', static_cast<i64>(from.size())});
    seen += held.back().kind;
  }
  void flush(env::Operation& op) override {
    held.push_back({&op, 'f', 0});
    seen += 'f';
  }
  u64 size() const override { return 1 << 20; }
  u32 alignment() const override { return 512; }
  bool volatile_cache() const override { return true; }
  Status resize(u64) override { return Code::kUnsupported; }

  std::vector<Held> held;
  std::string seen;  // kinds in the order they were started
};

class WriterTest : public testing::Test {
 protected:
  ~WriterTest() override {
    while (!file_.held.empty()) {
      end(0);
    }
  }
  static Task<void> write(Writer& writer, Bytes bytes, int& finished, Code& code) {
    code = co_await writer.write_durable(0, bytes, -1);
    ++finished;
  }
  void start() {
    codes_.push_back(Code::kInternal);
    reactor_.spawn("write", TaskClass::foreground,
                   write(writer_, bytes_, finished_, codes_.back()));
    run();
  }
  void end(size_t index, i64 result = 1) {
    const HeldFile::Held held = file_.held[index];
    file_.held.erase(file_.held.begin() + static_cast<std::ptrdiff_t>(index));
    held.op->done(held.op, result == 1 ? held.result : result);
    run();
  }
  void run() {
    while (reactor_.turn()) {
    }
  }

  env::FakeEnv env_;
  Reactor reactor_{env_, {}};
  HeldFile file_;
  StoreCounters counters_;
  Writer writer_{file_, false, counters_};
  std::vector<std::byte> bytes_ = std::vector<std::byte>(4096);
  std::deque<Code> codes_;
  int finished_ = 0;
};

TEST_F(WriterTest, AloneIsDurableInItself) {
  start();
  EXPECT_EQ(file_.seen, "d");
  end(0);
  EXPECT_EQ(finished_, 1);
  start();
  EXPECT_EQ(file_.seen, "dd");
  end(0);
  EXPECT_EQ(codes_[1], Code::kOk);
}

TEST_F(WriterTest, SeveralShareOneFlush) {
  for (int i = 0; i < 5; ++i) {
    start();
  }
  EXPECT_EQ(file_.seen, "dwwww");
  end(1);
  end(1);
  end(1);
  EXPECT_EQ(file_.seen, "dwwww") << "no flush before all of them have completed";
  EXPECT_EQ(finished_, 0);
  end(1);
  EXPECT_EQ(file_.seen, "dwwwwf");
  EXPECT_EQ(finished_, 0);
  end(1);
  EXPECT_EQ(finished_, 4);
  end(0);
  EXPECT_EQ(finished_, 5);
  EXPECT_EQ(counters_.flushes, 1u);
}

TEST_F(WriterTest, LateComersDoNotDelayAFlush) {
  start();
  start();
  start();
  end(1);  // the batch is closed now
  start();
  EXPECT_EQ(file_.seen, "dwww");
  end(1);
  EXPECT_EQ(file_.seen, "dwwwf") << "the fourth is not waited for";
  end(1);  // the fourth's write, while the flush runs: it needs another one
  EXPECT_EQ(finished_, 0);
  end(1);  // the flush
  EXPECT_EQ(finished_, 2);
  EXPECT_EQ(file_.seen, "dwwwff");
  end(1);
  EXPECT_EQ(finished_, 3);
}

TEST_F(WriterTest, AWriteDuringAFlushWaitsForTheNextOne) {
  start();
  start();
  end(1);
  EXPECT_EQ(file_.seen, "dwf");
  start();
  end(2);
  EXPECT_EQ(finished_, 0);
  end(1);
  EXPECT_EQ(finished_, 1);
  EXPECT_EQ(file_.seen, "dwfwf");
  end(1);
  EXPECT_EQ(finished_, 2);
  end(0);
  EXPECT_EQ(finished_, 3);
}

TEST_F(WriterTest, AFailedFlushFailsAllThatFollows) {
  start();
  start();
  start();
  end(1);
  end(1);
  end(1, -EIO);
  EXPECT_EQ(finished_, 2);
  EXPECT_EQ(codes_[1], Code::kDeviceFailed);
  EXPECT_EQ(codes_[2], Code::kDeviceFailed);
  end(0);
  EXPECT_EQ(codes_[0], Code::kDeviceFailed);
  start();
  EXPECT_EQ(codes_[3], Code::kDeviceFailed);
  EXPECT_TRUE(file_.held.empty());
}

TEST_F(WriterTest, NoSpaceHurtsOnlyItself) {
  start();
  start();
  start();
  end(1, -ENOSPC);
  EXPECT_EQ(codes_[1], Code::kNoSpace);
  end(1);
  EXPECT_EQ(file_.seen, "dwwf");
  end(1);
  end(0);
  EXPECT_EQ(codes_[0], Code::kOk);
  EXPECT_EQ(codes_[2], Code::kOk);
}

TEST_F(WriterTest, AShortWriteGoesOn) {
  start();
  end(0, 1024);
  EXPECT_EQ(finished_, 0);
  EXPECT_EQ(file_.seen, "dd");
  end(0);
  EXPECT_EQ(codes_[0], Code::kOk);
}

}  // namespace
}  // namespace pangu::chunk
