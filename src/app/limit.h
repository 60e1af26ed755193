#pragma once
#include <string>

#include "app/world.h"
#include "base/histogram.h"

// The floor under a durable 4 KiB three-replica append on one shared disk: what the disk and the
// loopback network take for the bytes that such an append moves, without any of our code between.
namespace pangu::app {

struct LimitReport {
  // From the start of three concurrent durable 8 KiB overwrites (O_DIRECT, RWF_DSYNC) of three
  // prewritten files to the end of the second to finish, ns.
  Histogram disk_ns;
  // A bare TCP round trip over loopback to another thread that waits in the same way: 8 KiB there,
  // 64 bytes back, ns.
  Histogram tcp_ns;
};

struct LimitOptions {
  std::string directory;
  Duration duration = seconds(4);  // half of it for each part
  Duration pause;                  // idle so long before each round
};

// Leaves no files behind. Unsupported by a file system without O_DIRECT: said in the error.
Task<Result<LimitReport>> measure_limit(World& world, LimitOptions options);

}  // namespace pangu::app
