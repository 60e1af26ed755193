#pragma once
#include <vector>

#include "base/ids.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"

// Tables P and N: where settled chunks stand, and which of them lack good copies. They follow from
// the chunks' records alone.
//
// Invariants
// 1. Of a SEALED chunk, in a stream's tail or in table C, table P has a row for every replica, until
//    the chunk is freed (state/reclaim.h); of any other chunk it has none.
// 2. Table N has a row if such a chunk has fewer good replicas, those that are not suspect, than its
//    file wants copies. Meta::short_chunks counts them.
namespace pangu::master {

u32 good_copies(const record::Chunk& chunk);

// The chunk was settled, or its replicas are these from now on. `wanted`: Stream::copies_max.
void list_replicas(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk);
// The opposite, with what list_replicas() was called with: the chunk is about to change or to go.
void unlist_replicas(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk);

// Rows of table P, by device and chunk.
struct PlacedChunk {
  Location location;
  ChunkId chunk;
  keys::Standing standing;
};
struct PlacedPage {
  std::vector<PlacedChunk> chunks;
  bool more = false;
};
// The first `limit` on a device with ids above `after` (a zero id: from the start).
PlacedPage placed_on_device(Txn& txn, const Location& location, const ChunkId& after, size_t limit);
// The first `limit` on a server behind `after` (nothing: from the start).
PlacedPage placed_on_server(Txn& txn, ServerId server,
                            const std::optional<PlacedChunk>& after, size_t limit);
std::optional<keys::Standing> standing_of(Txn& txn, const Location& location,
                                          const ChunkId& chunk);
// The server's devices that have any.
std::vector<Uuid> devices_with_replicas(Txn& txn, ServerId server);

}  // namespace pangu::master
