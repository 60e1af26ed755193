#pragma once
#include "base/ids.h"
#include "wire/control.pb.h"

// Between the project's ids and their Protobuf form.
namespace pangu::wire {

inline void set(pb::Uuid& out, const Uuid& id) {
  out.set_high(id.high);
  out.set_low(id.low);
}
inline Uuid get(const pb::Uuid& in) {
  return {.high = in.high(), .low = in.low()};
}
inline void set(pb::Chunk& out, const ChunkId& id) {
  out.set_file(id.file.number);
  out.set_sequence(id.sequence);
  out.set_shard(id.shard);
}
// shard beyond 16 bits becomes 0xffff, which no chunk has.
inline ChunkId get(const pb::Chunk& in) {
  return {.file = {in.file()},
          .sequence = in.sequence(),
          .shard = static_cast<u16>(in.shard() > 0xffff ? 0xffff : in.shard())};
}

}  // namespace pangu::wire
