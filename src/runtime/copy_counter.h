#pragma once
#include <cstring>

#include "base/bytes.h"

// Proof that payload is not copied: whoever does copy payload bytes in user space does it with
// copy_payload(), and a test or a status page reads the counter. Between receive and device write
// it must not grow.
namespace pangu {

// Of this thread, since it started.
inline thread_local u64 payload_bytes_copied = 0;

inline void copy_payload(void* to, Bytes from) {
  if (!from.empty()) {
    std::memcpy(to, from.data(), from.size());
    payload_bytes_copied += from.size();
  }
}

}  // namespace pangu
