#pragma once
#include "base/bytes.h"
#include "base/types.h"

// CRC-32C (Castagnoli), the value RFC 3720 prints: pre- and post-inverted. ISA-L does the work.
namespace pangu {

u32 crc32c(Bytes bytes);
// The CRC of a followed by b, given crc32c(a): crc32c_extend(crc32c(a), b).
u32 crc32c_extend(u32 crc, Bytes bytes);

}  // namespace pangu
