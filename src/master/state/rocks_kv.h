#pragma once
#include "master/state/kv.h"

// A Kv in RocksDB, for production. Its write-ahead log is off: the group's own log does that work.
// RocksDB brings its own threads and file access; all of it stays behind rocks_kv.cc.
namespace pangu::master {

struct RocksKvOptions {
  u64 block_cache_bytes = 64 * kMiB;
  u64 write_buffer_bytes = 32 * kMiB;
};

// Opens or makes the store in the folder `path`. InUse: another process has it open; kCorrupt,
// kIoError, kNoSpace: the text says what RocksDB found. Blocking.
Result<std::unique_ptr<Kv>> open_rocks_kv(const std::string& path, const RocksKvOptions& options);

}  // namespace pangu::master
