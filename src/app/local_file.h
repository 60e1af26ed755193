#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "runtime/task.h"

// The files of the person at the terminal, and standard input and output. Whatever may block runs
// in the background, so the reactor goes on; one read or write at a time per object.
namespace pangu::app {

class LocalSource {
 public:
  // "-" is standard input. NotFound, IsDirectory, Permission name the path.
  static Result<LocalSource> open(const std::string& path);
  LocalSource(LocalSource&& other) noexcept;
  LocalSource& operator=(LocalSource&&) = delete;
  ~LocalSource();

  // Of a regular file.
  std::optional<u64> size() const { return size_; }
  // Fills `into` from its start; fewer bytes (or 0) only at the end. With `some`, as soon as there
  // are any: for a pipe whose writer thinks in between. `into` must stay until it returns.
  Task<Result<size_t>> read(MutableBytes into, bool some);

 private:
  LocalSource(int fd, std::string path, std::optional<u64> size);
  int fd_ = -1;
  std::string path_;
  std::optional<u64> size_;
};

class LocalSink {
 public:
  // "-" is standard output. A regular file appears under its name only at commit(): until then it
  // is written beside it.
  static Result<LocalSink> create(const std::string& path);
  LocalSink(LocalSink&& other) noexcept;
  LocalSink& operator=(LocalSink&&) = delete;
  ~LocalSink();

  Task<Status> write(Bytes bytes);
  Task<Status> commit();

 private:
  LocalSink(int fd, std::string path, std::string temporary);
  int fd_ = -1;
  std::string path_;
  std::string temporary_;  // "" once committed, and for anything but a regular file
};

// Removes what sinks have written and not committed: for a process that ends without unwinding.
void discard_unfinished_files();

// A regular file or directory below `root`, with its path relative to it.
struct LocalEntry {
  std::string path;      // to open it
  std::string relative;  // "" for root itself
  bool directory = false;
  u64 size = 0;
};
// `root` and everything below it, parents first, by name. Anything that is neither a file nor a
// directory is left out and named in `skipped`.
Result<std::vector<LocalEntry>> walk(const std::string& root, std::vector<std::string>& skipped);

bool is_local_directory(const std::string& path);
Status make_local_directory(const std::string& path);
// Without links and relative parts. REQUIRES: it exists; otherwise `path` is returned as it is.
std::string absolute_path(const std::string& path);
// The last part of a path: "b.txt" of "/a/b.txt".
std::string base_name(std::string_view path);
Status write_small_file(const std::string& path, std::string_view text);
// For configuration and /proc; at most 16 MiB.
Result<std::string> read_small_file(const std::string& path);

}  // namespace pangu::app
