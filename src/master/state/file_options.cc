#include "master/state/file_options.h"

#include <fmt/core.h>

#include "master/state/limits.h"

namespace pangu::master {

Result<pb::FileOptions> checked_options(const pb::FileOptions& wanted) {
  pb::FileOptions options;
  options.set_copies_max(wanted.copies_max() != 0 ? wanted.copies_max() : kCopiesDefault);
  options.set_copies_min(wanted.copies_min() != 0 ? wanted.copies_min()
                                                  : options.copies_max() / 2 + 1);
  options.set_chunk_bytes(wanted.chunk_bytes() != 0 ? wanted.chunk_bytes() : kChunkBytesDefault);
  const u32 most = options.copies_max();
  const u32 least = options.copies_min();
  if (most > kCopiesMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("copies_max is {}; at most {} are possible", most, kCopiesMax));
  }
  if (least > most || 2 * least <= most) {
    return Error(Code::kInvalidArgument,
                 fmt::format("copies_min is {} of {}: it must be more than half of copies_max and "
                             "not above it",
                             least, most));
  }
  if (options.chunk_bytes() < kChunkBytesMin || options.chunk_bytes() > kChunkBytesMax) {
    return Error(Code::kInvalidArgument,
                 fmt::format("chunk_bytes is {}; it must be between {} and {}",
                             options.chunk_bytes(), kChunkBytesMin, kChunkBytesMax));
  }
  return options;
}

}  // namespace pangu::master
