#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "chunk/store/chunk_store.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "wire/control.pb.h"

// Rids devices of tombstones: asks the stream service which chunks are dead, where a device has
// something to forget, and tells the device the answer.
//
// A device is gone through from its smallest chunk id to its largest, one question a heartbeat; each
// answer covers as many dead chunks as there are, but only so many live files. Then it is left alone
// until it remembers twice as much as what could not be forgotten: the work is in proportion to the
// chunks that were deleted, and a device with nothing to forget costs nothing. While a device refuses
// creates for want of room for records it is gone through again and again.
namespace pangu::chunk {

class Forgetting {
 public:
  explicit Forgetting(Reactor& reactor) : reactor_(reactor) {}

  // `store` outlives stop().
  void add_device(const Uuid& device, ChunkStore& store);
  // The next question, if there is one, of the devices in turn.
  std::optional<pb::ChunkOnDevice> question();
  // Its answer; one that does not fit any question, or contradicts itself, is ignored. What it says
  // is made durable in the background.
  void take(const pb::DeadChunks& dead);
  Task<void> stop();

 private:
  struct Device {
    Uuid id;
    ChunkStore* store = nullptr;
    std::optional<ChunkId> from;  // under way: everything below was asked about
    u64 left = 0;                 // remembered at the end of the last round
    bool busy = false;            // an answer is being made durable
  };
  bool due(const Device& device) const;
  Task<void> forget(Device& device, std::vector<ChunkRange> dead, ChunkId until);

  Reactor& reactor_;
  std::vector<std::unique_ptr<Device>> devices_;
  size_t turn_ = 0;
  bool stopping_ = false;
  Gate gate_;
};

// The dead ranges of an answer, in order; nothing if it contradicts itself.
std::optional<std::vector<ChunkRange>> dead_ranges(const pb::DeadChunks& dead);

}  // namespace pangu::chunk
