#include <algorithm>
#include <fmt/format.h>

#include "sim/stream_workload.h"

// The reading half of the workload.
namespace pangu::sim {

namespace {

bool excused(Code code, const StreamFile& file) {
  return code == Code::kUnavailable || code == Code::kTimeout ||
         (code == Code::kNotFound && file.remove_begun);
}

}  // namespace

Task<std::unique_ptr<client::Reader>> StreamWorkload::open_reader(Actor& actor, StreamFile& file) {
  const bool was_removed = file.removed;
  const bool was_there = file.id != 0;
  auto opened = co_await actor.client.open_for_read(file.path);
  const Code code = opened.code();
  actor.judge().operation_ended(code);
  if (opened.ok()) {
    if (was_removed) {
      actor.judge().fail(file.path + " can be opened though it was removed");
    }
    co_return std::move(*opened);
  }
  if (!excused(code, file) && (code != Code::kNotFound || was_there)) {
    actor.judge().fail(fmt::format("open {} for reading: {}", file.path, opened.error().message()));
  }
  co_return nullptr;
}

Task<Result<u64>> StreamWorkload::read_at(Actor& actor, StreamFile& file, client::Reader& reader,
                                          u64 offset, u64 size) {
  std::vector<std::byte> bytes(size);
  const u64 there = reader.known_length();
  const Stopwatch watch(actor);
  auto count = co_await reader.read(offset, bytes);
  actor.judge().operation_ended(count.code());
  watch.check(actor.stage.swarm.cluster.client.op_timeout * 2, "read");
  if (!count.ok()) {
    if (!excused(count.code(), file)) {
      actor.judge().fail(
          fmt::format("read {} at {}: {}", file.path, offset, count.error().message()));
    }
    co_return count;
  }
  const u64 due = there > offset ? std::min(size, there - offset) : 0;
  if (*count < due || *count > size) {
    actor.judge().fail(
        fmt::format("read {} at {}: {} bytes came, {} were due", file.path, offset, *count, due));
    co_return count;
  }
  actor.stage.bytes_read += *count;
  actor.judge().check(file.oracle.read(offset, Bytes(bytes).first(*count)), "read");
  co_return count;
}

Task<void> StreamWorkload::follow_tail(Actor& actor, StreamFile& file) {
  auto reader = co_await open_reader(actor, file);
  if (reader == nullptr) {
    co_return;
  }
  const u32 number = file.readers++;
  u64 offset = 0;
  if (actor.prng.chance(0.7)) {  // from the end on
    const u64 floor = file.floor;
    auto length = co_await reader->length();
    if (!length.ok()) {
      co_return;
    }
    actor.judge().check(file.oracle.told_length(number, *length, floor), "length");
    offset = *length;
  }
  for (u64 left = actor.prng.between(3, 60); left > 0 && !actor.done(); --left) {
    const Duration patience = milliseconds(static_cast<i64>(actor.prng.below(800)));
    const Stopwatch watch(actor);
    auto length = co_await reader->read_wait(offset, actor.now() + patience);
    actor.judge().operation_ended(length.code());
    watch.check(actor.stage.swarm.cluster.client.op_timeout + patience, "read_wait");
    if (!length.ok()) {
      if (!excused(length.code(), file)) {
        actor.judge().fail(fmt::format("read_wait {}: {}", file.path, length.error().message()));
      }
      co_await actor.think();
      continue;
    }
    actor.judge().check(file.oracle.told_length(number, *length, 0), "read_wait");
    if (*length <= offset) {
      continue;
    }
    const u64 size = std::min<u64>(*length - offset, 200'000);
    auto count = co_await read_at(actor, file, *reader, offset, size);
    if (count.ok()) {
      offset += *count;
    }
    if (actor.stage.tired()) {
      co_await actor.think();
    }
  }
}

Task<void> StreamWorkload::read_anywhere(Actor& actor, StreamFile& file) {
  auto reader = co_await open_reader(actor, file);
  if (reader == nullptr) {
    co_return;
  }
  const u32 number = file.readers++;
  for (u64 left = actor.prng.between(1, 12); left > 0 && !actor.done(); --left) {
    if (reader->known_length() == 0 || actor.prng.chance(0.3)) {
      const u64 floor = file.floor;
      const Stopwatch watch(actor);
      auto length = co_await reader->length();
      actor.judge().operation_ended(length.code());
      watch.check(actor.stage.swarm.cluster.client.op_timeout, "length");
      if (!length.ok()) {
        if (!excused(length.code(), file)) {
          actor.judge().fail(fmt::format("length of {}: {}", file.path, length.error().message()));
        }
        co_return;
      }
      actor.judge().check(file.oracle.told_length(number, *length, floor), "length");
    }
    const u64 length = reader->known_length();
    if (length > 0) {
      const u64 offset = actor.prng.below(length + 10);
      const u64 size = actor.prng.between(1, actor.prng.chance(0.2) ? 300'000 : 9000);
      auto count = co_await read_at(actor, file, *reader, offset, size);
      if (!count.ok()) {
        co_return;
      }
    }
    co_await actor.think();
  }
}

}  // namespace pangu::sim
