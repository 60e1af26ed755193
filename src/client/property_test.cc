#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>

#include "client/testing/client_fixture.h"

// Whole lives of one file on a cluster that fails at random: writers that die, are fenced or go on
// as if they were not, readers that follow, servers that come and go, messages that arrive much
// later. The truth is kept outside: who wrote what from where to where, what was acknowledged, what
// was seen.
//
// PANGU_SEEDS=N runs N lives instead of the usual few; PANGU_SEED=S runs only that one.
namespace pangu::client::testing {
namespace {

struct Session {
  u64 id = 0;
  u32 epoch = 0;
  u64 base = 0;
  u64 acked_end = 0;
  u64 appends = 0;
};

struct Seen {
  u64 offset = 0;
  std::string bytes;
};

class Life {
 public:
  explicit Life(u64 seed)
      : prng_(hash_combine(seed, 1)), cluster_(seed, 3 + Prng(seed).below(4)), seed_(seed) {
    cluster_.network().loss = prng_.chance(0.5) ? 0 : prng_.unit() * 0.02;
    for (int i = 0; i < 3; ++i) {
      clients_.push_back(cluster_.client(options()));
    }
    const bool triple = prng_.chance(0.8);
    file_.copies_max = triple ? 3 : 2;
    file_.copies_min = triple && prng_.chance(0.15) ? 3 : 2;
    file_.chunk_bytes = prng_.chance(0.5) ? 64 * kKiB : 1 * kMiB;
  }

  void run() {
    spawn(fail_at_random());
    spawn(read_along(*clients_[2]));
    const u64 sessions = prng_.between(2, 5);
    for (u64 i = 0; i < sessions; ++i) {
      cluster_.run(live_session(*clients_[prng_.below(2)]));
    }
    stopping_ = true;
    cluster_.run(gate_.close());
    heal();
    for (auto& writer : zombies_) {
      writer.reset();
    }
    check_the_end();
    for (auto& client : clients_) {
      cluster_.run(client->stop());
    }
  }

  u64 acknowledged() const { return acknowledged_; }
  u64 sessions() const { return sessions_.size(); }

 private:
  static ClientOptions options() {
    return {.op_timeout = seconds(2),
            .append_timeout = milliseconds(100),
            .read_timeout = milliseconds(100),
            .fence_timeout = milliseconds(100),
            .master_timeout = milliseconds(200),
            .suspect_time = milliseconds(300)};
  }
  void spawn(Task<void> task) {
    gate_.spawn(cluster_.reactor(), "life", TaskClass::foreground, std::move(task));
  }
  void fail(std::string what) { ADD_FAILURE() << "seed " << seed_ << ": " << what; }

  void heal() {
    for (u32 id = 0; id <= cluster_.servers(); ++id) {
      heal(id);
    }
    cluster_.network().loss = 0;
  }
  // 0: the master
  FakeFaults& faults(u32 id) { return id == 0 ? cluster_.master_faults() : cluster_.faults(id); }
  void heal(u32 id) {
    faults(id) = FakeFaults{};
    if (id == 0) {
      cluster_.thaw_master(1);
    } else {
      cluster_.thaw(id);
    }
  }

  Task<void> fail_at_random() {
    while (!stopping_) {
      co_await sleep_for(microseconds(static_cast<i64>(prng_.below(60'000))));
      const u32 id = static_cast<u32>(prng_.below(cluster_.servers() + 1));
      FakeFaults& faults_of_it = faults(id);
      switch (prng_.below(10)) {
        case 0:
          faults_of_it.down = true;
          break;
        case 1:
          faults_of_it.silent = true;
          break;
        case 2:
          faults_of_it.frozen = true;
          break;
        case 3:
          faults_of_it.slow = microseconds(static_cast<i64>(prng_.below(20'000)));
          break;
        case 4:
          refuse_some(id);
          break;
        default:
          heal_one();
          break;
      }
    }
  }
  void refuse_some(u32 id) {
    constexpr Code kCodes[] = {Code::kBusy, Code::kNoSpace, Code::kDeviceFailed, Code::kIoError};
    if (id != 0) {
      cluster_.server(id).refuse_appends(kCodes[prng_.below(std::size(kCodes))],
                                         static_cast<u32>(prng_.below(4)));
    }
  }
  // Most of the time few are broken at once.
  void heal_one() {
    const u32 id = static_cast<u32>(prng_.below(cluster_.servers() + 1));
    if (id != 0 && cluster_.faults(id).down) {
      cluster_.restart(id);
    }
    heal(id);
  }

  Task<void> append_some(std::shared_ptr<Writer> writer, size_t session, u64 count) {
    for (u64 i = 0; i < count && !stopping_; ++i) {
      const u64 size = prng_.chance(0.05) ? prng_.below(300'000) + 1 : prng_.below(9000) + 1;
      const bool record = size <= kRecordBytesMax && prng_.chance(0.3);
      const u64 at = writer->end();
      const std::string text = content(sessions_[session].id, at, size);
      Result<u64> done = Error(Code::kInternal);
      if (prng_.chance(0.3)) {
        done = co_await writer->append(at, bytes_in(text), {.record = record});
      } else {
        done = co_await writer->append(bytes_in(text), {.record = record});
      }
      if (!done.ok()) {
        co_return;
      }
      if (*done != at) {
        fail(fmt::format("appended at {}, not {}", *done, at));
      }
      Session& mine = sessions_[session];
      mine.acked_end = std::max(mine.acked_end, at + size);
      ++mine.appends;
      ++acknowledged_;
      if (prng_.chance(0.2)) {
        co_await sleep_for(microseconds(static_cast<i64>(prng_.below(5000))));
      }
    }
  }

  // Opens the file, appends from several tasks at once, and ends in one of several ways.
  Task<void> live_session(Client& client) {
    std::shared_ptr<Writer> writer;
    for (int attempt = 0; attempt < 6 && !writer; ++attempt) {
      auto opened = co_await client.open_for_append("/f", {.create = true, .file = file_});
      if (opened.ok()) {
        writer = std::move(*opened);
      } else if (opened.code() == Code::kInternal || opened.code() == Code::kConflict) {
        fail("open: " + opened.error().message());
      }
    }
    if (!writer) {
      co_return;
    }
    const size_t session = sessions_.size();
    sessions_.push_back({.id = session + 1,
                         .epoch = writer->epoch().number,
                         .base = writer->length(),
                         .acked_end = writer->length()});
    check_base(sessions_.back());
    const u64 tasks = prng_.between(1, 8);
    for (u64 i = 0; i < tasks; ++i) {
      spawn(append_some(writer, session, prng_.between(1, 60)));
    }
    co_await sleep_for(microseconds(static_cast<i64>(prng_.below(400'000))));
    if (prng_.chance(0.4)) {
      auto closed = co_await writer->close();
      if (closed.ok()) {
        sessions_[session].acked_end = std::max(sessions_[session].acked_end, writer->length());
      }
    }
    zombies_.push_back(std::move(writer));  // what still runs goes on beside the next one
  }

  void check_base(const Session& opened) {
    for (const Session& before : sessions_) {
      if (before.epoch < opened.epoch && before.acked_end > opened.base) {
        fail(fmt::format("epoch {} begins at {}, but epoch {} had {} acknowledged", opened.epoch,
                         opened.base, before.epoch, before.acked_end));
      }
    }
    if (opened.base < seen_end_) {
      fail(fmt::format("epoch {} begins at {}, but {} was seen", opened.epoch, opened.base,
                       seen_end_));
    }
  }

  Task<void> read_along(Client& client) {
    std::unique_ptr<Reader> reader;
    u64 last_length = 0;
    while (!stopping_) {
      co_await sleep_for(microseconds(static_cast<i64>(prng_.below(30'000))));
      if (!reader) {
        auto opened = co_await client.open_for_read("/f");
        if (opened.ok()) {
          reader = std::move(*opened);
          last_length = 0;
        }
        continue;
      }
      auto length =
          co_await reader->read_wait(last_length, cluster_.reactor().now() + milliseconds(50));
      if (!length.ok()) {
        continue;
      }
      if (*length < last_length) {
        fail(fmt::format("a reader saw {} and then {}", last_length, *length));
      }
      last_length = *length;
      seen_end_ = std::max(seen_end_, *length);
      if (*length == 0) {
        continue;
      }
      Seen seen{.offset = prng_.below(*length)};
      seen.bytes.resize(prng_.between(1, 30'000));
      auto count = co_await reader->read(
          seen.offset, {reinterpret_cast<std::byte*>(seen.bytes.data()), seen.bytes.size()});
      if (count.ok()) {
        seen.bytes.resize(*count);
        seen_end_ = std::max(seen_end_, seen.offset + *count);
        seen_.push_back(std::move(seen));
      }
      if (prng_.chance(0.05)) {
        reader.reset();
      }
    }
  }

  // Everything works again: a last opener settles the file, and it is compared with the truth.
  void check_the_end() {
    cluster_.run_for(seconds(1));
    auto last = cluster_.client();
    std::unique_ptr<Writer> writer;
    for (int attempt = 0; attempt < 3 && !writer; ++attempt) {
      auto opened = cluster_.run(last->open_for_append("/f", {.create = true}));
      if (opened.ok()) {
        writer = std::move(*opened);
      } else {
        EXPECT_EQ(attempt, 0) << "seed " << seed_ << ": " << opened.error().message();
      }
    }
    if (!writer) {
      fail("the file cannot be opened although everything works");
      cluster_.run(last->stop());
      return;
    }
    const u64 length = writer->length();
    check_base({.epoch = writer->epoch().number, .base = length});
    const auto closed = cluster_.run(writer->close());
    EXPECT_TRUE(closed.ok()) << "seed " << seed_ << ": " << closed.error().message();
    std::string all(length, '\0');
    auto reader = cluster_.run(last->open_for_read("/f"));
    auto count =
        cluster_.run((*reader)->read(0, {reinterpret_cast<std::byte*>(all.data()), all.size()}));
    EXPECT_TRUE(count.ok() && *count == length)
        << "seed " << seed_ << ": " << (count.ok() ? "short" : count.error().message());
    writer.reset();
    reader->reset();
    cluster_.run(last->stop());
    compare(all);
  }

  void compare(const std::string& all) {
    std::sort(sessions_.begin(), sessions_.end(),
              [](const Session& a, const Session& b) { return a.epoch < b.epoch; });
    for (size_t i = 0; i < sessions_.size(); ++i) {
      const Session& session = sessions_[i];
      const u64 end = i + 1 < sessions_.size() ? sessions_[i + 1].base : all.size();
      if (session.acked_end > end) {
        fail(fmt::format("epoch {} had {} acknowledged, its part ends at {}", session.epoch,
                         session.acked_end, end));
        return;
      }
      if (all.compare(session.base, end - session.base,
                      content(session.id, session.base, end - session.base)) != 0) {
        fail(fmt::format("the part [{}, {}) of epoch {} is not what it wrote", session.base, end,
                         session.epoch));
      }
    }
    for (const Seen& seen : seen_) {
      if (all.compare(seen.offset, seen.bytes.size(), seen.bytes) != 0) {
        fail(fmt::format("what was read at [{}, {}) is not in the file", seen.offset,
                         seen.offset + seen.bytes.size()));
      }
    }
  }

  Prng prng_;
  FakeCluster cluster_;
  const u64 seed_;
  FileOptions file_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::shared_ptr<Writer>> zombies_;
  std::vector<Session> sessions_;
  std::vector<Seen> seen_;
  u64 seen_end_ = 0;
  u64 acknowledged_ = 0;
  bool stopping_ = false;
  Gate gate_;
};

u64 number_from_environment(const char* name, u64 otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

TEST(Property, NothingAcknowledgedIsLostAndNothingIsThereTwice) {
  set_log_level(LogLevel::error);
  const u64 only = number_from_environment("PANGU_SEED", 0);
  const u64 count = only != 0 ? 1 : number_from_environment("PANGU_SEEDS", 60);
  u64 acknowledged = 0;
  u64 sessions = 0;
  for (u64 i = 0; i < count && !HasFailure(); ++i) {
    const u64 seed = only != 0 ? only : i + 1;
    SCOPED_TRACE(fmt::format("PANGU_SEED={}", seed));
    Life life(seed);
    life.run();
    acknowledged += life.acknowledged();
    sessions += life.sessions();
  }
  set_log_level(LogLevel::info);
  EXPECT_GT(acknowledged, count * 10);
  EXPECT_GT(sessions, count);
}

}  // namespace
}  // namespace pangu::client::testing
