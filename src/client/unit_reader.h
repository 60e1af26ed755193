#pragma once
#include "client/chunk_place.h"
#include "wire/data_plane.h"

namespace pangu::client {

// Checks every unit of a READ's reply from end to end and copies the payload bytes from chunk
// offset `offset` on into `into`. Returns how many were copied, at most into.size(); kCorrupt names
// the first unit that is not what it should be. Bytes of a damaged reply may have been copied.
Result<u32> copy_units(const ChunkPlace& chunk, const wire::ReadReply& reply, Bytes payload,
                       u32 offset, MutableBytes into);

}  // namespace pangu::client
