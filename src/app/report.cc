#include "app/report.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>

#include "env/env.h"

namespace pangu::app {

namespace {
std::string_view usual_remedy(Code code) {
  switch (code) {
    case Code::kConnectFailed:
      return "is the cluster running? `pangu dev` starts one; --cluster or PANGU_CLUSTER names it";
    case Code::kTimeout:
      return "`pangu status` shows which servers answer; --timeout allows more time";
    case Code::kNoSpace:
      return "remove files or add a device; `pangu status` shows the space of each";
    case Code::kUnavailable:
    case Code::kUndecidable:
    case Code::kNoPlacement:
      return "`pangu status` shows which servers are missing";
    case Code::kAuthFailed:
      return "use the cluster's key: cluster.key_file or PANGU_CLUSTER_KEY_FILE";
    case Code::kInUse:
      return "another process has it open; stop that one first";
    case Code::kNotOurs:
      return "`pangu chunk format DEVICE` prepares it and destroys what is on it";
    case Code::kCorrupt:
      return "other replicas may be intact; `pangu stat PATH` lists them";
    case Code::kNotEmpty:
    case Code::kIsDirectory:
      return "-r takes directories with everything in them";
    default:
      return {};
  }
}
}  // namespace

std::string error_line(const Error& error) {
  // "invalid argument" says nothing that the context does not say better.
  const bool plain = error.code() == Code::kInvalidArgument && !error.context().empty();
  std::string line = fmt::format("error[{}]: {}", code_name(error.code()),
                                 plain ? std::string(error.context()) : error.message());
  const std::string_view remedy = usual_remedy(error.code());
  if (!remedy.empty() && line.find("; hint: ") == line.npos) {
    line += fmt::format("; hint: {}", remedy);
  }
  return line;
}

void print_error(const Error& error) { print_note(error_line(error) + "\n"); }

void print_warning(std::string_view text) { print_note(fmt::format("warning: {}\n", text)); }

void print_note(std::string_view text) {
  // Nobody is left to tell that standard error is gone.
  (void)!std::fwrite(text.data(), 1, text.size(), stderr);
  (void)std::fflush(stderr);
}

Status print(std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    return env::error_from_errno(errno, "writing to standard output");
  }
  return {};
}

}  // namespace pangu::app
