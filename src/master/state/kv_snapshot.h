#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "env/env.h"
#include "master/state/kv.h"

// A store's whole content as a row of files, to be given to a copy of the group that lacks it.
// Formats: docs/formats/master-snapshot.md
namespace pangu::master {

struct SnapshotPiece {
  std::string name;  // of its file, without a folder
  u64 bytes = 0;
  u32 crc32c = 0;  // of all its bytes
};

inline constexpr u64 kSnapshotPieceBytes = 4 * kMiB;

// Writes what `view` shows into `folder`, which is made if it is missing; files of the same names
// are replaced. Each piece ends with the first entry that fills it. Durable when it returns.
// Blocking.
Result<std::vector<SnapshotPiece>> write_snapshot(env::FileSystem& files, const KvReader& view,
                                                  const std::string& folder,
                                                  u64 piece_bytes = kSnapshotPieceBytes);

// Adds what a piece holds. kCorrupt: the bytes are not what write_snapshot() wrote; some of them may
// have been added. Blocking.
Status load_snapshot_piece(const SnapshotPiece& piece, std::string_view bytes,
                           KvReplacement& into);

}  // namespace pangu::master
