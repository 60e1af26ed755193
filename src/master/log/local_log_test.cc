#include "master/log/local_log.h"

#include <gtest/gtest.h>
#include <map>
#include <set>

#include "base/prng.h"
#include "env/sim/world.h"
#include "runtime/await.h"

namespace pangu::master {
namespace {

constexpr Uuid kLog{.high = 1, .low = 2};
const std::string kFolder = "/log";

// Keeps what is delivered, in memory.
class Recorder final : public CommandLog::Consumer {
 public:
  Task<Status> apply(u64 index, std::string command) override {
    EXPECT_EQ(index, first_index + commands.size());
    commands.push_back(std::move(command));
    if (slow.ns > 0) {
      co_await sleep_for(slow);
    }
    co_return fail ? Status(Error(Code::kIoError, "the store failed")) : ok_status();
  }
  u64 first_index = 1;
  std::vector<std::string> commands;
  Duration slow;
  bool fail = false;
};

// One process with a log, on a simulated node.
class LogHost {
 public:
  explicit LogHost(u64 seed) : world(seed), node(world.add_node("master")) {
    boot();
    CHECK(node.env().files().make_directories(kFolder).ok());
  }
  ~LogHost() {
    if (log) {
      stop();
    }
    if (node.up()) {
      node.env().detach();
    }
  }
  void boot() {
    reactor = std::make_unique<Reactor>(node.env(), ReactorOptions{});
    node.env().attach(*reactor);
  }
  template <class T>
  T run(Task<T> task) {
    std::optional<T> value;
    bool finished = false;
    reactor->spawn("test", TaskClass::foreground,
                   detail::store_result<T>(std::move(task), value, finished));
    CHECK(world.run_until([&] { return finished; }, world.now() + seconds(1000)));
    return std::move(*value);
  }
  Status open(u64 applied = 0) {
    recorder = {};
    recorder.first_index = applied + 1;
    options.directory = kFolder;
    options.log = kLog;
    log = std::make_unique<LocalLog>(*reactor, options);
    Status opened = run(log->open(applied, recorder));
    if (!opened.ok()) {
      log.reset();
    }
    return opened;
  }
  void stop() {
    run(stopped(*log));
    log.reset();
  }
  static Task<Unit> stopped(LocalLog& log) {
    co_await log.stop();
    co_return Unit{};
  }
  Result<u64> propose(std::string command, Duration within = seconds(100)) {
    return run(log->propose(std::move(command), reactor->now() + within));
  }
  // Starts a proposal and lets it run; its result is added to `results` under its command.
  void propose_later(std::string command, Duration within = seconds(100)) {
    reactor->spawn("test", TaskClass::foreground,
                   remember(*this, std::move(command), reactor->now() + within));
  }
  static Task<void> remember(LogHost& host, std::string command, Instant deadline) {
    const std::string name = command;
    auto result = co_await host.log->propose(std::move(command), deadline);
    host.results.emplace(name, std::move(result));
  }
  void crash(env::sim::Crash how) {
    node.crash(how);
    reactor->abandon();
    log.reset();
    reactor.reset();
    node.restart();
    boot();
  }
  // Without the zeroes ahead of the records.
  std::string records_of(const std::string& path) {
    const std::string bytes = *node.env().files().read_file(path);
    const auto header = decode_segment_header(path, kLog, as_bytes_of(std::string_view(bytes)));
    return bytes.substr(0, scan_segment(*header, as_bytes_of(std::string_view(bytes))).end);
  }
  std::string only_segment() {
    const auto names = *node.env().files().list(kFolder);
    CHECK(names.size() == 1);
    return kFolder + "/" + names[0];
  }

  env::sim::World world;
  env::sim::Node& node;
  std::unique_ptr<Reactor> reactor;
  Recorder recorder;
  LocalLogOptions options;
  std::unique_ptr<LocalLog> log;
  std::map<std::string, Result<u64>> results;
};

// What version 1 wrote stays readable, byte for byte.
constexpr std::string_view kGolden =
    "50474c470100000001000000000000000200000000000000010000000000000000000000b2fdfde5"
    "50474c430100000005000000c9899da7010000000000000001000000000000000000000000000000"
    "0000000000000000666972737400000050474c43010000000a00000093b250090200000000000000"
    "01000000000000000000000000000000c9899da7000000007365636f6e64206f6e65000000000000"
    "50474c4301000000000000005ad1e44b030000000000000001000000000000000200000000000000"
    "93b2500900000000";

std::string from_hex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

TEST(LocalLog, VersionOneIsReadAndWrittenAsEver) {
  LogHost host(14);
  ASSERT_TRUE(host.node.env()
                  .files()
                  .replace_file(kFolder + "/0000000000000001.log", from_hex(kGolden))
                  .ok());
  ASSERT_TRUE(host.open().ok());
  EXPECT_EQ(host.recorder.commands, (std::vector<std::string>{"first", "second one", ""}));
  std::string written = encode_segment_header(kLog, 1, 0);
  u32 crc = append_record(written, 1, 0, 0, "first");
  crc = append_record(written, 2, 0, crc, "second one");
  append_record(written, 3, 2, crc, "");
  EXPECT_EQ(written, from_hex(kGolden));
}

TEST(LocalLog, CommandsComeBackAfterARestart) {
  LogHost host(1);
  ASSERT_TRUE(host.open().ok());
  std::vector<std::string> expected;
  for (u64 i = 1; i <= 20; ++i) {
    expected.push_back(std::string(i * 7, static_cast<char>('a' + i)));
    EXPECT_EQ(*host.propose(expected.back()), i);
  }
  host.stop();
  EXPECT_EQ(host.recorder.commands, expected);
  ASSERT_TRUE(host.open().ok());
  EXPECT_EQ(host.recorder.commands, expected);
  EXPECT_EQ(*host.propose("next"), 21u);
  host.stop();
  // From where the store already is.
  ASSERT_TRUE(host.open(20).ok());
  EXPECT_EQ(host.recorder.commands, std::vector<std::string>{"next"});
  EXPECT_EQ(host.log->committed(), 21u);
}

TEST(LocalLog, ProposalsThatWaitShareOneWrite) {
  LogHost host(2);
  ASSERT_TRUE(host.open().ok());
  for (int i = 0; i < 1000; ++i) {
    host.propose_later("c" + std::to_string(i));
  }
  EXPECT_TRUE(host.run(host.log->read_barrier(Instant::never())).ok());
  ASSERT_TRUE(host.world.run_until([&] { return host.results.size() == 1000; },
                                   host.world.now() + seconds(10)));
  EXPECT_LE(host.log->counters().writes, 4u);
  host.stop();
  EXPECT_EQ(host.recorder.commands.size(), 1000u);
}

TEST(LocalLog, SegmentsAreCutOnceTheyAreNotNeeded) {
  LogHost host(3);
  host.options.segment_bytes = 1000;
  ASSERT_TRUE(host.open().ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(host.propose(std::string(100, 'x')).ok());
  }
  const u64 all = host.log->stored_bytes();
  ASSERT_TRUE(host.log->truncate_prefix(50).ok());
  EXPECT_LT(host.log->stored_bytes(), all * 6 / 10);
  EXPECT_GT(host.log->counters().segments_removed, 3u);
  host.stop();
  ASSERT_TRUE(host.open(50).ok());
  EXPECT_EQ(host.recorder.commands.size(), 50u);
  ASSERT_TRUE(host.log->truncate_prefix(100).ok());
  EXPECT_EQ(*host.propose("y"), 101u);
  host.stop();
  const Status missing = host.open(20);
  EXPECT_EQ(missing.code(), Code::kCorrupt);
  EXPECT_NE(missing.error().message().find("commands between are missing"), std::string::npos)
      << missing.error().message();
  const Status beyond = host.open(200);
  EXPECT_EQ(beyond.code(), Code::kCorrupt);
  EXPECT_NE(beyond.error().message().find("ends at command 101"), std::string::npos)
      << beyond.error().message();
}

TEST(LocalLog, AWholeSegmentThatIsGoneIsNoticed) {
  LogHost host(4);
  host.options.segment_bytes = 500;
  ASSERT_TRUE(host.open().ok());
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(host.propose(std::string(100, 'x')).ok());
  }
  host.stop();
  const auto names = *host.node.env().files().list(kFolder);
  ASSERT_GT(names.size(), 4u);
  ASSERT_TRUE(host.node.env().files().remove(kFolder + "/" + names[2]).ok());
  EXPECT_EQ(host.open().code(), Code::kCorrupt);
  for (const std::string& name : names) {
    static_cast<void>(host.node.env().files().remove(kFolder + "/" + name));
  }
  const Status gone = host.open(30);
  EXPECT_EQ(gone.code(), Code::kCorrupt);
  EXPECT_NE(gone.error().message().find("the log is gone"), std::string::npos);
}

TEST(LocalLog, EveryTornTailIsCut) {
  LogHost host(5);
  ASSERT_TRUE(host.open().ok());
  ASSERT_TRUE(host.propose("first").ok());
  ASSERT_TRUE(host.propose("second").ok());
  host.stop();
  const std::string path = host.only_segment();
  const std::string whole = host.records_of(path);
  const u64 second = whole.size() - (48 + 8);
  for (u64 size = second; size < whole.size(); ++size) {
    for (const char filler : {'\0', '\xff'}) {
      std::string torn = whole.substr(0, size);
      torn.resize(filler == '\0' ? size : whole.size(), filler);
      if (torn == whole) {
        continue;
      }
      ASSERT_TRUE(host.node.env().files().replace_file(path, torn).ok());
      ASSERT_TRUE(host.open().ok()) << size;
      // Only the padding may differ.
      if (torn.size() < whole.size() || torn.substr(0, whole.size() - 2) !=
                                            whole.substr(0, whole.size() - 2)) {
        EXPECT_EQ(host.recorder.commands, std::vector<std::string>{"first"}) << size;
        EXPECT_EQ(*host.propose("other"), 2u);
      }
      host.stop();
    }
  }
}

TEST(LocalLog, DamageIsNotATornTail) {
  LogHost host(6);
  ASSERT_TRUE(host.open().ok());
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(host.propose("command " + std::to_string(i)).ok());
  }
  host.stop();
  const std::string path = host.only_segment();
  const std::string whole = host.records_of(path);
  const u64 record = 48 + 16;
  ASSERT_EQ(whole.size(), 40 + 10 * record);
  Prng random(6);
  for (u64 damaged = 0; damaged < 10; ++damaged) {
    for (int i = 0; i < 10; ++i) {
      std::string bytes = whole;
      // Not in the padding, which nothing covers.
      bytes[40 + damaged * record + random.below(48 + 9)] ^= static_cast<char>(
          1 << random.below(8));
      ASSERT_TRUE(host.node.env().files().replace_file(path, bytes).ok());
      const Status opened = host.open();
      if (damaged == 9) {
        // Could be the tear of the last write.
        ASSERT_TRUE(opened.ok());
        EXPECT_EQ(host.recorder.commands.size(), 9u);
        host.stop();
        continue;
      }
      ASSERT_EQ(opened.code(), Code::kCorrupt) << damaged;
      EXPECT_NE(opened.error().message().find(
                    fmt::format("command {} at offset {}", damaged + 1, 40 + damaged * record)),
                std::string::npos)
          << opened.error().message();
      // Refusing changed nothing.
      EXPECT_EQ(*host.node.env().files().read_file(path), bytes);
    }
  }
  for (u64 offset = 0; offset < 40; ++offset) {
    std::string bytes = whole;
    bytes[offset] ^= 0x10;
    ASSERT_TRUE(host.node.env().files().replace_file(path, bytes).ok());
    EXPECT_EQ(host.open().code(), Code::kCorrupt) << offset;
  }
}

TEST(LocalLog, AForeignLogIsRefused) {
  LogHost host(7);
  ASSERT_TRUE(host.open().ok());
  host.stop();
  const std::string path = host.only_segment();
  ASSERT_TRUE(host.node.env()
                  .files()
                  .replace_file(path, encode_segment_header({.high = 9, .low = 9}, 1, 0))
                  .ok());
  EXPECT_EQ(host.open().code(), Code::kWrongCluster);
}

TEST(LocalLog, AFullDiskRefusesLosesNothingAndGoesOn) {
  LogHost host(8);
  host.options.segment_bytes = 64 * kKiB;
  ASSERT_TRUE(host.open().ok());
  host.node.disk().options().capacity = host.node.disk().used() + 300 * kKiB;
  std::vector<std::string> acknowledged;
  std::vector<std::string> refused;
  for (int i = 0; refused.size() < 5; ++i) {
    std::string command = std::to_string(i) + std::string(10'000, 'x');
    const auto proposed = host.propose(command);
    if (proposed.ok()) {
      acknowledged.push_back(command);
      ASSERT_EQ(*proposed, acknowledged.size());
    } else {
      ASSERT_EQ(proposed.code(), Code::kNoSpace) << proposed.error().message();
      refused.push_back(command);
    }
    ASSERT_LT(i, 1000);
  }
  ASSERT_FALSE(acknowledged.empty());
  host.node.disk().options().capacity = 0;
  for (int i = 0; i < 3; ++i) {
    acknowledged.push_back("after" + std::to_string(i));
    EXPECT_EQ(*host.propose(acknowledged.back()), acknowledged.size());
  }
  host.crash(env::sim::Crash::power);
  ASSERT_TRUE(host.open().ok());
  EXPECT_EQ(host.recorder.commands, acknowledged);
}

TEST(LocalLog, AFailedWriteEndsTheLog) {
  LogHost host(9);
  ASSERT_TRUE(host.open().ok());
  ASSERT_TRUE(host.propose("good").ok());
  host.node.disk().fail_next(env::sim::DiskAction::write, 1);
  EXPECT_EQ(host.propose("lost?").code(), Code::kUnknownOutcome);
  const auto later = host.propose("later");
  EXPECT_EQ(later.code(), Code::kIoError);
  EXPECT_NE(later.error().message().find("restarted"), std::string::npos);
  host.stop();
  ASSERT_TRUE(host.open().ok());
  ASSERT_GE(host.recorder.commands.size(), 1u);
  EXPECT_EQ(host.recorder.commands[0], "good");
  EXPECT_TRUE(host.propose("again").ok());
}

TEST(LocalLog, AStuckDiskDoesNotHoldTheCaller) {
  LogHost host(10);
  ASSERT_TRUE(host.open().ok());
  ASSERT_TRUE(host.propose("a").ok());
  host.node.disk().set_stuck(true);
  host.propose_later("writing", milliseconds(100));
  host.world.run_for(milliseconds(1));
  host.propose_later("queued", milliseconds(100));
  host.world.run_for(seconds(1));
  EXPECT_EQ(host.results.at("writing").code(), Code::kUnknownOutcome);
  EXPECT_EQ(host.results.at("queued").code(), Code::kTimeout);
  host.node.disk().set_stuck(false);
  ASSERT_TRUE(host.propose("b").ok());
  host.stop();
  EXPECT_EQ(host.recorder.commands, (std::vector<std::string>{"a", "writing", "b"}));
}

TEST(LocalLog, TooMuchIsRefusedAtOnce) {
  LogHost host(11);
  host.options.queued_bytes_max = 1000;
  ASSERT_TRUE(host.open().ok());
  EXPECT_EQ(host.propose(std::string(kCommandBytesMax + 1, 'x')).code(), Code::kTooLarge);
  for (int i = 0; i < 3; ++i) {
    host.propose_later(std::to_string(i) + std::string(399, 'x'));
  }
  host.world.run_for(seconds(1));
  EXPECT_TRUE(host.results.at("0" + std::string(399, 'x')).ok());
  EXPECT_TRUE(host.results.at("1" + std::string(399, 'x')).ok());
  EXPECT_EQ(host.results.at("2" + std::string(399, 'x')).code(), Code::kBusy);
}

TEST(LocalLog, StopRefusesNewOnesAndDeliversTheRest) {
  LogHost host(12);
  ASSERT_TRUE(host.open().ok());
  host.recorder.slow = milliseconds(10);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(host.propose("c" + std::to_string(i)).ok());
  }
  EXPECT_LT(host.recorder.commands.size(), 20u);
  host.run(LogHost::stopped(*host.log));
  EXPECT_EQ(host.recorder.commands.size(), 20u);
  EXPECT_EQ(host.propose("late").code(), Code::kClosed);
  host.log.reset();
}

TEST(LocalLog, AStoreThatFailsEndsTheLog) {
  LogHost host(13);
  ASSERT_TRUE(host.open().ok());
  host.recorder.fail = true;
  EXPECT_TRUE(host.propose("a").ok());
  host.world.run_for(seconds(1));
  EXPECT_EQ(host.propose("b").code(), Code::kIoError);
}

// Crashes at any moment, on disks with all the faults of the contract: what was acknowledged comes
// back, in order, and what was refused does not.
TEST(LocalLog, CrashesLoseNothingThatWasAcknowledged) {
  for (u64 seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    LogHost host(seed);
    Prng random(seed);
    host.options.segment_bytes = random.between(500, 5000);
    std::map<std::string, u64> acknowledged;
    std::set<std::string> refused;
    u64 next = 0;
    for (int life = 0; life < 6; ++life) {
      const Status opened = host.open();
      ASSERT_TRUE(opened.ok()) << opened.error().message();
      for (const auto& [command, index] : acknowledged) {
        ASSERT_GE(host.recorder.commands.size(), index);
        ASSERT_EQ(host.recorder.commands[index - 1], command);
      }
      for (const std::string& command : host.recorder.commands) {
        ASSERT_FALSE(refused.contains(command)) << command;
      }
      host.results.clear();
      const u64 bursts = random.between(1, 10);
      for (u64 burst = 0; burst < bursts; ++burst) {
        for (u64 i = random.between(1, 20); i > 0; --i) {
          host.propose_later(fmt::format("{} {}", next++, std::string(random.below(700), 'y')));
        }
        host.world.run_for(microseconds(static_cast<i64>(random.below(400))));
        if (random.chance(0.05)) {
          host.node.disk().fail_next(env::sim::DiskAction::write, 1);
        }
      }
      host.crash(random.chance(0.7) ? env::sim::Crash::power : env::sim::Crash::process);
      host.node.disk().fail_next(env::sim::DiskAction::write, 0);
      for (const auto& [command, result] : host.results) {
        if (result.ok()) {
          acknowledged.emplace(command, *result);
        } else if (result.code() != Code::kUnknownOutcome) {
          refused.insert(command);
        }
      }
    }
    ASSERT_GT(acknowledged.size(), 0u);
  }
}

}  // namespace
}  // namespace pangu::master
