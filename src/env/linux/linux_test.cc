#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include "base/prng.h"
#include "base/reached.h"
#include "env/conformance.h"
#include "env/linux/device.h"
#include "env/linux/linux_env.h"
#include "env/linux/log_thread.h"
#include "env/linux/periodic_thread.h"
#include "env/linux/sockets.h"
#include "env/linux/test_world.h"

// What only the real Envs have: the pieces they are made of, their limits, and the system around.
namespace pangu::env {
namespace {

using conformance::Aligned;
using conformance::Connection;
using conformance::finish;
using conformance::read_now;
using conformance::Waited;
using conformance::write_now;

class LinuxTest : public testing::TestWithParam<EnvKind> {
 protected:
  void SetUp() override {
    if (!make_env(GetParam()).ok()) {
      GTEST_SKIP() << "forbidden here";
    }
    world_ = std::make_unique<LinuxWorld>(GetParam());
  }
  LinuxWorld& world() { return *world_; }
  Env& env() { return world_->env(); }
  std::string path(std::string_view name) {
    return world_->scratch_dir() + "/" + std::string(name);
  }

 private:
  std::unique_ptr<LinuxWorld> world_;
};
INSTANTIATE_TEST_SUITE_P(Linux, LinuxTest, testing::Values(EnvKind::epoll, EnvKind::io_uring),
                         [](const auto& info) {
                           return info.param == EnvKind::epoll ? "epoll" : "io_uring";
                         });

u64 reached(std::string_view name) {
  struct Search {
    std::string_view name;
    u64 count = 0;
  } search{name};
  for_each_reached_mark(
      [](void* context, const ReachedMark& mark) {
        auto* wanted = static_cast<Search*>(context);
        wanted->count += mark.name == wanted->name ? *mark.count : 0;
      },
      &search);
  return search.count;
}

// ---- limits

// More requests than the submission queue, and more answers than the completion queue, can hold.
TEST_P(LinuxTest, MoreInFlightThanTheQueuesHold) {
  constexpr size_t kCount = 10'000;
  auto file = env().files().open(path("data"), {.create = true});
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->resize(kCount * 8).ok());
  std::vector<u64> out(kCount);
  std::vector<Waited> ops(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    out[i] = hash64(i);
    (*file)->write(ops[i], i * 8, Bytes(reinterpret_cast<const std::byte*>(&out[i]), 8),
                   Durability::volatile_write, -1);
  }
  EXPECT_TRUE(world().run_until([&] {
    return std::all_of(ops.begin(), ops.end(), [](const Waited& op) { return op.finished; });
  }));
  for (const Waited& op : ops) {
    EXPECT_EQ(op.result, 8);
  }
  std::vector<u64> in(kCount);
  const MutableBytes into(reinterpret_cast<std::byte*>(in.data()), kCount * 8);
  EXPECT_EQ(read_now(world(), **file, 0, into), static_cast<i64>(kCount * 8));
  EXPECT_EQ(in, out);
  if (GetParam() == EnvKind::io_uring) {
    EXPECT_GT(reached("io_uring: submission queue full"), 0u);
  }
}

TEST_P(LinuxTest, AFullDeviceSaysSo) {
  auto full = env().files().open("/dev/full", {});
  ASSERT_TRUE(full.ok()) << full.error().message();
  Aligned bytes(4096);
  EXPECT_EQ(write_now(world(), **full, 0, bytes.bytes()), -ENOSPC);
  EXPECT_EQ(error_from_errno(ENOSPC, "x").code(), Code::kNoSpace);
}

TEST_P(LinuxTest, AnImpossibleOffsetIsAnError) {
  auto file = env().files().open(path("data"), {.create = true});
  ASSERT_TRUE(file.ok());
  Aligned bytes(4096);
  EXPECT_LT(write_now(world(), **file, u64{1} << 63, bytes.bytes()), 0);
  EXPECT_LT(read_now(world(), **file, u64{1} << 63, bytes.bytes()), 0);
}

TEST_P(LinuxTest, MemoryRegistrationMayBeRefusedAndUndone) {
  Aligned memory(8 * kMiB);
  const i32 slot = env().register_memory(memory.data(), memory.size());
  EXPECT_EQ(env().register_memory(memory.data(), 0), -1);
  EXPECT_EQ(env().register_memory(memory.data(), 2 * kGiB), -1);
  if (slot < 0) {
    GTEST_SKIP() << "not supported or beyond the memory-lock limit";
  }
  auto file = env().files().open(path("data"), {.create = true, .direct = true});
  ASSERT_TRUE(file.ok());
  memory.fill(1);
  EXPECT_EQ(
      write_now(world(), **file, 0, memory.part(kMiB, kMiB), Durability::volatile_write, slot),
      static_cast<i64>(kMiB));
  env().unregister_memory(slot);
  // A stale slot number does no harm.
  EXPECT_EQ(
      write_now(world(), **file, 0, memory.part(kMiB, kMiB), Durability::volatile_write, slot),
      static_cast<i64>(kMiB));
  EXPECT_EQ(env().register_memory(memory.data(), memory.size()), slot) << "the slot is free again";
}

TEST_P(LinuxTest, BuiltUsedAndDestroyedOnDifferentThreads) {
  std::unique_ptr<Env> made;
  std::thread([&] { made = std::move(*make_env(GetParam())); }).join();
  Waited work;
  std::thread user([&] {
    work.run = [](BackgroundOperation*) {};
    made->run_in_background(work);
    while (!work.finished) {
      made->wait(Instant::never());
    }
    made->wait(made->now() + milliseconds(1));
  });
  user.join();
  EXPECT_TRUE(work.finished);
  made.reset();
  // This thread's own Env still works.
  Waited own;
  own.run = [](BackgroundOperation*) {};
  env().run_in_background(own);
  EXPECT_EQ(finish(world(), own), 0);
}

TEST_P(LinuxTest, RandomTransfersArriveWhole) {
  const u64 seed = 20260722;
  Prng prng(seed);
  Connection pair(world());
  Aligned out(kMiB);
  out.fill(seed);
  for (int round = 0; round < 60; ++round) {
    const size_t total = 1 + prng.below(u64{1} << prng.between(3, 20));
    const auto cut = [&](Aligned& memory, size_t pieces_max) {
      std::vector<iovec> pieces;
      size_t at = 0;
      while (at < total) {
        const bool last = pieces.size() + 1 == pieces_max;
        const size_t size = last ? total - at : prng.below(total - at + 1);
        pieces.push_back(memory.piece(at, size));
        at += size;
      }
      return pieces;
    };
    Aligned in(kMiB);
    const auto from = cut(out, 1 + prng.below(40));
    const auto into = cut(in, 1 + prng.below(kPiecesMax));
    Waited send;
    Waited receive;
    pair.client->send(send, from);
    pair.server->receive(receive, into);
    EXPECT_EQ(finish(world(), send), static_cast<i64>(total)) << "seed " << seed;
    EXPECT_EQ(finish(world(), receive), static_cast<i64>(total)) << "seed " << seed;
    EXPECT_EQ(std::memcmp(in.data(), out.data(), total), 0) << "seed " << seed;
  }
}

TEST_P(LinuxTest, Ipv6Loopback) {
  auto listener = env().listen(*parse_address("[::1]:0"));
  if (!listener.ok()) {
    GTEST_SKIP() << listener.error().message();
  }
  Waited accepted;
  Waited connected;
  std::unique_ptr<Socket> server;
  std::unique_ptr<Socket> client;
  (*listener)->accept(accepted, server);
  env().connect(connected, (*listener)->address(), client);
  EXPECT_EQ(finish(world(), accepted), 0);
  EXPECT_EQ(finish(world(), connected), 0);
  EXPECT_TRUE(server->peer().is_loopback());
  EXPECT_FALSE(server->peer().is_v4());
}

TEST_P(LinuxTest, DirectoriesAreNoFiles) {
  const auto opened = env().files().open(world().scratch_dir(), {.read_only = true});
  EXPECT_EQ(opened.code(), Code::kInvalidArgument);
  ASSERT_TRUE(env().files().replace_file(path("plain"), "x").ok());
  EXPECT_FALSE(env().files().make_directories(path("plain/below")).ok());
  EXPECT_EQ(env().files().make_directories(path("plain")).code(), Code::kNotDirectory);
}

TEST_P(LinuxTest, LockHolderIsNamed) {
  const OpenOptions locked{.create = true, .lock = true};
  auto first = env().files().open(path("disk"), locked);
  ASSERT_TRUE(first.ok());
  struct stat about{};
  ASSERT_EQ(::stat(path("disk").c_str(), &about), 0);
  const auto second = env().files().open(path("disk"), locked);
  ASSERT_EQ(second.code(), Code::kInUse);
  if (lock_holder(about.st_dev, about.st_ino) != 0) {
    EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string::npos)
        << second.error().message();
  }
}

TEST_P(LinuxTest, WhereDirectAccessIsImpossibleFilesAreBuffered) {
  // /proc has no unbuffered access; a file there is readable all the same.
  auto file = env().files().open("/proc/self/status", {.read_only = true, .direct = true});
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ((*file)->alignment(), 1u);
  EXPECT_TRUE((*file)->volatile_cache()) << "unknown counts as volatile";
}

// ---- choice of the Env

TEST(MakeEnvTest, TheEnvironmentVariableDecides) {
  ASSERT_EQ(::setenv("PANGU_ENV", "epoll", 1), 0);
  auto env = make_env();
  ASSERT_TRUE(env.ok());
  EXPECT_EQ((*env)->name(), "epoll");
  ASSERT_EQ(::setenv("PANGU_ENV", "kqueue", 1), 0);
  const auto wrong = make_env();
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message().find("kqueue"), std::string::npos);
  ASSERT_EQ(::unsetenv("PANGU_ENV"), 0);
  EXPECT_TRUE(make_env().ok());
}

// Forbids io_uring_setup to this process, as container runtimes do.
void forbid_io_uring() {
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_io_uring_setup},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog program{.len = 4, .filter = code};
  CHECK(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

TEST(MakeEnvDeathTest, WhereIoUringIsForbiddenEpollTakesOver) {
  EXPECT_EXIT(
      {
        forbid_io_uring();
        const bool refused = make_env(EnvKind::io_uring).code() == Code::kPermission;
        auto first = make_env();
        auto second = make_env();
        std::_Exit(refused && (*first)->name() == "epoll" && second.ok() ? 7 : 1);
      },
      testing::ExitedWithCode(7), "^warn: io_uring cannot be used [^\n]*\n$");
}

// ---- addresses

TEST(ResolveTest, NumbersNamesAndNonsense) {
  EXPECT_EQ(to_string(*resolve_address("7100")), "127.0.0.1:7100");
  EXPECT_EQ(to_string(*resolve_address("10.1.2.3:80")), "10.1.2.3:80");
  EXPECT_EQ(to_string(*resolve_address("[::1]:80")), "[::1]:80");
  const auto local = resolve_address("localhost:7100");
  ASSERT_TRUE(local.ok());
  EXPECT_TRUE(local->is_loopback());
  EXPECT_EQ(local->port, 7100);
  const auto nobody = resolve_address("no-such-host.invalid:1");
  ASSERT_FALSE(nobody.ok());
  EXPECT_NE(nobody.error().message().find("no-such-host.invalid"), std::string::npos);
  EXPECT_EQ(resolve_address("localhost:port").code(), Code::kInvalidArgument);
  EXPECT_EQ(resolve_address("localhost:70000").code(), Code::kInvalidArgument);
}

TEST(SocketAddressTest, ThereAndBack) {
  for (const char* text : {"127.0.0.1:1", "255.1.2.3:65535", "[::1]:7", "[2001:db8::5]:443"}) {
    const Address address = *parse_address(text);
    EXPECT_EQ(from_socket_address(to_socket_address(address)), address) << text;
  }
}

// ---- progress over pieces

TEST(PieceCursorTest, AnyCutGivesTheSameBytesInOrder) {
  const u64 seed = 20260801;
  Prng prng(seed);
  std::string memory(5000, '\0');
  for (char& each : memory) {
    each = static_cast<char>(prng.next());
  }
  for (int round = 0; round < 200; ++round) {
    std::vector<iovec> pieces;
    std::string expected;
    for (u64 i = prng.below(40); i > 0; --i) {
      const size_t size = prng.chance(0.3) ? 0 : prng.below(100);
      const size_t at = prng.below(memory.size() - size);
      pieces.push_back({memory.data() + at, size});
      expected += memory.substr(at, size);
    }
    PieceCursor cursor;
    cursor.start(pieces);
    std::string got;
    while (!cursor.finished()) {
      // What a kernel might do: take some of what it is offered.
      size_t take = 1 + prng.below(150);
      u64 taken = 0;
      const auto offered = cursor.next();
      ASSERT_FALSE(offered.empty());
      ASSERT_GT(offered[0].iov_len, 0u);
      for (const iovec& piece : offered) {
        const size_t size = std::min(take, piece.iov_len);
        got.append(static_cast<char*>(piece.iov_base), size);
        take -= size;
        taken += size;
      }
      cursor.advance(taken);
    }
    EXPECT_EQ(got, expected) << "seed " << seed << " round " << round;
    EXPECT_EQ(cursor.done(), expected.size());
  }
}

// ---- log thread

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::string text;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char piece[4096];
  for (ssize_t got; (got = ::read(fd.get(), piece, sizeof piece)) > 0;) {
    text.append(piece, static_cast<size_t>(got));
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

TEST(LogThreadTest, TimeIsWrittenForPeople) {
  EXPECT_EQ(format_wall_clock(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_wall_clock(1'795'346'157'123'999), "2026-11-22T11:15:57.123Z");
}

TEST(LogThreadTest, LinesOfAllThreadsReachTheFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/log";
  {
    auto log = LogThread::start(path);
    ASSERT_TRUE(log.ok());
    std::vector<std::thread> writers;
    for (int i = 0; i < 4; ++i) {
      writers.emplace_back([i] {
        for (int n = 0; n < 100; ++n) {
          LOG_WARN("writer {} line {}", i, n);
        }
        LOG_DEBUG("not kept");
      });
    }
    for (std::thread& writer : writers) {
      writer.join();
    }
    (*log)->flush();
    EXPECT_EQ(lines_of(path).size(), 400u);
    LOG_ERROR("the last one");
  }
  const auto lines = lines_of(path);
  ASSERT_EQ(lines.size(), 401u);
  EXPECT_EQ(lines.back().substr(24), " error the last one");
  EXPECT_EQ(lines.back()[10], 'T');
  std::map<std::string, int> next;
  for (size_t i = 0; i < 400; ++i) {
    int writer = 0;
    int number = 0;
    ASSERT_EQ(std::sscanf(lines[i].c_str() + 24, " warn writer %d line %d", &writer, &number), 2)
        << lines[i];
    EXPECT_EQ(number, next[std::to_string(writer)]++) << "lines of one thread keep their order";
  }
  LOG_INFO("after the log thread: to stderr");
}

TEST(LogThreadTest, LostLinesAreCounted) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/log";
  auto log = LogThread::start(path);
  ASSERT_TRUE(log.ok());
  const std::string long_line(4000, 'x');
  for (int i = 0; i < 1000; ++i) {
    LOG_WARN("{}", long_line);
  }
  (*log)->flush();
  u64 kept = 0;
  bool told = false;
  for (const std::string& line : lines_of(path)) {
    kept += line.ends_with("xxx");
    told = told || line.find("log lines were lost") != std::string::npos;
  }
  EXPECT_TRUE(told || kept == 1000);
}

TEST(LogThreadTest, AnUnwritablePathIsAnError) {
  EXPECT_EQ(LogThread::start("/nowhere/at/all/log").code(), Code::kNotFound);
}

TEST(PeriodicThreadTest, CallsUntilDestroyed) {
  std::atomic<int> calls{0};
  Instant last;
  {
    const PeriodicThread thread("periodic", microseconds(100), [&](Instant now) {
      EXPECT_GT(now, last);
      last = now;
      ++calls;
    });
    while (calls.load() < 5) {
      std::this_thread::yield();
    }
  }
  const int after = calls.load();
  std::this_thread::yield();
  EXPECT_EQ(calls.load(), after);
}

}  // namespace
}  // namespace pangu::env
