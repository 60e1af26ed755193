#pragma once
#include "base/buffer.h"

// Memory for the heads and bodies of frames: reference-counted, recycled by size, so that a call
// allocates nothing after warm-up. Payloads never lie here.
//
// A slice may outlive the pool. Belongs to one reactor, like every slice.
namespace pangu::rpc {

class SmallPool {
 public:
  SmallPool();
  SmallPool(const SmallPool&) = delete;
  SmallPool& operator=(const SmallPool&) = delete;
  ~SmallPool();
  // Not cleared. Sizes over 64 KiB come from the heap and go back there.
  Slice take(size_t size);

 private:
  struct Core;
  Core* core_;
};

}  // namespace pangu::rpc
