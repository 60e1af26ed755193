#include "master/state/reclaim.h"

#include "base/reached.h"
#include "master/state/limits.h"
#include "master/state/session.h"

namespace pangu::master {
namespace {

using Counts = record::Purge;

void bury_child_directory(Txn& txn, u64 directory, u64 purge_id, Counts& purge) {
  record::DeadDirectory dead;
  dead.set_purge(purge_id);
  txn.erase(keys::directory(directory));
  txn.put(keys::dead_directory(directory), dead);
  record::Meta& meta = txn.meta();
  meta.set_directories(meta.directories() - 1);
  meta.set_reclaims(meta.reclaims() + 1);
  purge.set_directories(purge.directories() + 1);
  purge.set_pending(purge.pending() + 1);
}

// The answer of the removal gets its counts, if its client may still ask for it.
void finish_purge(Txn& txn, u64 purge_id, const Counts& purge) {
  txn.erase(keys::purge(purge_id));
  pb::RemoveReply reply;
  reply.set_files(purge.files());
  reply.set_directories(purge.directories());
  complete_answer(txn, {.high = purge.client_high(), .low = purge.client_low()},
                  purge.client_sequence(), purge_id, reply.SerializeAsString());
}

// Frees entries of one dead directory; returns how many records of the budget that took.
u32 reclaim_directory(Txn& txn, u64 directory, const record::DeadDirectory& dead, u32 budget) {
  record::Meta& meta = txn.meta();
  Counts purge;
  txn.get(keys::purge(dead.purge()), purge);
  const std::string prefix = keys::entries_of(directory);
  const KvPage page = txn.scan_prefix(prefix, budget);
  for (const KvEntry& found : page.entries) {
    record::Entry entry;
    txn.get(found.key, entry);
    if (entry.type() == pb::ENTRY_DIRECTORY) {
      bury_child_directory(txn, entry.id(), dead.purge(), purge);
    } else {
      bury_file(txn, {entry.id()});
      purge.set_files(purge.files() + 1);
    }
    txn.erase(found.key);
  }
  if (!page.more) {
    txn.erase(keys::dead_directory(directory));
    meta.set_reclaims(meta.reclaims() - 1);
    purge.set_pending(purge.pending() - 1);
  }
  if (purge.pending() == 0) {
    finish_purge(txn, dead.purge(), purge);
  } else {
    txn.put(keys::purge(dead.purge()), purge);
  }
  return static_cast<u32>(page.entries.size()) + 1;
}

void free_chunk(Txn& txn, FileId file, const record::Chunk& chunk) {
  order_erase(txn, file, chunk);
  txn.meta().set_chunks(txn.meta().chunks() - 1);
}

u32 reclaim_file(Txn& txn, FileId file, record::Stream& stream, u32 budget) {
  u32 used = 1;
  for (const record::Chunk& chunk : stream.tail()) {
    free_chunk(txn, file, chunk);
    ++used;
  }
  stream.clear_tail();
  const std::string prefix = keys::chunks_of(file);
  const KvPage page = txn.scan_prefix(prefix, std::max<u32>(budget > used ? budget - used : 0, 1));
  for (const KvEntry& found : page.entries) {
    record::Chunk chunk;
    txn.get(found.key, chunk);
    free_chunk(txn, file, chunk);
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

template <class Step>
void order_each(FileId file, const record::Chunk& chunk, Step step) {
  for (const record::Replica& replica : chunk.replicas()) {
    const Location location{.server = {replica.server()},
                            .device = {.high = replica.device_high(), .low = replica.device_low()}};
    step(keys::order(location, ChunkId{.file = file, .sequence = chunk.sequence()}));
  }
}

}  // namespace

void bury_file(Txn& txn, FileId file) {
  record::Stream stream;
  if (!txn.get(keys::stream(file), stream)) {
    return;
  }
  txn.erase(keys::stream(file));
  record::Meta& meta = txn.meta();
  meta.set_files(meta.files() - 1);
  if (stream.tail().empty() && stream.settled_chunks() == 0) {
    return;
  }
  txn.put(keys::dead_file(file), stream);
  meta.set_reclaims(meta.reclaims() + 1);
}

void bury_directory(Txn& txn, u64 directory, const pb::RequestId& request) {
  record::Purge purge;
  purge.set_client_high(request.client().high());
  purge.set_client_low(request.client().low());
  purge.set_client_sequence(request.sequence());
  bury_child_directory(txn, directory, directory, purge);
  txn.put(keys::purge(directory), purge);
}

void reclaim(Txn& txn, u32 budget) {
  budget = std::clamp<u32>(budget, 1, kReclaimBudgetMax);
  u32 used = 0;
  while (used < budget && !txn.failed()) {
    const KvPage directories = txn.scan_prefix(keys::dead_directories(), 1);
    if (!directories.entries.empty()) {
      const KvEntry& found = directories.entries.front();
      record::DeadDirectory dead;
      txn.get(found.key, dead);
      used += reclaim_directory(txn, keys::decode_u64(std::string_view(found.key).substr(1)), dead,
                                budget - used);
      continue;
    }
    const KvPage files = txn.scan_prefix(keys::dead_files(), 1);
    if (files.entries.empty()) {
      return;
    }
    const KvEntry& found = files.entries.front();
    record::Stream stream;
    txn.get(found.key, stream);
    used += reclaim_file(txn, {keys::decode_u64(std::string_view(found.key).substr(1))}, stream,
                         budget - used);
  }
}

void order_erase(Txn& txn, FileId file, const record::Chunk& chunk) {
  record::Order order;
  order.set_erase(true);
  order_each(file, chunk, [&](std::string key) { txn.put(std::move(key), order); });
}

void order_finalize(Txn& txn, FileId file, const record::Chunk& chunk) {
  record::Order order;
  order.set_length(chunk.length());
  order.set_version(chunk.version());
  order_each(file, chunk, [&](std::string key) { txn.put(std::move(key), order); });
}

}  // namespace pangu::master
