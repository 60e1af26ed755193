#pragma once
#include "base/ids.h"
#include "env/env.h"
#include "runtime/task.h"

// A device as a whole: who it belongs to, and how it becomes ours (docs/formats/device.md).
namespace pangu::chunk {

struct FormatOptions {
  Uuid cluster;
  ServerId server;
  Uuid device;         // fresh random bits: it names this place from now on
  u64 capacity = 0;    // bytes; 0: the file's size. A smaller regular file is extended, sparsely
  u32 shards = 1;
  u32 unit_bytes = 0;  // allocation unit; 0: 64 KiB below 1 TiB, else 1 MiB
  bool prewrite = true;   // write slots and log once, so that writing them never changes a file's
                          // metadata; false for block devices and memory
  bool overwrite = false; // also if it is not blank
};

// The smallest capacity that can be formatted.
inline constexpr u64 kDeviceBytesMin = 4 * kMiB;

// Makes an empty device. Durable when it returns ok. InvalidArgument; AlreadyExists: it carries a
// pangu format, or other data, and `overwrite` is false.
Task<Status> format_device(env::File& file, FormatOptions options);

struct DeviceIdentity {
  Uuid cluster;
  ServerId server;
  Uuid device;
  u64 capacity = 0;
  u32 shards = 0;
  u32 unit_bytes = 0;
  u32 version = 0;
};

// Who it belongs to. NotOurs: no pangu format (`blank` in the text if there is nothing at all);
// WrongVersion; Corrupt: neither copy of the superblock is readable but one was there; IoError.
Task<Result<DeviceIdentity>> read_identity(env::File& file);

// True if the first 128 KiB are zero, or absent.
Task<Result<bool>> is_blank(env::File& file);

// The shard of a device that keeps `chunk`, by hash, for ever.
u32 shard_of(const ChunkId& chunk, u32 shards);

}  // namespace pangu::chunk
