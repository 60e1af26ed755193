#pragma once
#include <span>

#include "master/state/record.pb.h"
#include "master/state/txn.h"

// Table K: what prepared transactions have locked, so that nobody sees or changes one half of what
// is decided elsewhere. An absent lock is free; locks are taken and given back only by
// state/transaction.cc.
namespace pangu::master {

bool entry_locked(Txn& txn, u64 directory, std::string_view name);
// Any entry of the directory.
bool entries_locked(Txn& txn, u64 directory);
bool directory_locked(Txn& txn, u64 id);
// A directory of the chain is prepared to be moved.
bool way_locked(Txn& txn, std::span<const u64> chain);

}  // namespace pangu::master
