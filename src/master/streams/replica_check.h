#pragma once
#include <optional>

#include "base/ids.h"
#include "master/state/keys.h"
#include "master/streams/server_calls.h"
#include "wire/control.pb.h"

// What a chunkserver says of a replica, against what the state expects of it.
namespace pangu::master {

// Whether what is there is a whole replica of a chunk that is settled with `length`. It need not be
// finalized yet.
bool is_good_replica(const pb::HeldChunk& held, u32 length);

// The ids right behind, and right before, in the order of ids.
ChunkId next_id(const ChunkId& id);
ChunkId previous_id(const ChunkId& id);

enum class Verdict : u8 { good, bad, unknown };
// Asks for this one chunk. The chunk must have been settled before the call: then nothing is added to
// its replicas any more, and what is there now is all. REQUIRES: the id is neither the first nor the
// last there is
Task<Verdict> check_replica(ServerCalls& calls, pb::ListChunksRequest term, Location location,
                            std::string address, ChunkId chunk, u32 length, Instant deadline);

}  // namespace pangu::master
