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

namespace {

PlacedPage placed_page(Txn& txn, const std::string& from, const std::string& end, size_t limit) {
  const KvPage page = txn.scan(from, end, limit);
  PlacedPage out;
  out.more = page.more;
  for (const KvEntry& row : page.entries) {
    const keys::OrderKey key = keys::decode_order(row.key);
    out.chunks.push_back({.location = key.location,
                          .chunk = key.chunk,
                          .standing = keys::decode_standing(row.value)});
  }
  return out;
}

}  // namespace

PlacedPage placed_on_device(Txn& txn, const Location& location, const ChunkId& after,
                            size_t limit) {
  return placed_page(txn, keys::placed(location, after) + '\0',
                     prefix_end(keys::placed_on(location)), limit);
}

PlacedPage placed_on_server(Txn& txn, ServerId server, const std::optional<PlacedChunk>& after,
                            size_t limit) {
  const std::string prefix = keys::placed_on(server);
  const std::string from = after ? keys::placed(after->location, after->chunk) + '\0' : prefix;
  return placed_page(txn, from, prefix_end(prefix), limit);
}

std::optional<keys::Standing> standing_of(Txn& txn, const Location& location,
                                          const ChunkId& chunk) {
  const auto row = txn.get(keys::placed(location, chunk));
  return row ? std::optional(keys::decode_standing(*row)) : std::nullopt;
}

std::vector<Uuid> devices_with_replicas(Txn& txn, ServerId server) {
  std::vector<Uuid> out;
  std::string from = keys::placed_on(server);
  const std::string end = prefix_end(from);
  for (;;) {
    const PlacedPage page = placed_page(txn, from, end, 1);
    if (page.chunks.empty()) {
      return out;
    }
    const Location location = page.chunks.front().location;
    out.push_back(location.device);
    from = prefix_end(keys::placed_on(location));
  }
}

}  // namespace pangu::master
