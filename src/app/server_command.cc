#include "app/server_command.h"

#include <fmt/format.h>

#include "app/process.h"
#include "base/log.h"

namespace pangu::app {

const Flag kListenFlag = {.name = "listen", .kind = ValueKind::text, .value_name = "HOST:PORT",
                          .help = "address to serve on; port 0 takes a free one",
                          .config = "server.listen"};
const Flag kDataFlag = {.name = "data", .kind = ValueKind::text, .value_name = "DIR",
                        .help = "data directory", .config = "server.data"};
const Flag kSpinFlag = {.name = "spin", .kind = ValueKind::duration, .value_name = "TIME",
                        .help = "poll this long before sleeping", .config = "runtime.spin"};
const Flag kIoFlag = {.name = "io", .kind = ValueKind::text, .value_name = "HOW",
                      .help = "how to reach the kernel", .choices = "auto|io_uring|epoll",
                      .config = "runtime.io"};
const Flag kReadyFdFlag = {.name = "ready-fd", .kind = ValueKind::count, .value_name = "N",
                           .help = "where to announce the address", .hidden = true};

void announce(const Invocation& invocation, std::string_view what, std::string_view address) {
  LOG_INFO("{} serves on {}", what, address);
  if (invocation.args.given("ready-fd")) {
    announce_ready(static_cast<int>(invocation.args.count("ready-fd")), address);
  }
}

Result<std::string> required(const Config& config, std::string_view key, std::string_view flag) {
  const std::string& value = config.text(key);
  if (value.empty()) {
    return Error(Code::kInvalidArgument,
                 fmt::format("{} is not set; hint: give {} or set it in the configuration", key,
                             flag));
  }
  return value;
}

}  // namespace pangu::app
