#include <algorithm>
#include <fmt/format.h>

#include "base/log.h"
#include "sim/stream_workload.h"

// The writing half of the workload.
namespace pangu::sim {

namespace {

// Errors of open, close and seal that faults explain.
bool excused(Code code) {
  return code == Code::kUnavailable || code == Code::kUnknownOutcome ||
         code == Code::kUndecidable || code == Code::kWrongEpoch || code == Code::kNoPlacement ||
         code == Code::kTimeout || code == Code::kBusy || code == Code::kRecovering ||
         code == Code::kFenced || code == Code::kNoSpace;
}

u64 draw_size(Prng& prng, u64 most) {
  switch (prng.below(6)) {
    case 0:
      return prng.between(1, 10);
    case 1:
      return std::min<u64>(most, prng.between(4030, 4060));
    case 2:
      return prng.between(1, most);
    default:
      return prng.between(1, std::min<u64>(most, 3000));
  }
}

}  // namespace

struct StreamWorkload::WriteSession {
  StreamFile& file;
  std::unique_ptr<client::Writer> writer;
  u32 epoch;
  u32 in_flight = 0;
  bool over = false;  // an append failed
  WaitList changed;

  WriteSession(StreamFile& f, std::unique_ptr<client::Writer> w)
      : file(f), writer(std::move(w)), epoch(writer->epoch().number) {}
};

Task<std::unique_ptr<client::Writer>> StreamWorkload::open(Actor& actor, StreamFile& file) {
  const bool was_sealed = file.sealed;
  const bool was_removed = file.removed;
  const u64 floor = file.floor;
  const client::OpenOptions options{.create = !file.mortal, .file = file.options};
  const Stopwatch watch(actor);
  auto opened = co_await actor.client.open_for_append(file.path, options);
  const Code code = opened.code();
  actor.judge().operation_ended(code);
  watch.check(stage_.swarm.cluster.client.op_timeout * 2, "open_for_append");
  if (!opened.ok()) {
    const bool explained = excused(code) || (code == Code::kReadOnly && file.seal_begun) ||
                           (code == Code::kNotFound && file.remove_begun);
    if (!explained) {
      actor.judge().fail(fmt::format("open {}: {}", file.path, opened.error().message()));
    }
    co_return nullptr;
  }
  client::Writer& writer = **opened;
  if (was_sealed || was_removed) {
    actor.judge().fail(fmt::format("{} was opened for append, though {}", file.path,
                                   was_sealed ? "sealed" : "removed"));
  }
  if (file.id != 0 && file.id != writer.file().number) {
    actor.judge().fail(file.path + " has become another file");
  }
  file.id = writer.file().number;
  if (writer.end() < floor) {
    actor.judge().fail(fmt::format("{} was opened at {}, but {} bytes were settled", file.path,
                                   writer.end(), floor));
  }
  LOG_INFO("{} epoch {} opens at {}", file.path, writer.epoch().number, writer.end());
  file.floor = std::max(file.floor, writer.end());
  auto session = file.oracle.session_opened(writer.epoch().number, writer.end());
  if (!session.ok()) {
    actor.judge().fail(session.error().message());
    co_return nullptr;
  }
  co_return std::move(*opened);
}

Task<void> StreamWorkload::write(Actor& actor, StreamFile& file) {
  if (file.seal_begun && actor.prng.chance(0.8)) {
    co_return;  // not worth more than a few attempts
  }
  if (actor.prng.chance(stage_.swarm.seal_rate / 2)) {
    co_await seal_from_outside(actor, file);
    co_return;
  }
  auto writer = co_await open(actor, file);
  if (writer == nullptr) {
    co_return;
  }
  const auto session = std::make_shared<WriteSession>(file, std::move(writer));
  if (actor.prng.chance(0.2)) {
    co_await write_enqueued(actor, *session);
  } else {
    co_await write_pipelined(actor, session);
  }
  co_await end_session(actor, *session);
}

Task<void> StreamWorkload::write_pipelined(Actor& actor, std::shared_ptr<WriteSession> session) {
  const Swarm& swarm = stage_.swarm;
  u64 left = actor.prng.between(1, 80);
  const u64 depth = actor.prng.between(1, swarm.pipeline_max);
  const u64 sleeps_at = actor.prng.chance(swarm.idle_rate) ? actor.prng.below(left) : left + 1;
  while (left > 0 && !session->over && !actor.done()) {
    if (left == sleeps_at) {
      co_await sleep_for(milliseconds(static_cast<i64>(actor.prng.between(50, 3000))));
    }
    if (session->in_flight < depth) {
      --left;
      ++session->in_flight;
      actor.host.reactor().spawn("append", TaskClass::foreground, append_one(actor, session));
    }
    if (session->in_flight >= depth) {
      co_await session->changed.wait();
    } else if (actor.stage.tired() || actor.prng.chance(0.3)) {
      co_await actor.think();
    }
  }
  while (session->in_flight > 0) {
    co_await session->changed.wait();
  }
}

Task<void> StreamWorkload::append_one(Actor& actor, std::shared_ptr<WriteSession> session) {
  client::Writer& writer = *session->writer;
  StreamOracle& oracle = session->file.oracle;
  const Swarm& swarm = actor.stage.swarm;
  const bool record = actor.prng.chance(0.15);
  const u64 most = record ? client::kRecordBytesMax : swarm.append_bytes_max;
  const u64 size = draw_size(actor.prng, std::min<u64>(most, swarm.append_bytes_max));
  const u32 number = oracle.issue(session->epoch, size, record);
  std::vector<std::byte> bytes(size);
  oracle.fill(session->epoch, number, bytes);
  actor.stage.bytes_written += size;
  const client::AppendOptions options{.record = record};
  const u64 kind = actor.prng.below(10);
  const Stopwatch watch(actor);
  Result<u64> done = Error(Code::kInternal);
  if (kind == 0) {
    done = co_await writer.append(writer.end(), bytes, options);
  } else if (kind == 1) {
    done = co_await writer.append(writer.end() + 1 + actor.prng.below(5000), bytes, options);
  } else {
    done = co_await writer.append(bytes, options);
  }
  // Waiting for room in the window, then for the acknowledgement.
  watch.check(swarm.cluster.client.op_timeout * 2, "append");
  const Code code = done.code();
  actor.judge().operation_ended(code);
  switch (code) {
    case Code::kOk:
      actor.judge().check(oracle.acknowledged(session->epoch, number, *done), "append");
      if (kind == 1) {
        actor.judge().fail("an append at a wrong expected offset was taken");
      }
      break;
    case Code::kUnknownOutcome:
      actor.judge().check(oracle.unknown(session->epoch, number), "append");
      session->over = true;
      break;
    case Code::kFenced:
    case Code::kClosed:
      session->over = true;
      [[fallthrough]];
    case Code::kBusy:
    case Code::kOffsetMismatch:
    case Code::kTimeout:
      oracle.refused(session->epoch, number);
      break;
    default:
      actor.judge().fail(fmt::format("append: {}", done.error().message()));
      break;
  }
  --session->in_flight;
  session->changed.wake_all();
}

Task<void> StreamWorkload::write_enqueued(Actor& actor, WriteSession& session) {
  struct Sent {
    u32 number;
    u64 offset;
  };
  StreamOracle& oracle = session.file.oracle;
  const u64 most = actor.stage.swarm.append_bytes_max;
  for (u64 flushes = actor.prng.between(1, 5); flushes > 0 && !session.over; --flushes) {
    std::vector<Sent> sent;
    for (u64 left = actor.prng.between(1, 20); left > 0 && !session.over; --left) {
      const u64 size = draw_size(actor.prng, most);
      const Sent each{.number = oracle.issue(session.epoch, size), .offset = session.writer->end()};
      actor.stage.bytes_written += size;
      Slice bytes = Slice::allocate(size);
      oracle.fill(session.epoch, each.number, bytes.mutable_bytes());
      const Status taken = co_await session.writer->enqueue(std::move(bytes));
      if (taken.ok()) {
        sent.push_back(each);
      } else {
        oracle.refused(session.epoch, each.number);
        session.over = taken.code() != Code::kBusy;
      }
    }
    const Status flushed = co_await session.writer->flush();
    actor.judge().operation_ended(flushed.code());
    for (const Sent& each : sent) {
      if (flushed.ok()) {
        actor.judge().check(oracle.acknowledged(session.epoch, each.number, each.offset), "flush");
      } else if (each.offset >= session.writer->length()) {
        actor.judge().check(oracle.unknown(session.epoch, each.number), "flush");
        session.over = true;
      }
    }
    if (actor.done()) {
      co_return;
    }
  }
}

Task<void> StreamWorkload::end_session(Actor& actor, WriteSession& session) {
  const Swarm& swarm = stage_.swarm;
  StreamFile& file = session.file;
  client::Writer& writer = *session.writer;
  if (actor.prng.chance(swarm.abandon_rate)) {
    co_return;
  }
  const Stopwatch watch(actor);
  const Duration limit = swarm.cluster.client.op_timeout * 2;
  if (actor.prng.chance(swarm.seal_rate)) {
    file.seal_begun = true;
    auto sealed = co_await writer.seal();
    actor.judge().operation_ended(sealed.code());
    watch.check(limit, "seal");
    if (sealed.ok()) {
      note_sealed(actor, file, *sealed);
    } else if (!excused(sealed.code()) && sealed.code() != Code::kReadOnly &&
               !(sealed.code() == Code::kClosed && session.over) &&
               !(sealed.code() == Code::kNotFound && file.remove_begun)) {
      actor.judge().fail(fmt::format("seal {}: {}", file.path, sealed.error().message()));
    }
    co_return;
  }
  const Status closed = co_await writer.close();
  actor.judge().operation_ended(closed.code());
  watch.check(limit, "close");
  if (closed.ok()) {
    file.floor = std::max(file.floor, writer.length());
  } else if (!excused(closed.code()) && !(closed.code() == Code::kNotFound && file.remove_begun) &&
             !(closed.code() == Code::kClosed && session.over)) {
    actor.judge().fail(fmt::format("close {}: {}", file.path, closed.error().message()));
  }
}

Task<void> StreamWorkload::seal_from_outside(Actor& actor, StreamFile& file) {
  file.seal_begun = true;
  const Stopwatch watch(actor);
  auto sealed = co_await actor.client.seal(file.path);
  const Code code = sealed.code();
  actor.judge().operation_ended(code);
  watch.check(stage_.swarm.cluster.client.op_timeout * 2, "seal");
  if (sealed.ok()) {
    note_sealed(actor, file, *sealed);
  } else if (!excused(code) && code != Code::kReadOnly && code != Code::kNotFound) {
    actor.judge().fail(fmt::format("seal {}: {}", file.path, sealed.error().message()));
  }
}

}  // namespace pangu::sim
