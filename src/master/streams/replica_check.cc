#include "master/streams/replica_check.h"

#include "wire/proto.h"

namespace pangu::master {

bool is_good_replica(const pb::HeldChunk& held, u32 length) {
  if (held.gone() || held.copying() || held.damaged()) {
    return false;
  }
  return held.finalized() ? held.length() == length : held.length() >= length;
}

ChunkId next_id(const ChunkId& id) {
  ChunkId out = id;
  if (++out.shard == 0 && ++out.sequence == 0) {
    ++out.file.number;
  }
  return out;
}

ChunkId previous_id(const ChunkId& id) {
  ChunkId out = id;
  if (out.shard-- == 0 && out.sequence-- == 0) {
    --out.file.number;
  }
  return out;
}

Task<Verdict> check_replica(ServerCalls& calls, pb::ListChunksRequest term, Location location,
                            std::string address, ChunkId chunk, u32 length, Instant deadline) {
  pb::ListChunksRequest request = std::move(term);
  wire::set(*request.mutable_device(), location.device);
  wire::set(*request.mutable_after(), previous_id(chunk));
  wire::set(*request.mutable_until(), next_id(chunk));
  request.set_limit(1);
  auto reply = co_await call_server<pb::ListChunksReply>(
      calls, location.server, std::move(address), wire::Method::list_chunks, std::move(request),
      deadline);
  if (!reply.ok()) {
    co_return Verdict::unknown;
  }
  const bool good = reply->chunks_size() == 1 && wire::get(reply->chunks(0).chunk()) == chunk &&
                    is_good_replica(reply->chunks(0), length);
  co_return good ? Verdict::good : Verdict::bad;
}

}  // namespace pangu::master
