#pragma once
#include "base/types.h"

namespace pangu::master {

namespace record {
class Offer;
}

// What a command brings with it, beside the request.
struct ApplyContext {
  u64 index = 0;          // in the log
  i64 wall_clock_us = 0;  // the leader's, for people
  const record::Offer& offer;
};

}  // namespace pangu::master
