#pragma once
#include "app/config.h"
#include "chunk/server/chunkserver.h"

// The options of a chunkserver from the configuration.
namespace pangu::app {

// InvalidArgument names the key that is missing or wrong, and its flag.
Result<chunk::ChunkserverOptions> chunkserver_options(const Config& config);

}  // namespace pangu::app
