#pragma once
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "env/sim/world.h"
#include "raft/driver/log_replay.h"
#include "raft/driver/shared_log.h"
#include "runtime/await.h"

// For tests of the shared log: a process with one, on a simulated node.
namespace pangu::raft {

inline constexpr Uuid kTestLog{.high = 1, .low = 2};
inline const std::string kTestFolder = "/log";

inline SnapshotMeta first_members(std::vector<u64> voters = {1, 2, 3}) {
  SnapshotMeta base;
  for (const u64 voter : voters) {
    base.configuration.voters.push_back(NodeId{voter});
  }
  return base;
}

inline Entry make_entry(u64 term, Index index, std::string_view text) {
  return {.term = {term}, .index = index, .payload = Payload::copy_of(text)};
}

class SharedLogRig {
 public:
  explicit SharedLogRig(u64 seed) : world(seed), node(world.add_node("raft")) {
    options.directory = kTestFolder;
    options.log = kTestLog;
    boot();
    CHECK(files().make_directories(kTestFolder).ok());
  }
  ~SharedLogRig() {
    if (log) {
      stop();
    }
    if (node.up()) {
      node.env().detach();
    }
  }
  env::FileSystem& files() { return node.env().files(); }
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
  Status open() {
    recovered.clear();
    log = std::make_unique<SharedLog>(*reactor, options);
    Status opened = run(log->open());
    if (opened.ok()) {
      recovered = log->take_recovered();
    } else {
      log.reset();
    }
    return opened;
  }
  void stop() {
    run(stopped(*log));
    log.reset();
  }
  Status reopen() {
    stop();
    return open();
  }
  static Task<Unit> stopped(SharedLog& log) {
    co_await log.stop();
    co_return Unit{};
  }
  void crash(env::sim::Crash how) {
    node.crash(how);
    reactor->abandon();
    log.reset();
    reactor.reset();
    node.restart();
    boot();
  }

  Status create(u64 group, SnapshotMeta base = first_members()) {
    return run(log->create_group({group}, std::move(base)));
  }
  Status remove(u64 group) { return run(log->remove_group({group})); }
  Status write(LogWrite write) { return run(log->write(std::move(write))); }
  // Entries of one term with these texts, from `first` on.
  static LogWrite entries(u64 group, u64 term, Index first, const std::vector<std::string>& texts) {
    LogWrite out{.group = {group}};
    for (const std::string& text : texts) {
      out.entries.push_back(make_entry(term, first++, text));
    }
    return out;
  }
  Status append(u64 group, u64 term, Index first, const std::vector<std::string>& texts) {
    return write(entries(group, term, first, texts));
  }
  // Begins a write; its outcome is added to `outcomes` when it is there.
  void write_later(LogWrite write) {
    reactor->spawn("test", TaskClass::foreground, remember(*this, std::move(write)));
  }
  static Task<void> remember(SharedLogRig& rig, LogWrite write) {
    const u64 number = rig.begun++;
    auto outcome = co_await rig.log->write(std::move(write));
    rig.outcomes.emplace_back(number, std::move(outcome));
  }
  Result<Entries> fetch(u64 group, Index first, Index last, u64 bytes_max = kGiB) {
    return run(log->fetch({group}, {first, last}, bytes_max));
  }
  // Everything that the log of the group holds, as "term:text term:text".
  std::string all(u64 group) {
    const LogSummary& summary = recovered.at({group}).log;
    return text_of(group, summary.base().index + 1, summary.last().index);
  }
  std::string text_of(u64 group, Index first, Index last) {
    std::string out;
    while (first <= last) {
      const Result<Entries> got = fetch(group, first, last);
      if (!got.ok()) {
        return got.error().message();
      }
      for (const Entry& entry : *got) {
        EXPECT_EQ(entry.index, first++);
        out += (out.empty() ? "" : " ") + std::to_string(entry.term.value()) + ":" +
               std::string(entry.payload.text());
      }
    }
    return out;
  }
  std::vector<std::string> segments() {
    std::vector<std::string> out;
    const std::vector<std::string> names = *files().list(kTestFolder);
    for (const std::string& name : names) {
      if (segment_number_of(name) != 0) {
        out.push_back(kTestFolder + "/" + name);
      }
    }
    return out;
  }
  std::string contents(const std::string& path) { return *files().read_file(path); }
  void put(const std::string& path, const std::string& bytes) {
    CHECK(files().replace_file(path, bytes).ok());
  }
  bool run_until(const std::function<bool()>& predicate) {
    return world.run_until(predicate, world.now() + seconds(100));
  }

  env::sim::World world;
  env::sim::Node& node;
  std::unique_ptr<Reactor> reactor;
  SharedLogOptions options;
  std::unique_ptr<SharedLog> log;
  std::map<GroupId, LogStore::Recovered> recovered;
  u64 begun = 0;
  std::vector<std::pair<u64, Status>> outcomes;
};

}  // namespace pangu::raft
