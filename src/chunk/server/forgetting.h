#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "chunk/server/group_range.h"
#include "chunk/store/chunk_store.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "wire/control.pb.h"

// Rids devices of tombstones: asks the leader of each stream group which of its chunks are dead,
// where a device has something to forget of them, and tells the device the answer.
//
// The chunks of a group on a device are gone through from the smallest id to the largest, one question
// an exchange of orders; each answer covers as many dead chunks as there are, but only so many live
// files. Then they are left alone until the device remembers twice as much of them as what could not
// be forgotten: the work is in proportion to the chunks that were deleted, and a device with nothing
// to forget costs nothing. While a device refuses creates for want of room for records it is gone
// through again and again.
namespace pangu::chunk {

class Forgetting {
 public:
  explicit Forgetting(Reactor& reactor) : reactor_(reactor) {}

  // `store` outlives stop().
  void add_device(const Uuid& device, ChunkStore& store);
  // The next questions to a group's leader, one a device at most.
  std::vector<pb::ChunkOnDevice> questions(u64 group);
  // An answer of that leader; one that does not fit any question, speaks of other groups' chunks or
  // contradicts itself is ignored. What it says is made durable in the background.
  void take(u64 group, const pb::DeadChunks& dead);
  Task<void> stop();

 private:
  // How far one group's chunks on one device have come.
  struct Round {
    std::optional<ChunkId> from;  // under way: everything below was asked about
    u64 left = 0;                 // remembered at the end of the last round
    bool busy = false;            // an answer is being made durable
  };
  struct Device {
    Uuid id;
    ChunkStore* store = nullptr;
    std::map<u64, Round> rounds;  // by group
  };
  bool due(const Device& device, const Round& round, u64 group) const;
  std::optional<ChunkId> next_question(Device& device, u64 group);
  Task<void> forget(Device& device, Round& round, std::vector<ChunkRange> dead, ChunkId until);

  Reactor& reactor_;
  std::vector<std::unique_ptr<Device>> devices_;
  bool stopping_ = false;
  Gate gate_;
};

// The dead ranges of an answer, in order; nothing if it contradicts itself.
std::optional<std::vector<ChunkRange>> dead_ranges(const pb::DeadChunks& dead);

}  // namespace pangu::chunk
