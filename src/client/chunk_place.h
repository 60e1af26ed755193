#pragma once
#include <vector>

#include "base/ids.h"
#include "wire/proto.h"

// What the stream service knows about a stream and its chunks, read out of its replies once, with
// every value checked: the rest of the client works on these.
namespace pangu::client {

inline constexpr u32 kCopiesMax = 16;  // no chunk has more locations

enum class ChunkState : u8 { open, sealed, dropped };

struct Replica {
  Location location;
  bool suspect = false;  // short or closed: last choice for reading
  bool operator==(const Replica&) const = default;
};

struct ChunkPlace {
  ChunkId id;
  ChunkState state = ChunkState::open;
  Epoch owner;
  u8 copies_max = 0;  // n of the protocol, = replicas.size() while the chunk is open
  u8 copies_min = 0;  // a
  std::vector<Replica> replicas;
  u64 base = 0;    // once settled
  u32 length = 0;  // once sealed
  u32 version = 0;
  u32 limit = 0;  // payload bytes it may grow to

  u64 end() const { return base + length; }
};

enum class StreamState : u8 { fresh, open, recovering, sealed };

struct StreamSnapshot {
  FileId file;
  Epoch epoch;
  StreamState state = StreamState::fresh;
  u64 settled_length = 0;
  std::vector<ChunkPlace> chunks;  // in list order
};

// kBadFrame says what the master sent that cannot be.
Result<ChunkPlace> read_chunk(const pb::ChunkInfo& info, FileId file);
Result<std::vector<ChunkPlace>> read_chunks(
    const google::protobuf::RepeatedPtrField<pb::ChunkInfo>& infos, FileId file);
Result<StreamSnapshot> read_stream(const pb::StreamInfo& info, FileId file);

}  // namespace pangu::client
