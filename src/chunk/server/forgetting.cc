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

bool Forgetting::due(const Device& device) const {
  if (device.busy || stopping_) {
    return false;
  }
  const Remembered remembered = device.store->remembered();
  return device.from || remembered.full ||
         remembered.tombstones + remembered.ranges >= 2 * device.left + kWorthAsking;
}

std::optional<pb::ChunkOnDevice> Forgetting::question() {
  for (size_t i = 0; i < devices_.size(); ++i) {
    Device& device = *devices_[turn_++ % devices_.size()];
    if (!due(device)) {
      continue;
    }
    device.from = device.store->forgettable(device.from.value_or(ChunkId{}));
    if (!device.from) {
      const Remembered remembered = device.store->remembered();
      device.left = remembered.tombstones + remembered.ranges;
      continue;
    }
    pb::ChunkOnDevice out;
    wire::set(*out.mutable_chunk(), *device.from);
    wire::set(*out.mutable_device(), device.id);
    return out;
  }
  return std::nullopt;
}

void Forgetting::take(const pb::DeadChunks& dead) {
  const Uuid id = wire::get(dead.device());
  for (const auto& device : devices_) {
    if (device->id != id || device->busy || device->from != wire::get(dead.from()) || stopping_) {
      continue;
    }
    const ChunkId until = wire::get(dead.until());
    if (until <= *device->from) {
      // Chunks that the service never listed: somebody else's word, or the service lost its state.
      REACHED("chunkserver: tombstones of files that do not exist yet");
      device->from.reset();
      device->left = device->store->remembered().tombstones;
      return;
    }
    auto ranges = dead_ranges(dead);
    if (!ranges) {
      LOG_WARN("device {}: the master's answer about dead chunks contradicts itself",
               to_string(id));
      return;
    }
    device->busy = true;
    gate_.spawn(reactor_, "forget chunks", TaskClass::control,
                forget(*device, std::move(*ranges), until));
  }
}

Task<void> Forgetting::forget(Device& device, std::vector<ChunkRange> dead, ChunkId until) {
  const Status forgotten = co_await device.store->forget(std::move(dead));
  device.busy = false;
  if (forgotten.ok()) {
    device.from = until;
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
