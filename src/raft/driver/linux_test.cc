#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "env/linux/linux_env.h"
#include "raft/driver/testing/real_hosts.h"

// Hosts on real sockets and files, in real time, with each Env that this machine allows.
namespace pangu::raft::testing {
namespace {

Task<void> propose_some(Reactor& reactor, Replica& replica, u64 count) {
  for (u64 i = 0; i < count; ++i) {
    auto index = co_await replica.propose(std::string(100, 'x'), reactor.now() + seconds(10));
    CHECK_NOTE(index.ok(), index.ok() ? "" : index.error().message());
  }
}

Task<void> propose_many(Reactor& reactor, Replica& replica, u64 clients, u64 each) {
  Gate gate;
  for (u64 i = 0; i < clients; ++i) {
    gate.spawn(reactor, "client", TaskClass::foreground, propose_some(reactor, replica, each));
  }
  co_await gate.close();
}

// Three elect and commit; the leader stops; the others go on; all start again with what they had.
Task<void> life(Reactor& reactor, std::string folder) {
  {
    RealHosts cluster(reactor, 3, folder);
    const Status started = co_await cluster.start();
    CHECK_NOTE(started.ok(), started.ok() ? "" : started.error().message());
    Replica* leader = co_await cluster.wait_leader(reactor.now() + seconds(20));
    CHECK(leader != nullptr);
    co_await propose_many(reactor, *leader, 20, 10);
    RealHost* gone = nullptr;
    for (RealHost& each : cluster.hosts) {
      gone = each.replica == leader ? &each : gone;
    }
    co_await cluster.stop(*gone);
    leader = co_await cluster.wait_leader(reactor.now() + seconds(20));
    CHECK(leader != nullptr);
    co_await propose_many(reactor, *leader, 20, 10);
    const Status read = co_await leader->read_barrier(reactor.now() + seconds(10));
    EXPECT_TRUE(read.ok());
    for (RealHost& each : cluster.hosts) {
      if (each.replica == leader) {
        EXPECT_EQ(each.counter.commands, 400u);
      }
    }
    for (RealHost& each : cluster.hosts) {
      if (&each != gone) {
        co_await cluster.stop(each);
      }
    }
  }
  RealHosts cluster(reactor, 3, folder);
  const Status started = co_await cluster.start();
  CHECK_NOTE(started.ok(), started.ok() ? "" : started.error().message());
  Replica* leader = co_await cluster.wait_leader(reactor.now() + seconds(20));
  CHECK(leader != nullptr);
  co_await propose_some(reactor, *leader, 1);
  for (RealHost& each : cluster.hosts) {
    const Status read = co_await each.replica->read_barrier(reactor.now() + seconds(20));
    EXPECT_TRUE(read.ok());
    EXPECT_EQ(each.counter.commands, 401u);
  }
  for (RealHost& each : cluster.hosts) {
    co_await cluster.stop(each);
  }
}

class LinuxHosts : public ::testing::TestWithParam<env::EnvKind> {};

TEST_P(LinuxHosts, LiveDieAndStartAgain) {
  auto world = env::make_env(GetParam());
  if (!world.ok()) {
    GTEST_SKIP() << world.error().message();
  }
  std::string folder = (std::filesystem::temp_directory_path() / "raft-hosts-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  {
    Reactor reactor(**world, ReactorOptions{});
    run_blocking(reactor, life(reactor, folder));
  }
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Kinds, LinuxHosts,
                         ::testing::Values(env::EnvKind::io_uring, env::EnvKind::epoll),
                         [](const auto& info) {
                           return info.param == env::EnvKind::io_uring ? "uring" : "epoll";
                         });

}  // namespace
}  // namespace pangu::raft::testing
