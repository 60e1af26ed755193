#include "master/state/settled.h"

#include <algorithm>

#include "master/state/orders.h"

namespace pangu::master {

u32 good_copies(const record::Chunk& chunk) {
  return static_cast<u32>(
      std::count_if(chunk.replicas().begin(), chunk.replicas().end(),
                    [](const record::Replica& replica) { return !replica.suspect(); }));
}

void list_replicas(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk) {
  const ChunkId id{.file = file, .sequence = chunk.sequence()};
  for (const record::Replica& replica : chunk.replicas()) {
    const keys::Standing standing{
        .version = chunk.version(), .length = chunk.length(), .suspect = replica.suspect()};
    txn.put(keys::placed(location_of(replica), id), keys::encode_standing(standing));
  }
  if (const u32 good = good_copies(chunk); good < wanted) {
    txn.put(keys::short_chunk(good, file, chunk.sequence()), std::string());
    txn.meta().set_short_chunks(txn.meta().short_chunks() + 1);
  }
}

void unlist_replicas(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk) {
  const ChunkId id{.file = file, .sequence = chunk.sequence()};
  for (const record::Replica& replica : chunk.replicas()) {
    txn.erase(keys::placed(location_of(replica), id));
  }
  if (const u32 good = good_copies(chunk); good < wanted) {
    txn.erase(keys::short_chunk(good, file, chunk.sequence()));
    txn.meta().set_short_chunks(txn.meta().short_chunks() - 1);
  }
}

}  // namespace pangu::master
