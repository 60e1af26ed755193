#include "base/check.h"

#include <cstdio>
#include <cstdlib>
#include <execinfo.h>

namespace pangu {

namespace {
const char* context = nullptr;
}  // namespace

void set_check_context(const char* text) {
  context = text;
}

void check_failed(const char* condition, const char* file, int line, std::string_view note) {
  std::fprintf(stderr, "CHECK failed: %s at %s:%d%s%.*s\n", condition, file, line,
               note.empty() ? "" : ": ", static_cast<int>(note.size()), note.data());
  if (context != nullptr) {
    std::fprintf(stderr, "in: %s\n", context);
  }
  void* frames[64];
  const int count = backtrace(frames, 64);
  backtrace_symbols_fd(frames, count, 2);
  std::abort();
}

}  // namespace pangu
