#pragma once
#include "client/takeover.h"

namespace pangu::client {

// Makes the stream writable under a new epoch, recovering it if its last writer left chunks open
// (PROTOCOL 20), or seals it for ever. `fresh` of the result is empty when sealing, and may be
// empty if the master found no place for a chunk yet.
Task<Result<TakeoverResult>> open_stream(ClientCore& core, std::string path, FileId file,
                                         TakeoverGoal goal);

}  // namespace pangu::client
