#include "chunk/server/forgetting.h"

#include "base/log.h"
#include "base/reached.h"
#include "wire/proto.h"

namespace pangu::chunk {

namespace {
// Less than this is not worth a question.
constexpr u64 kWorthAsking = 64;
}  // namespace

std::optional<std::vector<ChunkRange>> dead_ranges(const pb::DeadChunks& dead) {
  std::vector<ChunkRange> out;
  ChunkId at = wire::get(dead.from());
  const ChunkId until = wire::get(dead.until());
  u64 file_before = 0;
  for (const pb::LiveFile& live : dead.live()) {
    const ChunkId first{.file = {live.file()}, .sequence = live.first()};
    const u64 files = std::max<u64>(live.files(), 1);
    if (live.file() <= file_before || live.file() < at.file.number || first >= until ||
        live.file() >= ~u64{0} - files || (files > 1 && live.first() != 0)) {
      return std::nullopt;
    }
    file_before = live.file() + files - 1;
    if (at < first) {
      out.push_back({.from = at, .until = first});
    }
    at = std::max(at, ChunkId{.file = {live.file() + files}});
  }
  if (at < until) {
    out.push_back({.from = at, .until = until});
  }
  return out;
}

void Forgetting::add_device(const Uuid& device, ChunkStore& store) {
  devices_.push_back(std::make_unique<Device>(Device{.id = device, .store = &store}));
}

bool Forgetting::due(const Device& device, const Round& round, u64 group) const {
  if (round.busy || stopping_) {
    return false;
  }
  const auto index = static_cast<u32>(group - wire::kFirstStreamGroup);
  const Remembered remembered = device.store->remembered_of(index);
  return round.from || remembered.full ||
         remembered.tombstones + remembered.ranges >= 2 * round.left + kWorthAsking;
}

std::optional<ChunkId> Forgetting::next_question(Device& device, u64 group) {
  Round& round = device.rounds[group];
  if (!due(device, round, group)) {
    return std::nullopt;
  }
  const ChunkRange range = range_of_group(group);
  // Ranges of several groups that touch are one: its end may lie beyond this group.
  round.from = device.store->forgettable(round.from.value_or(range.from));
  if (round.from && *round.from >= range.until) {
    round.from.reset();
  }
  if (!round.from) {
    const auto index = static_cast<u32>(group - wire::kFirstStreamGroup);
    const Remembered remembered = device.store->remembered_of(index);
    round.left = remembered.tombstones + remembered.ranges;
  }
  return round.from;
}

std::vector<pb::ChunkOnDevice> Forgetting::questions(u64 group) {
  std::vector<pb::ChunkOnDevice> out;
  for (const auto& device : devices_) {
    if (const auto from = next_question(*device, group)) {
      pb::ChunkOnDevice& question = out.emplace_back();
      wire::set(*question.mutable_chunk(), *from);
      wire::set(*question.mutable_device(), device->id);
    }
  }
  return out;
}

void Forgetting::take(u64 group, const pb::DeadChunks& dead) {
  const Uuid id = wire::get(dead.device());
  const ChunkId until = wire::get(dead.until());
  for (const auto& device : devices_) {
    const auto found = device->rounds.find(group);
    if (device->id != id || found == device->rounds.end() || stopping_) {
      continue;
    }
    Round& round = found->second;
    if (round.busy || !round.from || round.from != wire::get(dead.from())) {
      continue;
    }
    if (until <= *round.from) {
      // Chunks that the service never listed: somebody else's word, or the service lost its state.
      REACHED("chunkserver: tombstones of files that do not exist yet");
      round.from.reset();
      round.left = device->store->remembered_of(static_cast<u32>(group - wire::kFirstStreamGroup))
                       .tombstones;
      return;
    }
    auto ranges = dead_ranges(dead);
    if (!ranges || until > range_of_group(group).until) {
      LOG_WARN("device {}: the answer of group {} about dead chunks contradicts itself",
               to_string(id), group);
      return;
    }
    round.busy = true;
    gate_.spawn(reactor_, "forget chunks", TaskClass::control,
                forget(*device, round, std::move(*ranges), until));
  }
}

Task<void> Forgetting::forget(Device& device, Round& round, std::vector<ChunkRange> dead,
                              ChunkId until) {
  const Status forgotten = co_await device.store->forget(std::move(dead));
  round.busy = false;
  if (forgotten.ok()) {
    round.from = until;
  } else if (!stopping_) {
    LOG_WARN("device {}: dead chunks could not be forgotten: {}", to_string(device.id),
             forgotten.error().message());
  }
}

Task<void> Forgetting::stop() {
  stopping_ = true;
  co_await gate_.close();
}

}  // namespace pangu::chunk
