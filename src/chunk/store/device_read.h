#pragma once
#include <vector>

#include "base/buffer.h"
#include "chunk/format/superblock.h"
#include "chunk/store/buffers.h"
#include "env/env.h"
#include "runtime/task.h"

// Reading a device for recovery and for tools.
namespace pangu::chunk {

// Exactly `bytes` from `offset`; IoError if the file ends before or the read fails.
Task<Status> read_exactly(env::File& file, u64 offset, MutableBytes into);

// The superblock, from whichever copy is good. NotOurs, WrongVersion, Corrupt, IoError.
Task<Result<Superblock>> read_superblock(env::File& file);

// Sectors in order, read in large pieces. Where a piece cannot be read it goes sector by sector, so
// that one bad sector costs one sector.
class SectorReader {
 public:
  SectorReader(env::File& file, Buffers& buffers);  // which must have one to give
  // Calls for `bytes` (whole sectors) from `offset` on before next().
  void start(u64 offset, u64 bytes);
  bool at_end() const { return at_ == end_; }
  u64 position() const { return at_; }
  // The next sector; valid until the next call. Empty if it cannot be read.
  Task<Bytes> next();

 private:
  Task<void> fill();
  env::File& file_;
  Slice buffer_;
  u64 at_ = 0;
  u64 end_ = 0;
  u64 filled_ = 0;           // bytes of the device that buffer_ holds, from filled_at_ on
  u64 filled_at_ = 0;
  std::vector<bool> bad_;    // sectors of buffer_ that could not be read
};

}  // namespace pangu::chunk
