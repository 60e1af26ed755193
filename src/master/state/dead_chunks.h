#pragma once
#include "base/ids.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// Which chunks are dead (PROTOCOL 29): no owner may ever create or append to them again. A chunk is
// dead if its file was removed, its stream is sealed, or it stands before the first chunk of its
// stream that is open or may be listed yet: then it is settled, dropped, given back, or never was.
//
// Dead is for ever: ids of files and sequence numbers are given out in increasing order and never
// again, settled chunks do not open, sealed streams neither. So the answer needs no state and no
// command of its own, and is true whoever gives it from whatever the state once was.
namespace pangu::master {

// From chunk `from` on, until `files_max` live or sealed files were looked at, or to the last file
// there is. REQUIRES: files_max > 0
pb::DeadChunks dead_chunks(Txn& txn, const ChunkId& from, size_t files_max);

}  // namespace pangu::master
