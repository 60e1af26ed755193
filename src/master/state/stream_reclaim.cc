#include <algorithm>

#include "base/reached.h"
#include "master/state/orders.h"
#include "master/state/reclaim.h"
#include "master/state/removed_files.h"
#include "master/state/settled.h"

// Removed files of a stream group.
namespace pangu::master {
namespace {

void free_chunk(Txn& txn, FileId file, const record::Chunk& chunk) {
  order_erase(txn, file, chunk, 0);
  txn.meta().set_chunks(txn.meta().chunks() - 1);
}

void free_settled(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk) {
  unlist_replicas(txn, file, wanted, chunk);
  free_chunk(txn, file, chunk);
}

// Returns how many records that took.
u32 reclaim_file(Txn& txn, FileId file, record::Stream& stream, u32 budget) {
  u32 used = 1;
  for (const record::Chunk& chunk : stream.tail()) {
    if (chunk.state() == static_cast<u32>(pb::CHUNK_SEALED)) {
      free_settled(txn, file, stream.copies_max(), chunk);
    } else {
      free_chunk(txn, file, chunk);
    }
    ++used;
  }
  stream.clear_tail();
  const KvPage page = txn.scan_prefix(keys::chunks_of(file),
                                      std::max<u32>(budget > used ? budget - used : 0, 1));
  for (const KvEntry& found : page.entries) {
    record::Chunk chunk;
    txn.get(found.key, chunk);
    free_settled(txn, file, stream.copies_max(), chunk);
    txn.erase(found.key);
    txn.erase(keys::chunk_end(file, chunk.base() + chunk.length()));
    ++used;
  }
  if (page.more) {
    REACHED("master: a removed file's chunks are freed in several steps");
    txn.put(keys::dead_file(file), stream);
  } else {
    txn.erase(keys::dead_file(file));
    txn.meta().set_reclaims(txn.meta().reclaims() - 1);
  }
  return used;
}

}  // namespace

void remove_file(Txn& txn, FileId file) {
  if (!is_of_group(txn, file)) {
    REACHED("master: told of the removal of another group's file");
    return;
  }
  add_removed(txn, file);
  record::Stream stream;
  if (!txn.get(keys::stream(file), stream)) {
    return;
  }
  txn.erase(keys::stream(file));
  if (stream.tail().empty() && stream.settled_chunks() == 0) {
    return;
  }
  txn.put(keys::dead_file(file), stream);
  txn.meta().set_reclaims(txn.meta().reclaims() + 1);
}

u32 reclaim_files(Txn& txn, u32 budget) {
  u32 used = 0;
  while (used < budget && !txn.failed()) {
    const KvPage files = txn.scan_prefix(keys::dead_files(), 1);
    if (files.entries.empty()) {
      break;
    }
    const KvEntry& found = files.entries.front();
    record::Stream stream;
    txn.get(found.key, stream);
    used += reclaim_file(txn, {keys::decode_u64(std::string_view(found.key).substr(1))}, stream,
                         budget - used);
  }
  return used;
}

}  // namespace pangu::master
