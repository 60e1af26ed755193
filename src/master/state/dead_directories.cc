#include "master/state/dead_directories.h"

#include "base/reached.h"
#include "master/state/limits.h"
#include "master/state/namespace.h"
#include "master/state/outbox.h"
#include "master/state/partition_map.h"
#include "master/state/record.pb.h"
#include "wire/partition.h"

namespace pangu::master {
namespace {

// False: it is not known yet whose the directory is.
bool free_child_directory(Txn& txn, u64 directory) {
  const std::optional<u64> group = group_of_directory(txn, directory);
  if (!group) {
    REACHED("master: a buried directory's child is of an unknown subtree");
    return false;
  }
  if (*group != own_group(txn.meta())) {
    record::Message message;
    message.set_bury_directory(directory);
    queue_message(txn, *group, std::move(message));
  } else if (directory_exists(txn, directory)) {
    bury_directory(txn, directory);
  }
  return true;
}

void free_file(Txn& txn, FileId file) {
  record::Message message;
  message.set_remove_file(file.number);
  queue_message(txn, wire::stream_group_of(file), std::move(message));
  txn.meta().set_files(txn.meta().files() - 1);
}

u32 reclaim_directory(Txn& txn, u64 directory, u32 budget) {
  const KvPage page = txn.scan_prefix(keys::entries_of(directory), budget);
  u32 used = 1;
  for (const KvEntry& found : page.entries) {
    record::Entry entry;
    txn.get(found.key, entry);
    if (entry.type() != pb::ENTRY_DIRECTORY) {
      free_file(txn, {entry.id()});
    } else if (!free_child_directory(txn, entry.id())) {
      return budget;
    }
    txn.erase(found.key);
    ++used;
  }
  if (!page.more) {
    txn.erase(keys::dead_directory(directory));
    txn.meta().set_reclaims(txn.meta().reclaims() - 1);
  }
  return used;
}

}  // namespace

void bury_directory(Txn& txn, u64 directory) {
  txn.erase(keys::directory(directory));
  txn.put(keys::dead_directory(directory), record::DeadDirectory());
  record::Meta& meta = txn.meta();
  meta.set_directories(meta.directories() - 1);
  meta.set_reclaims(meta.reclaims() + 1);
}

u32 reclaim_directories(Txn& txn, u32 budget) {
  u32 used = 0;
  while (used < budget && !txn.failed()) {
    const KvPage dead = txn.scan_prefix(keys::dead_directories(), 1);
    if (dead.entries.empty()) {
      break;
    }
    const std::string_view key = dead.entries.front().key;
    used += reclaim_directory(txn, keys::decode_u64(key.substr(1)), budget - used);
  }
  return used;
}

}  // namespace pangu::master
