#pragma once
#include <memory>
#include <string>

#include "app/client_session.h"
#include "app/local_file.h"
#include "app/progress.h"

// Whole files between this machine and the cluster.
namespace pangu::app {

inline constexpr u64 kTransferBlock = kMiB;

// Appends all of `source` to a new file. AlreadyExists: `path` is there. What was begun is removed
// again if it fails. Returns the bytes stored, all durable.
Task<Result<u64>> put_file(Session session, LocalSource& source, std::string path,
                           client::FileOptions options, Progress& progress);

struct Range {
  u64 offset = 0;
  u64 length = ~u64{0};  // beyond the end: to the end
};
// Writes a part of a file to `sink` in order, reading ahead. Returns the bytes written.
Task<Result<u64>> get_file(Session session, std::string path, Range range, LocalSink& sink,
                           Progress& progress);

// Whether `path` is a directory of the cluster; false also if nothing is there.
Task<Result<bool>> is_directory(Session session, std::string path);
// "/a" and "b" make "/a/b".
std::string join_path(std::string_view directory, std::string_view name);

}  // namespace pangu::app
