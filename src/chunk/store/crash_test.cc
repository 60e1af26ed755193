#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/log.h"
#include "base/reached.h"
#include "chunk/store/test_store.h"
#include "env/sim/world.h"
#include "runtime/await.h"

// The store on a simulated disk that loses power and processes at any moment: what was answered must
// hold afterwards, whatever writes were kept, lost or torn.
namespace pangu::chunk {
namespace {

using env::sim::Crash;
using env::sim::World;

constexpr u64 kCapacity = 8 * kMiB;

// A run as it was cut, once and for all.
struct Sent {
  u32 offset = 0;
  u32 unit = 0;
  u32 size = 0;
  u32 committed = 0;
  u32 end() const { return offset + size; }
};

// What the test knows of one chunk: what it asked for, and what was answered.
struct Known {
  TestWriter writer;
  bool ahead = false;  // its committed length runs ahead of this replica, as if others were faster
  std::vector<Sent> runs;
  u32 sent = 0;
  u32 acked = 0;
  u32 fence_asked = 0;
  u32 fence_acked = 0;
  std::optional<u32> fence_length;  // what the last answer said, if nothing has grown it since
  std::optional<u32> final_asked;
  bool final_acked = false;
  bool close_asked = false;
  bool close_acked = false;
  bool remove_asked = false;
  bool remove_acked = false;
  bool forget_asked = false;  // the stream service has settled it
  bool damaged = false;
  int outstanding = 0;
  int recovering = 0;  // of them: they may bring back what is removed meanwhile

  TestRun run_of(const Sent& run) const {
    TestWriter cutter = writer;
    cutter.committed = run.committed;
    return cutter.run_at(run.offset, run.unit, run.size);
  }
  bool may_append() const {
    return fence_asked == 0 && !final_asked && !close_asked && !remove_asked && !damaged;
  }
};

std::string describe(const Known& known) {
  return fmt::format("{} sent {} acked {} fence {}/{} final {}/{} close {}/{} remove {}/{}{}",
                     to_string(known.writer.chunk), known.sent, known.acked, known.fence_asked,
                     known.fence_acked, known.final_asked ? std::to_string(*known.final_asked) : "-",
                     known.final_acked, known.close_asked, known.close_acked, known.remove_asked,
                     known.remove_acked, known.ahead ? " ahead" : "");
}

struct Oracle {
  std::vector<std::unique_ptr<Known>> chunks;
  std::vector<std::string> complaints;
  u64 answers = 0;

  void expect(bool condition, const Known& known, std::string_view what) {
    if (!condition) {
      complaints.push_back(describe(known) + ": " + std::string(what));
    }
  }
};

bool refused(Code code) {
  return code == Code::kBusy || code == Code::kNoSpace || code == Code::kClosed;
}

Task<void> do_one_append(ChunkStore& store, Oracle& oracle, Known& known, TestRun run) {
  const u32 end = run.args.offset + run.args.data_len;
  const bool recovers = run.args.recovers;
  const AppendOutcome out = co_await store.append(run.args, run.run);
  --known.outstanding;
  known.recovering -= recovers ? 1 : 0;
  ++oracle.answers;
  if (out.code == Code::kOk || out.code == Code::kDuplicate) {
    known.acked = std::max(known.acked, out.length);
    oracle.expect(out.length >= end, known, "an append was acknowledged below its end");
    oracle.expect(out.length <= known.sent, known, "acknowledged more than was sent");
    if (!known.ahead) {
      known.writer.committed = known.acked;
    }
    co_return;
  }
  const bool closed = known.close_asked || known.final_asked || known.remove_asked;
  const bool explained = refused(out.code) || out.code == Code::kGap ||
                         (out.code == Code::kFenced && known.fence_asked > 0) ||
                         (out.code == Code::kSealed && (closed || known.forget_asked)) ||
                         (out.code == Code::kCorrupt && known.damaged) ||
                         (recovers && out.code == Code::kStale);
  oracle.expect(explained, known,
                "append answered " + std::string(code_name(out.code)));
}

Task<void> do_one_fence(ChunkStore& store, Oracle& oracle, Known& known, u32 epoch) {
  const u32 acked_before = known.acked;
  const FenceOutcome out = co_await store.fence(known.writer.chunk, Epoch{epoch});
  --known.outstanding;
  ++oracle.answers;
  if (out.code == Code::kFenced) {
    oracle.expect(known.fence_asked > epoch, known, "fenced by nobody");
    co_return;
  }
  if (out.code == Code::kCorrupt) {
    oracle.expect(known.damaged, known, "CORRUPT without damage");
    known.fence_acked = std::max(known.fence_acked, epoch);
    co_return;
  }
  oracle.expect(out.code == Code::kOk, known, "fence: " + std::string(code_name(out.code)));
  known.fence_acked = std::max(known.fence_acked, epoch);
  if (out.exists) {
    const bool cut = known.final_asked.has_value();
    oracle.expect(cut || out.length >= acked_before, known, "a fence below the acknowledged length");
    oracle.expect(out.length <= known.sent, known, "a fence above what was sent");
    oracle.expect(!known.fence_length || *known.fence_length == out.length || cut, known,
                  "two fences, two lengths");
    known.fence_length = out.length;
  } else {
    oracle.expect(acked_before == 0 || known.remove_asked, known, "fence: never seen");
  }
}

Task<void> do_one_finalize(ChunkStore& store, Oracle& oracle, Known& known, u32 length) {
  const LengthOutcome out = co_await store.finalize(known.writer.chunk, length, 1);
  --known.outstanding;
  ++oracle.answers;
  if (out.code == Code::kOk) {
    known.final_acked = true;
    oracle.expect(out.length == length, known, "another final length");
  } else {
    oracle.expect(known.remove_asked || (out.code == Code::kCorrupt && known.damaged), known,
                  "finalize: " + std::string(code_name(out.code)));
  }
}

Task<void> do_one_close(ChunkStore& store, Oracle& oracle, Known& known) {
  const LengthOutcome out = co_await store.close(known.writer.chunk, known.writer.epoch);
  --known.outstanding;
  ++oracle.answers;
  if (out.code == Code::kOk) {
    known.close_acked = true;
  } else {
    oracle.expect(out.code == Code::kFenced && known.fence_asked > 0, known,
                  "close: " + std::string(code_name(out.code)));
  }
}

Task<void> do_one_remove(ChunkStore& store, Oracle& oracle, Known& known) {
  const LengthOutcome out = co_await store.remove(known.writer.chunk);
  --known.outstanding;
  ++oracle.answers;
  oracle.expect(out.code == Code::kOk, known, "remove: " + std::string(code_name(out.code)));
  known.remove_acked = true;
}

Task<void> do_one_forget(ChunkStore& store, Oracle& oracle, Known& known) {
  ChunkId after = known.writer.chunk;
  ++after.sequence;
  const Status status =
      co_await store.forget({{.from = known.writer.chunk, .until = after}});
  --known.outstanding;
  ++oracle.answers;
  oracle.expect(status.ok(), known, "forget");
}

// Reads [0, length) and compares every byte.
Task<std::string> read_all(ChunkStore& store, const Known& known, u32 length) {
  u32 at = 0;
  while (at < length) {
    const ReadOutcome out = co_await store.read({.chunk = known.writer.chunk,
                                                 .offset = at,
                                                 .length = length - at,
                                                 .settled_length = length});
    if (out.code != Code::kOk || out.length == 0) {
      co_return "read at " + std::to_string(at) + " of " + std::to_string(length) + ": " +
          std::string(code_name(out.code));
    }
    const std::string wrong = check_payload(known.writer.chunk, at, out);
    if (!wrong.empty()) {
      co_return wrong;
    }
    at += out.length;
  }
  co_return "";
}

// What must hold after a crash.
Task<void> check_one(ChunkStore& store, Oracle& oracle, Known& known) {
  known.outstanding = 0;
  known.recovering = 0;
  const auto info = store.stat(known.writer.chunk);
  const bool exists = info.ok() && info->exists;
  const bool had_bytes = known.acked > 0 && !known.remove_asked;
  const bool shut = known.remove_acked || known.close_acked || known.fence_acked > 0;
  if (!exists && !had_bytes && shut) {
    const TestRun late = TestWriter{.chunk = known.writer.chunk}.next(10);
    const AppendOutcome out = co_await store.append(late.args, late.run);
    oracle.expect(out.code == Code::kSealed || out.code == Code::kFenced, known,
                  "a late create was answered " + std::string(code_name(out.code)));
  }
  if (!exists && !had_bytes && known.forget_asked) {
    co_return;
  }
  if (std::getenv("PANGU_TRACE") != nullptr) {
    fmt::print(stderr, "{}: {} exists {} damaged {} length {} fence {} blocks {}\n",
               describe(known), info.ok(), exists, info.ok() && info->damaged,
               info.ok() ? info->length : 0, info.ok() ? info->fence.number : 0,
               info.ok() ? info->allocated_bytes / 65536 : 0);
  }
  if (known.remove_acked) {
    oracle.expect(info.ok() && !exists, known, "a removed chunk came back");
    co_return;
  }
  if (known.remove_asked && !exists) {
    co_return;
  }
  if (info.ok()) {
    oracle.expect(info->fence >= Epoch{known.fence_acked}, known, "a fence was forgotten");
    oracle.expect(info->fence <= Epoch{std::max(known.fence_asked, 1u)}, known,
                  "a fence that nobody asked for");
    oracle.expect(!known.close_acked || info->closed || info->finalized || known.forget_asked, known,
                  "a close was forgotten");
  } else {
    oracle.expect(known.fence_acked == 0 && !known.close_acked && known.acked == 0, known,
                  "everything was forgotten");
  }
  if (!exists) {
    oracle.expect(known.acked == 0 || known.remove_asked, known, "acknowledged bytes are gone");
    oracle.expect(!known.final_acked, known, "a finalized chunk is gone");
    co_return;
  }
  oracle.expect(!info->damaged || known.ahead, known, "damaged, though nothing was lost");
  known.damaged = known.damaged || info->damaged;
  if (known.damaged) {
    co_return;
  }
  oracle.expect(info->length <= known.sent, known, "longer than what was sent");
  if (known.final_acked) {
    oracle.expect(info->finalized && info->length == *known.final_asked, known,
                  "a decided length was forgotten");
  } else if (!info->finalized) {
    oracle.expect(info->length >= known.acked, known, "acknowledged bytes are gone");
  }
  oracle.expect(!info->finalized || known.final_asked, known, "finalized by nobody");
  const bool stable = known.fence_length && !known.final_asked;
  oracle.expect(!stable || info->length == *known.fence_length, known,
                "a fenced length has changed");
  const std::string wrong = co_await read_all(store, known, info->length);
  oracle.expect(wrong.empty(), known, wrong);
}

Task<void> check_all(ChunkStore& store, Oracle& oracle, bool& done) {
  for (size_t i = 0; i < oracle.chunks.size(); ++i) {
    co_await check_one(store, oracle, *oracle.chunks[i]);
  }
  done = true;
}

class CrashRun {
 public:
  explicit CrashRun(u64 seed, const env::sim::WorldOptions& options = {})
      : world_(seed, options), node_(world_.add_node("server")), prng_(seed * 7919 + 1) {}
  ~CrashRun() {
    if (reactor_ != nullptr) {
      crash(Crash::process);
    }
  }

  void run(int lives) {
    start_process();
    format();
    for (int life = 0; life < lives && oracle_.complaints.empty(); ++life) {
      if (prng_.chance(0.25)) {
        crash_while_opening();
      }
      open();
      check();
      work();
      crash(prng_.chance(0.7) ? Crash::power : Crash::process);
      node_.restart();
      start_process();
    }
    open();
    check();
    expect_no_leak();
  }
  const Oracle& oracle() const { return oracle_; }
  // Moments of simulated time at which it crashed: no two are the same.
  const std::set<i64>& crash_points() const { return crash_points_; }
  u64 hit_writes() { return node_.disk().counters().in_flight_at_crash; }

 private:

  void start_process() {
    reactor_ = std::make_unique<Reactor>(node_.env(), ReactorOptions{});
    node_.env().attach(*reactor_);
    auto file = node_.env().files().open("disk.img", {.create = true, .direct = true});
    CHECK(file.ok());
    file_ = std::move(*file);
  }
  void crash(Crash how) {
    crash_points_.insert(world_.now().ns);
    node_.crash(how);
    reactor_->abandon();
    opened_.reset();
    store_.reset();
    file_.reset();
    reactor_.reset();
  }
  // An operation on a chunk; `known` says already that it was asked for.
  void ask(Known& known, Task<void> task) {
    ++known.outstanding;
    spawn(std::move(task));
  }
  void spawn(Task<void> task) {
    reactor_->spawn("test", TaskClass::foreground, std::move(task));
  }
  void until(const bool& done) {
    CHECK(world_.run_until([&] { return done; }, world_.now() + seconds(1000)));
  }

  static Task<void> format_task(env::File& file, bool& done) {
    FormatOptions options = test_format(kCapacity);
    options.prewrite = true;
    const Status status = co_await format_device(file, options);
    CHECK(status.ok());
    done = true;
  }
  void format() {
    bool done = false;
    spawn(format_task(*file_, done));
    until(done);
  }
  static Task<void> open_task(CrashRun& run, bool& done) {
    run.opened_ = co_await ChunkStore::open(*run.reactor_, *run.file_, run.buffers_, {});
    done = true;
  }
  void open() {
    bool done = false;
    spawn(open_task(*this, done));
    until(done);
    CHECK_NOTE(opened_->ok(), opened_->ok() ? "" : opened_->error().message());
    store_ = std::move(**opened_);
  }
  void crash_while_opening() {
    const auto times = prng_.between(1, 3);
    for (u64 i = 0; i < times; ++i) {
      opening_ = false;
      spawn(open_task(*this, opening_));
      world_.run_for(microseconds(static_cast<i64>(prng_.below(8000))));
      crash(prng_.chance(0.7) ? Crash::power : Crash::process);
      node_.restart();
      start_process();
    }
  }
  void check() {
    bool done = false;
    spawn(check_all(*store_, oracle_, done));
    until(done);
  }

  void work() {
    const auto steps = prng_.between(5, 120);
    for (u64 i = 0; i < steps; ++i) {
      const auto burst = prng_.between(1, 6);
      for (u64 k = 0; k < burst; ++k) {
        step();
      }
      if (prng_.chance(0.7)) {
        world_.run_for(microseconds(static_cast<i64>(prng_.below(400))));
      }
    }
    // The crash that follows is to meet writes at every stage.
    for (u64 k = prng_.below(12); k > 0; --k) {
      step();
    }
    world_.run_for(microseconds(static_cast<i64>(prng_.below(60))));
  }
  Known& pick() {
    if (oracle_.chunks.empty() || (oracle_.chunks.size() < 60 && prng_.chance(0.05))) {
      auto known = std::make_unique<Known>();
      known->writer.chunk = chunk_id(oracle_.chunks.size() + 1);
      known->writer.limit = static_cast<u32>(64 * kKiB << prng_.below(5));
      known->ahead = prng_.chance(0.2);
      const auto history = prng_.chance(0.1) ? prng_.below(wire::kHistoryMax + 1) : prng_.below(3);
      for (u64 i = 0; i < history; ++i) {
        known->writer.history.push_back({.sequence = static_cast<u32>(i), .zero = 0, .base = i});
      }
      oracle_.chunks.push_back(std::move(known));
    }
    // Mostly one of the last few.
    const size_t count = oracle_.chunks.size();
    const size_t back = prng_.chance(0.8) ? prng_.below(std::min<size_t>(4, count))
                                          : prng_.below(count);
    return *oracle_.chunks[count - 1 - back];
  }
  void step() {
    Known& known = pick();
    const u64 what = prng_.below(1000);
    if (known.damaged) {
      if (what < 100 && !known.remove_asked) {
        remove(known);
      }
    } else if (what < 800) {
      append(known);
    } else if (what < 850) {
      if (!known.remove_asked) {
        known.fence_asked += 2;
        ask(known, do_one_fence(*store_, oracle_, known, known.fence_asked));
      }
    } else if (what < 900) {
      recover(known);
    } else if (what < 930) {
      finalize(known);
    } else if (what < 945) {
      if (known.may_append()) {
        known.close_asked = true;
        ask(known, do_one_close(*store_, oracle_, known));
      }
    } else if (what < 970) {
      if (!known.remove_asked) {
        remove(known);
      }
    } else if (what < 985) {
      // Settled elsewhere: this replica is told to finalize or to remove it some time, or was already.
      if (known.acked > 0 || known.remove_asked || prng_.chance(0.1)) {
        known.forget_asked = true;
        ask(known, do_one_forget(*store_, oracle_, known));
      }
    }
  }
  void remove(Known& known) {
    if (known.recovering > 0) {
      return;
    }
    known.remove_asked = true;
    ask(known, do_one_remove(*store_, oracle_, known));
  }
  void append(Known& known) {
    if (!known.may_append() || known.outstanding > 8) {
      return;
    }
    if (known.outstanding == 0 && known.acked < known.sent) {
      for (const Sent& run : known.runs) {  // again, the same units
        if (run.end() > known.acked) {
          ask(known, do_one_append(*store_, oracle_, known, known.run_of(run)));
        }
      }
      return;
    }
    const auto size = static_cast<u32>(prng_.chance(0.8) ? prng_.between(1, 9000)
                                                         : prng_.between(1, 100'000));
    if (u64{known.sent} + size > known.writer.limit) {
      return;
    }
    if (known.ahead) {
      known.writer.committed = static_cast<u32>(prng_.between(known.writer.committed, known.sent));
    }
    const Sent run{.offset = known.writer.offset,
                   .unit = known.writer.unit,
                   .size = size,
                   .committed = known.writer.committed};
    known.runs.push_back(run);
    known.sent += size;
    ask(known, do_one_append(*store_, oracle_, known, known.writer.next(size)));
  }
  // A takeover fills the replica with what others hold.
  void recover(Known& known) {
    if (known.fence_acked == 0 || known.fence_acked != known.fence_asked || known.final_asked ||
        known.remove_asked || known.outstanding > 0) {
      return;
    }
    known.fence_length.reset();
    for (const Sent& run : known.runs) {
      if (run.end() > known.acked) {
        TestRun fill = known.run_of(run);
        fill.args.recovers = true;
        fill.args.epoch = {known.fence_acked};
        ++known.recovering;
        ask(known, do_one_append(*store_, oracle_, known, fill));
      }
    }
  }
  void finalize(Known& known) {
    if (known.final_asked || known.remove_asked || known.acked == 0 || known.outstanding > 0) {
      return;
    }
    u32 length = known.acked;
    if (prng_.chance(0.3)) {
      for (const Sent& run : known.runs) {
        if (run.end() <= known.acked && prng_.chance(0.3)) {
          length = run.end();
        }
      }
    }
    known.final_asked = length;
    ask(known, do_one_finalize(*store_, oracle_, known, length));
  }

  static Task<void> remove_all(CrashRun& run, bool& done) {
    for (size_t i = 0; i < run.oracle_.chunks.size(); ++i) {
      const LengthOutcome out =
          co_await run.store_->remove(run.oracle_.chunks[i]->writer.chunk);
      CHECK(out.code == Code::kOk);
    }
    co_await run.store_->stop();
    done = true;
  }
  void expect_no_leak() {
    bool done = false;
    spawn(remove_all(*this, done));
    until(done);
    const SpaceInfo space = store_->space();
    if (space.free + space.prepared + space.kept != space.capacity) {
      oracle_.complaints.push_back("blocks were lost: " + std::to_string(space.free) + "+" +
                                   std::to_string(space.prepared) + "+" +
                                   std::to_string(space.kept) + " of " +
                                   std::to_string(space.capacity));
    }
  }

  World world_;
  env::sim::Node& node_;
  Prng prng_;
  HeapBuffers buffers_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<env::File> file_;
  std::optional<Result<std::unique_ptr<ChunkStore>>> opened_;
  std::unique_ptr<ChunkStore> store_;
  bool opening_ = false;
  std::set<i64> crash_points_;
  Oracle oracle_;
};

std::string all(const std::vector<std::string>& complaints) {
  std::string out;
  for (const std::string& each : complaints) {
    out += each + "\n";
  }
  return out;
}

// Recovery says loudly what it finds.
struct Quiet {
  LogLevel before = log_level();
  Quiet() { set_log_level(static_cast<LogLevel>(4)); }
  ~Quiet() { set_log_level(before); }
};

TEST(Crash, WhatWasAnsweredHolds) {
  const Quiet quiet;
  // PANGU_SEED=n runs that one, PANGU_SEEDS=n that many.
  const char* one = std::getenv("PANGU_SEED");
  const char* many = std::getenv("PANGU_SEEDS");
  const u64 first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const u64 count = one != nullptr ? 1 : many != nullptr ? std::strtoull(many, nullptr, 10) : 200;
  u64 answers = 0;
  u64 crash_points = 0;
  u64 hit_writes = 0;
  for (u64 seed = first; seed < first + count; ++seed) {
    Prng prng(seed);
    env::sim::WorldOptions options;
    options.disk.tear.sector = prng.chance(0.5) ? 512 : 4096;
    options.disk.slow_rate = prng.chance(0.3) ? 0.02 : 0;
    options.disk.slow_max = milliseconds(3);
    options.stall_rate = prng.chance(0.2) ? 0.0005 : 0;
    CrashRun run(seed, options);
    run.run(6);
    answers += run.oracle().answers;
    crash_points += run.crash_points().size();
    hit_writes += run.hit_writes();
    ASSERT_TRUE(run.oracle().complaints.empty())
        << "PANGU_SEED=" << seed << "\n" << all(run.oracle().complaints);
  }
  std::printf("%llu crash points, %llu writes in flight at them, %llu answers before them\n",
              static_cast<unsigned long long>(crash_points),
              static_cast<unsigned long long>(hit_writes),
              static_cast<unsigned long long>(answers));
  if (one == nullptr && many == nullptr) {
    EXPECT_GE(crash_points, 1000u);
    EXPECT_GE(hit_writes, 1000u) << "crashes that meet no write prove little";
    EXPECT_GE(answers, 10'000u);
  }
  if (many != nullptr) {
    for_each_reached_mark(
        [](void*, const ReachedMark& mark) {
          std::fprintf(stderr, "%8llu %s\n", static_cast<unsigned long long>(*mark.count),
                       mark.name);
        },
        nullptr);
  }
}

}  // namespace
}  // namespace pangu::chunk
