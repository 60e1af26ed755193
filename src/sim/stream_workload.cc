#include "sim/stream_workload.h"

#include <algorithm>
#include <fmt/format.h>

namespace pangu::sim {

StreamWorkload::StreamWorkload(Stage& stage) : stage_(stage) {
  for (u32 i = 0; i < stage.swarm.files; ++i) {
    StreamFile& file =
        files_.emplace_back(i + 1, fmt::format("{}/f{}", kFolder, i), stage.swarm.file);
    file.mortal = stage.swarm.remove_rate > 0 && i % 2 == 1;
  }
}

Task<Status> StreamWorkload::prepare(client::Client& client) {
  CO_TRY_VOID(co_await client.make_directory(kFolder, true));
  for (StreamFile& file : files_) {
    if (file.mortal) {
      const client::CreateOptions options{.file = file.options, .exclusive = false};
      auto created = co_await client.create(file.path, options);
      if (!created.ok()) {
        co_return std::move(created).error();
      }
    }
  }
  co_return ok_status();
}

Task<void> StreamWorkload::act(Actor& actor) {
  const Swarm& swarm = stage_.swarm;
  const u64 tickets = swarm.write_weight + swarm.tail_weight + swarm.read_weight;
  while (!actor.done()) {
    StreamFile& file = files_[actor.prng.below(files_.size())];
    const u64 ticket = actor.prng.below(tickets);
    if (file.mortal && actor.prng.chance(swarm.remove_rate)) {
      co_await remove(actor, file);
    } else if (ticket < swarm.write_weight) {
      co_await write(actor, file);
    } else if (ticket < swarm.write_weight + swarm.tail_weight) {
      co_await follow_tail(actor, file);
    } else {
      co_await read_anywhere(actor, file);
    }
    co_await actor.think();
  }
}

Task<void> StreamWorkload::remove(Actor& actor, StreamFile& file) {
  const bool was_removed = file.removed;
  file.remove_begun = true;
  const Stopwatch watch(actor);
  auto removed = co_await actor.client.remove(file.path);
  const Code code = removed.code();
  actor.judge().operation_ended(code);
  watch.check(stage_.swarm.cluster.client.op_timeout, "remove");
  if (code == Code::kOk && was_removed) {
    actor.judge().fail(file.path + " was removed twice");
  }
  if (code == Code::kOk || code == Code::kNotFound) {
    file.removed = true;  // by this call or by another one that has begun
  } else if (code != Code::kUnknownOutcome && code != Code::kUnavailable &&
             code != Code::kNoSpace) {
    actor.judge().fail(fmt::format("remove {}: {}", file.path, removed.error().message()));
  }
}

void StreamWorkload::note_sealed(Actor& actor, StreamFile& file, u64 length) {
  actor.judge().check(file.oracle.told_length(file.readers++, length, file.floor), "seal");
  if (file.sealed && file.sealed_length != length) {
    actor.judge().fail(
        fmt::format("{} was sealed at {} and at {}", file.path, file.sealed_length, length));
  }
  file.sealed = true;
  file.sealed_length = length;
  file.floor = std::max(file.floor, length);
}

}  // namespace pangu::sim
