#pragma once
#include <cstddef>

// Coroutine frames come from per-thread free lists by size class, so the data path allocates
// nothing after warm-up. A frame must be freed on the thread that made it (a task never leaves its
// reactor).
namespace pangu {

void* frame_allocate(size_t size);
void frame_free(void* frame, size_t size);

}  // namespace pangu
