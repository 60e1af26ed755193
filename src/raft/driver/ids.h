#pragma once
#include "base/ids.h"

namespace pangu::raft {

// One Raft group of a cluster: the root, a partition of the namespace, ... 0 is never given out,
// and the id of a group that was removed never comes back.
using GroupId = StrongInt<struct GroupIdTag, u64>;

}  // namespace pangu::raft
