#include <fmt/format.h>

#include "app/demo.h"
#include "app/local_file.h"
#include "app/process.h"

namespace pangu::app {

namespace {
// Names of files, one a line, until their sizes add up to `bytes`.
Result<std::string> choose_files(const std::string& root, u64 bytes) {
  std::vector<std::string> skipped;
  TRY(entries, walk(root, skipped));
  std::string names;
  u64 sum = 0;
  for (const LocalEntry& entry : entries) {
    if (entry.directory || entry.relative.find('\n') != std::string::npos) {
      continue;
    }
    names += entry.relative + "\n";
    sum += entry.size;
    if (sum >= bytes) {
      break;
    }
  }
  if (sum == 0) {
    return Error(Code::kNotFound, fmt::format("{} holds no files; hint: name a FILE to store",
                                              root));
  }
  return names;
}
}  // namespace

Result<std::string> make_demo_input(const std::string& directory, u64 bytes) {
  const std::string root = "/usr/share";
  TRY(names, choose_files(root, bytes));
  const std::string list = directory + "/names";
  const std::string tar = directory + "/usr-share.tar";
  TRY_VOID(write_small_file(list, names));
  TRY_VOID(run_program({"tar", "-cf", tar, "-C", root, "-T", list}));
  return tar;
}

}  // namespace pangu::app
