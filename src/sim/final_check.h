#pragma once
#include "sim/stream_workload.h"

// What must hold when the faults are over: every file can be opened, written and read, holds
// exactly what its oracle says, and goes away with all its chunks. All of it through a client that
// knows nothing of before.
namespace pangu::sim {

// The cluster answers, and all its servers are alive.
Task<void> check_cluster_info(Actor& actor, u32 chunkservers);
// Opens each file for append, recovers it if need be, appends a little, closes it and reads it
// whole.
Task<void> check_files(Actor& actor, StreamWorkload& workload);
// Reads each file whole again, as it was when it was checked.
Task<void> check_contents(Actor& actor, StreamWorkload& workload);
Task<void> remove_everything(Actor& actor);

}  // namespace pangu::sim
