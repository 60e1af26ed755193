#include "master/group/snapshot_folder.h"

#include <fmt/core.h>

#include "base/log.h"
#include "runtime/await.h"

namespace pangu::master {

Status SnapshotFolder::open() {
  env::FileSystem& files = reactor_.env().files();
  TRY_VOID(files.make_directories(folder_));
  TRY(names, files.list(folder_));
  for (const std::string& name : names) {
    if (name.starts_with("given-")) {
      remove_folder(folder_ + "/" + name);
    }
  }
  return ok_status();
}

std::string SnapshotFolder::given_path(u64 index) const {
  return fmt::format("{}/given-{:016x}", folder_, index);
}

// What cannot be removed now goes at the next start.
void SnapshotFolder::remove_folder(const std::string& folder) {
  env::FileSystem& files = reactor_.env().files();
  auto names = files.list(folder);
  Status status = names.ok() ? ok_status() : Status(names.error());
  for (size_t i = 0; names.ok() && i < names->size() && status.ok(); ++i) {
    status = files.remove(folder + "/" + (*names)[i]);
  }
  if (status.ok()) {
    status = files.remove(folder);
  }
  if (!status.ok()) {
    LOG_WARN("snapshot {} cannot be removed: {}", folder, status.error().message());
  }
}

Task<Result<raft::SnapshotImage>> SnapshotFolder::give(u64 index, std::unique_ptr<KvReader> view) {
  const std::string folder = given_path(index);
  env::FileSystem& files = reactor_.env().files();
  auto work = [&files, &view, &folder] { return write_snapshot(files, *view, folder); };
  auto written = co_await run_in_background(work);
  if (!written.ok()) {
    remove_folder(folder);
    co_return std::move(written).error();
  }
  raft::SnapshotImage image{.index = index, .pieces = {}};
  for (const SnapshotPiece& piece : *written) {
    image.pieces.push_back({.name = piece.name, .size = piece.bytes, .crc32c = piece.crc32c});
  }
  given_[index] = image;
  co_return image;
}

Task<Result<std::string>> SnapshotFolder::read(u64 index, u32 piece, u64 offset, u32 length) {
  const auto found = given_.find(index);
  if (found == given_.end() || piece >= found->second.pieces.size()) {
    co_return Error(Code::kNotFound, fmt::format("snapshot {} has no piece {}", index, piece));
  }
  const std::string path = given_path(index) + "/" + found->second.pieces[piece].name;
  CO_TRY(file, reactor_.env().files().open(path, {}));
  std::string out(length, '\0');
  const MutableBytes into{reinterpret_cast<std::byte*>(out.data()), out.size()};
  const i64 got = co_await async_read(*file, offset, into);
  if (got < 0) {
    co_return env::error_from_errno(static_cast<int>(-got), path);
  }
  if (static_cast<u64>(got) != length) {
    co_return Error(Code::kShort, fmt::format("{}: {} bytes at {}", path, got, offset));
  }
  co_return out;
}

void SnapshotFolder::release(u64 index) {
  if (given_.erase(index) > 0) {
    remove_folder(given_path(index));
  }
}

Result<std::string> SnapshotFolder::begin_taking(const raft::SnapshotImage& image) {
  env::FileSystem& files = reactor_.env().files();
  for (const raft::SnapshotPiece& piece : image.pieces) {
    if (piece.name.empty() || piece.name.front() == '.' ||
        piece.name.find('/') != std::string::npos) {
      return Error(Code::kInvalidArgument,
                   fmt::format("a snapshot with a piece named '{}'", piece.name));
    }
  }
  // Other members' pictures of the same index may be cut into other pieces.
  u32 crc = 0;
  for (const raft::SnapshotPiece& piece : image.pieces) {
    crc = crc * 31 + piece.crc32c;
  }
  const std::string name = fmt::format("taken-{:016x}-{:08x}", image.index, crc);
  TRY(names, files.list(folder_));
  for (const std::string& each : names) {
    if (each.starts_with("taken-") && each != name) {
      remove_folder(folder_ + "/" + each);
    }
  }
  const std::string folder = folder_ + "/" + name;
  TRY_VOID(files.make_directories(folder));
  return folder;
}

u64 SnapshotFolder::taken(const std::string& folder, const raft::SnapshotPiece& piece) {
  const std::string path = folder + "/" + piece.name;
  if (!reactor_.env().files().exists(path)) {
    return 0;
  }
  auto file = reactor_.env().files().open(path, {});
  return file.ok() ? std::min((*file)->size(), piece.size) : 0;
}

Task<Status> SnapshotFolder::take(const std::string& folder, const raft::SnapshotPiece& piece,
                                  u64 offset, std::string bytes) {
  const std::string path = folder + "/" + piece.name;
  const env::OpenOptions options{.create = true};
  CO_TRY(file, reactor_.env().files().open(path, options));
  const Bytes from = as_bytes_of(std::string_view(bytes));
  const i64 wrote = co_await async_write(*file, offset, from, env::Durability::volatile_write);
  if (wrote != static_cast<i64>(from.size())) {
    co_return env::error_from_errno(wrote < 0 ? static_cast<int>(-wrote) : EIO, path);
  }
  co_return ok_status();
}

void SnapshotFolder::drop_taken(const std::string& folder) {
  remove_folder(folder);
}

}  // namespace pangu::master
