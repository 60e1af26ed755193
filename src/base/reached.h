#pragma once
#include <string_view>

#include "base/types.h"

// REACHED("append: torn tail found") marks a rare path. Every mark of the binary is listed at link
// time, so a simulation can report which were hit, how often, and which never.
namespace pangu {

struct ReachedMark {
  const char* name;
  u64* count;
};

// Calls visit(mark) for every mark linked into this binary.
void for_each_reached_mark(void (*visit)(void* context, const ReachedMark& mark), void* context);

}  // namespace pangu

#define REACHED(name)                                                                       \
  do {                                                                                      \
    static ::pangu::u64 reached_count = 0;                                                  \
    [[gnu::section("pangu_reached"),                                                        \
      gnu::used]] static constinit ::pangu::ReachedMark reached_mark{name, &reached_count}; \
    __atomic_fetch_add(&reached_count, 1, __ATOMIC_RELAXED);                                \
  } while (0)
