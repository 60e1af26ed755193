#pragma once
#include "chunk/store/types.h"
#include "wire/partition.h"

namespace pangu::chunk {

// The ids of a stream group's chunks. The last group's largest file id, which is never given out, is
// not among them. REQUIRES: there is such a group.
inline ChunkRange range_of_group(u64 group) {
  const u64 index = group - wire::kFirstStreamGroup;
  const u64 last = index << 52 | ((u64{1} << 52) - 1);
  return {.from = {.file = {index << 52}},
          .until = {.file = {last == ~u64{0} ? last : last + 1}}};
}

}  // namespace pangu::chunk
