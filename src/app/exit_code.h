#pragma once
#include "base/result.h"

// What `pangu` answers to the shell (docs/cli.md, "Exit codes").
namespace pangu::app {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitTimeout = 124,
  kExitInterrupted = 130,
};

// Invalid arguments are the caller's mistake (2) whoever found them; a passed deadline is 124.
constexpr ExitCode exit_code_of(Code code) {
  switch (code) {
    case Code::kOk:
      return kExitOk;
    case Code::kInvalidArgument:
      return kExitUsage;
    case Code::kTimeout:
      return kExitTimeout;
    case Code::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

}  // namespace pangu::app
