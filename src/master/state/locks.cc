#include "master/state/locks.h"

#include <algorithm>

namespace pangu::master {

bool entry_locked(Txn& txn, u64 directory, std::string_view name) {
  return txn.has(keys::entry_lock(directory, name));
}

bool entries_locked(Txn& txn, u64 directory) {
  return !txn.scan_prefix(keys::entry_locks_of(directory), 1).entries.empty();
}

bool directory_locked(Txn& txn, u64 id) { return txn.has(keys::directory_lock(id)); }

bool way_locked(Txn& txn, std::span<const u64> chain) {
  // There is one move at a time: nearly always none.
  const KvPage moves = txn.scan_prefix(keys::move_locks(), 2);
  if (moves.entries.empty()) {
    return false;
  }
  return std::any_of(chain.begin(), chain.end(),
                     [&](u64 id) { return txn.has(keys::move_lock(id)); });
}

}  // namespace pangu::master
