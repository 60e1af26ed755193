#pragma once
#include "client/takeover.h"

namespace pangu::client {

// Makes the stream writable under a new epoch, recovering it if its last writer left chunks open
// (PROTOCOL 20), or seals it for ever. `fresh` of the result is empty when sealing, and may be
// empty if the master found no place for a chunk yet. `options`: as the file's entry has them; its
// first open makes the stream with them.
Task<Result<TakeoverResult>> open_stream(ClientCore& core, std::string path, FileId file,
                                         pb::FileOptions options, TakeoverGoal goal);

}  // namespace pangu::client
