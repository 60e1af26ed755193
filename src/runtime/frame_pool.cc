#include "runtime/frame_pool.h"

#include <cstdlib>
#include <new>

#include "base/types.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PANGU_ASAN 1
#endif
#endif

namespace pangu {

namespace {

constexpr size_t kStep = 64;
constexpr size_t kLargest = 2048;

struct FreeFrame {
  FreeFrame* next;
};

struct FreeLists {
  FreeFrame* heads[kLargest / kStep + 1] = {};
  ~FreeLists() {
    for (FreeFrame* head : heads) {
      while (head != nullptr) {
        FreeFrame* next = head->next;
        ::operator delete(head);
        head = next;
      }
    }
  }
};

thread_local FreeLists t_lists;

}  // namespace

#ifdef PANGU_ASAN
// The sanitizer must see each frame's own life.
void* frame_allocate(size_t size) {
  return ::operator new(size);
}
void frame_free(void* frame, size_t) {
  ::operator delete(frame);
}
#else
void* frame_allocate(size_t size) {
  if (size > kLargest) {
    return ::operator new(size);
  }
  const size_t list = (size + kStep - 1) / kStep;
  FreeFrame*& head = t_lists.heads[list];
  if (head == nullptr) {
    return ::operator new(list * kStep);
  }
  return std::exchange(head, head->next);
}

void frame_free(void* frame, size_t size) {
  if (size > kLargest) {
    ::operator delete(frame);
    return;
  }
  FreeFrame*& head = t_lists.heads[(size + kStep - 1) / kStep];
  head = new (frame) FreeFrame{head};
}
#endif

}  // namespace pangu
