#pragma once
#include <array>
#include <compare>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

// Strong types for every id, epoch and version, so that two bare integers can never be swapped.
// Text form: 0x-prefixed hex of fixed width for ids (docs/design/0002-numbers.md).
namespace pangu {

// A strong integer: ordered, hashable by value(), no arithmetic.
template <class Tag, class Int>
struct StrongInt {
  Int number = 0;
  constexpr auto operator<=>(const StrongInt&) const = default;
  constexpr Int value() const { return number; }
};

// A file and its stream share one id. 0 is never given out.
using FileId = StrongInt<struct FileIdTag, u64>;
// A server of the cluster, given by root when it joins. 0 is never given out.
using ServerId = StrongInt<struct ServerIdTag, u32>;
// A writer's epoch of one stream. 0: the stream has never been opened for append.
using Epoch = StrongInt<struct EpochTag, u32>;

// 128 random bits: cluster id, device uuid, request-id prefix of a client.
struct Uuid {
  u64 high = 0;
  u64 low = 0;
  constexpr auto operator<=>(const Uuid&) const = default;
  constexpr bool is_zero() const { return high == 0 && low == 0; }
};

// {file, place in the file's chunk sequence, shard (0 for replicas)}: 128 bits on medium and wire.
struct ChunkId {
  FileId file;
  u32 sequence = 0;
  u16 shard = 0;
  constexpr auto operator<=>(const ChunkId&) const = default;
};

// Where one replica lives. The device uuid, made at format, names the place: a server whose disk
// was replaced carries another one and so can never pass for the old place (PROTOCOL rule 5).
struct Location {
  ServerId server;
  Uuid device;
  constexpr auto operator<=>(const Location&) const = default;
};

std::string to_string(FileId id);          // 0x00000000000000a7
std::string to_string(const ChunkId& id);  // 0x00000000000000a7.00000003.0000
std::string to_string(const Uuid& id);     // 32 hex digits
std::string to_string(ServerId id);        // 7
std::string to_string(Epoch epoch);        // 3
Result<Uuid> parse_uuid(std::string_view text);
// Accepts what to_string(ChunkId) prints.
Result<ChunkId> parse_chunk_id(std::string_view text);

}  // namespace pangu
