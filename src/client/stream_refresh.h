#pragma once
#include <memory>

#include "client/client_core.h"
#include "client/stream_cache.h"

// How a view of a file learns: the settled part from the master, the rest from the replicas of its
// open chunks.
namespace pangu::client {

// Up to `limit` settled chunks that end after `from`, and everything that is not settled.
Task<Status> fetch_stream(ClientCore& core, std::shared_ptr<StreamView> view, u64 from, u32 limit,
                          Instant deadline);

// Asks all replicas of all open chunks how far they are committed. Returns when all have answered,
// or a moment after the first: a silent replica makes the answer older, never wrong.
Task<void> ask_replicas(ClientCore& core, std::shared_ptr<StreamView> view);

// Both: afterwards view->length() is what the file's committed length was at some moment since the
// call, as far as reachable replicas know. Chunks from `from` on are listed by the way.
Task<Status> refresh_length(ClientCore& core, std::shared_ptr<StreamView> view, u64 from, u32 limit,
                            Instant deadline);

// A replica does not have the chunk that `place` says it has: where it is is asked again, once for
// all who find that out at the same time. True: look again. False: that was done a moment ago, and
// the master still says so; ask the other replicas. `offset`: any in the chunk.
Task<Result<bool>> relocate(ClientCore& core, std::shared_ptr<StreamView> view, ChunkPlace place,
                            u64 offset, Instant deadline);

// One WATCH: returns when the replica knows of more than `beyond`, its chunk ended, or after
// `wait`.
Task<Status> watch_replica(ClientCore& core, std::shared_ptr<StreamView> view, ChunkPlace chunk,
                           size_t replica, u64 beyond, Duration wait);

}  // namespace pangu::client
