#pragma once
#include <string_view>

#include "base/hash.h"
#include "base/ids.h"

// Which group has what: pure functions that clients and masters must agree on, and that are part of
// what is on disk (docs/design/0006-partitions.md).
namespace pangu::wire {

inline constexpr u64 kRootGroup = 1;
inline constexpr u64 kFirstNamespaceGroup = 4096;
inline constexpr u64 kFirstStreamGroup = 8192;
inline constexpr u32 kPartitionsMax = 4096;  // of either kind

inline constexpr u64 kRootDirectory = 1;

// A directory's id: 12 bits of subtree, 52 of hash.
inline constexpr u32 kHashBits = 52;
inline constexpr u64 kHashMask = (u64{1} << kHashBits) - 1;
constexpr u32 subtree_of(u64 directory) { return static_cast<u32>(directory >> kHashBits); }

// The id of the directory made as `name` in `parent`; `version` counts the ids that were found taken.
inline u64 directory_id(u32 subtree, u64 parent, std::string_view name, u64 version) {
  const u64 hash = hash_combine(hash64(name, parent), version);
  return u64{subtree} << kHashBits | (hash & kHashMask);
}
// Among the `count` namespace groups of its subtree, the one that has the directory's entries.
constexpr u32 directory_slot(u64 directory, u32 count) {
  return static_cast<u32>((directory & kHashMask) % count);
}

// A file's id: 12 bits of stream group, 12 of the namespace group that gave it, 40 of its counter.
inline constexpr u32 kFileCounterBits = 40;
constexpr FileId file_id(u32 stream_index, u32 namespace_index, u64 counter) {
  return {u64{stream_index} << 52 | u64{namespace_index} << kFileCounterBits | counter};
}
constexpr u32 stream_index_of(FileId file) { return static_cast<u32>(file.number >> 52); }
constexpr u64 stream_group_of(FileId file) { return kFirstStreamGroup + stream_index_of(file); }

}  // namespace pangu::wire
