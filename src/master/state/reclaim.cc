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

}  // namespace

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
    const u32 freed = reclaim_files(txn, budget - used);
    if (freed == 0) {
      return;
    }
    used += freed;
  }
}

}  // namespace pangu::master
