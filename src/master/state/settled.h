#pragma once
#include "master/state/record.pb.h"
#include "master/state/txn.h"

// Tables P and N: where settled chunks stand, and which of them lack good copies. They follow from
// the chunks' records alone.
//
// Invariants
// 1. Of a SEALED chunk, in a stream's tail or in table C, table P has a row for every replica, until
//    the chunk is freed (state/reclaim.h); of any other chunk it has none.
// 2. Table N has a row if such a chunk has fewer good replicas, those that are not suspect, than its
//    file wants copies. Meta::short_chunks counts them.
namespace pangu::master {

u32 good_copies(const record::Chunk& chunk);

// The chunk was settled, or its replicas are these from now on. `wanted`: Stream::copies_max.
void list_replicas(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk);
// The opposite, with what list_replicas() was called with: the chunk is about to change or to go.
void unlist_replicas(Txn& txn, FileId file, u32 wanted, const record::Chunk& chunk);

}  // namespace pangu::master
