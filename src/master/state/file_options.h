#pragma once
#include "base/result.h"
#include "wire/control.pb.h"

namespace pangu::master {

// What a file is made with: `wanted`, with the defaults for what it leaves out. InvalidArgument: no
// file can be so.
Result<pb::FileOptions> checked_options(const pb::FileOptions& wanted);

}  // namespace pangu::master
