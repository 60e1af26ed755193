#pragma once
#include "master/state/kv.h"

// The stores of a process's groups in one RocksDB, for production. Its write-ahead log is off: the
// groups' own log does that work. RocksDB brings its own threads and file access; all of it stays
// behind rocks_kv.cc.
//
// Every key is <group u64><generation u32> in big-endian order, then the group's own key. A
// replacement fills the next generation; one batch makes it the group's and drops the one before.
// Under group 0 stands each group's generation.
namespace pangu::master {

struct RocksKvOptions {
  u64 block_cache_bytes = 64 * kMiB;
  u64 write_buffer_bytes = 32 * kMiB;
};

// Shared by the stores made from it; closes when the last of them is closed.
class RocksStore {
 public:
  virtual ~RocksStore() = default;
  // The store of a group, made if it is not there. Blocking. REQUIRES: group > 0; one at a time.
  virtual Result<std::unique_ptr<Kv>> group(u64 group) = 0;
  // The groups that have ever been opened here and were not removed. Blocking.
  virtual Result<std::vector<u64>> groups() = 0;
  // Durable when it returns. Blocking. REQUIRES: the group's store is closed
  virtual Status remove_group(u64 group) = 0;
};

// Opens or makes the database in the folder `path`. InUse: another process has it open; kCorrupt,
// kIoError, kNoSpace: the text says what RocksDB found. Blocking.
Result<std::shared_ptr<RocksStore>> open_rocks_store(const std::string& path,
                                                     const RocksKvOptions& options);

// The store of group 1 in a database of its own.
Result<std::unique_ptr<Kv>> open_rocks_kv(const std::string& path, const RocksKvOptions& options);

}  // namespace pangu::master
