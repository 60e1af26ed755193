#pragma once
#include <functional>
#include <string>

#include "app/command.h"
#include "app/world.h"

// The life of a server process: start, say that it is ready, serve until a signal, stop in order.
namespace pangu::app {

// The flags of every server: --listen, --data, --spin, --io and the hidden --ready-fd.
extern const Flag kListenFlag, kDataFlag, kSpinFlag, kIoFlag, kReadyFdFlag;

// How long a server may take to stop; then it ends without waiting any more.
inline constexpr Duration kStopPatience = seconds(9);

// Tells whoever started the process, and the log, that `address` is served.
void announce(const Invocation& invocation, std::string_view what, std::string_view address);
// The value of `key`, or an error that names key and flag.
Result<std::string> required(const Config& config, std::string_view key, std::string_view flag);

}  // namespace pangu::app
