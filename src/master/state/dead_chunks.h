#pragma once
#include "base/ids.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// Which chunks are dead (PROTOCOL 29): no owner may ever create or append to them again. A chunk is
// dead if its file was removed, its stream is sealed, or it stands before the first chunk of its
// stream that is open or may be listed yet: then it is settled, dropped, given back, or never was. A
// file without a stream that was not removed may still be opened: all its chunks are alive.
//
// Dead is for ever: removed files and sequence numbers never come again, settled chunks do not open,
// sealed streams neither. So the answer needs no state and no command of its own, and is true whoever
// gives it from whatever the state once was.
namespace pangu::master {

// From chunk `from` on: until so many streams, or so many ranges of removed files, were looked at, or
// to the last one of them that there is. `until` = `from`: this group has none from there on, or the
// ids are another group's. REQUIRES: files_max > 0
pb::DeadChunks dead_chunks(Txn& txn, const ChunkId& from, size_t files_max);

}  // namespace pangu::master
