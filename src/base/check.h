#pragma once
#include <string_view>

// CHECK states what this process itself guarantees and stays on in release. Bytes that come from a
// disk, a peer, a user or a configuration file must never be able to trip one: they get an Error.
namespace pangu {

// Writes the failed condition, its place and `note` to stderr and aborts. Never returns.
[[noreturn]] void check_failed(const char* condition, const char* file, int line,
                               std::string_view note = {});
// What the process is doing, as part of that message: a simulation names its seed. Must stay in
// place until the next call; nullptr for nothing.
void set_check_context(const char* text);

}  // namespace pangu

#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::pangu::check_failed(#condition, __FILE__, __LINE__); \
  } while (0)

#define CHECK_NOTE(condition, note)                                  \
  do {                                                               \
    if (!(condition)) [[unlikely]]                                   \
      ::pangu::check_failed(#condition, __FILE__, __LINE__, (note)); \
  } while (0)
