#pragma once
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// What is removed is freed afterwards, a bounded number of records a command: in namespace groups
// entries of removed directories (state/dead_directories.h), in stream groups chunks of removed files,
// which leave as orders to their servers.
namespace pangu::master {

// In the file's stream group, when a namespace group says that the file is removed. Idempotent, and
// for ever: no stream of it is made afterwards. Files of other groups are passed over.
void remove_file(Txn& txn, FileId file);
// Frees up to `budget` records of removed files; returns how many.
u32 reclaim_files(Txn& txn, u32 budget);
// Frees up to `budget` records of whatever there is.
void reclaim(Txn& txn, u32 budget);

}  // namespace pangu::master
