#pragma once
#include "base/bytes.h"

namespace pangu::wire {

// Field 15 of a serialized request to the masters: the group that it is for; 0 if there is none, or
// the bytes are no message.
u64 group_of(Bytes request);

}  // namespace pangu::wire
