#pragma once
#include <map>
#include <memory>
#include <string>

#include "env/env.h"
#include "master/state/kv_snapshot.h"
#include "raft/driver/state_machine.h"
#include "runtime/reactor.h"

// Snapshots of one group on disk: those that it gives to other copies, and the one that comes in.
//
//   <folder>/given-<index>/   made here; removed when nobody needs it, and at the next start
//   <folder>/taken-<index>/   coming in; what is there at a start is gone on with
namespace pangu::master {

class SnapshotFolder {
 public:
  SnapshotFolder(Reactor& reactor, std::string folder)
      : reactor_(reactor), folder_(std::move(folder)) {}

  // Blocking; for the start.
  Status open();

  // Writes what `view` shows, which is the state at `index`.
  Task<Result<raft::SnapshotImage>> give(u64 index, std::unique_ptr<KvReader> view);
  Task<Result<std::string>> read(u64 index, u32 piece, u64 offset, u32 length);
  void release(u64 index);

  // Where the pieces of a snapshot that comes in are; other ones that came in are removed.
  Result<std::string> begin_taking(const raft::SnapshotImage& image);
  // How many bytes of a piece are there.
  u64 taken(const std::string& folder, const raft::SnapshotPiece& piece);
  Task<Status> take(const std::string& folder, const raft::SnapshotPiece& piece, u64 offset,
                    std::string bytes);
  void drop_taken(const std::string& folder);

 private:
  std::string given_path(u64 index) const;
  void remove_folder(const std::string& folder);

  Reactor& reactor_;
  const std::string folder_;
  std::map<u64, raft::SnapshotImage> given_;
};

}  // namespace pangu::master
