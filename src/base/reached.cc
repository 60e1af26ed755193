#include "base/reached.h"

// The linker provides the bounds of the section if any mark was linked in.
extern "C" {
[[gnu::weak]] extern pangu::ReachedMark __start_pangu_reached[];
[[gnu::weak]] extern pangu::ReachedMark __stop_pangu_reached[];
}

namespace pangu {

void for_each_reached_mark(void (*visit)(void* context, const ReachedMark& mark), void* context) {
  for (ReachedMark* mark = __start_pangu_reached; mark < __stop_pangu_reached; ++mark) {
    visit(context, *mark);
  }
}

}  // namespace pangu
