#include "client/unit_reader.h"

#include <algorithm>
#include <fmt/format.h>

#include "wire/unit.h"

namespace pangu::client {

Result<u32> copy_units(const ChunkPlace& chunk, const wire::ReadReply& reply, Bytes payload,
                       u32 offset, MutableBytes into) {
  if (payload.size() != u64{reply.unit_count} * wire::kUnitBytes || reply.unit_offset > offset) {
    return Error(Code::kCorrupt,
                 fmt::format("chunk {}: {} payload bytes for {} units from offset {}, asked for {}",
                             to_string(chunk.id), payload.size(), reply.unit_count,
                             reply.unit_offset, offset));
  }
  u64 at = reply.unit_offset;  // chunk offset where the next unit begins
  u32 copied = 0;
  for (u32 i = 0; i < reply.unit_count; ++i) {
    const std::byte* unit = payload.data() + u64{i} * wire::kUnitBytes;
    const u32 index = reply.unit_index + i;
    const wire::UnitFault fault = wire::check_unit(chunk.id, index, unit);
    if (fault != wire::UnitFault::ok) {
      return Error(Code::kCorrupt, fmt::format("chunk {} unit {}: {}", to_string(chunk.id), index,
                                               wire::to_string(fault)));
    }
    const wire::UnitFooter footer = wire::footer_of(unit);
    const u64 end = at + footer.data_len;
    if (footer.end_offset != end || footer.epoch != chunk.owner.number) {
      return Error(Code::kCorrupt,
                   fmt::format("chunk {} unit {}: ends at {}, not at {}, epoch {}",
                               to_string(chunk.id), index, footer.end_offset, end, footer.epoch));
    }
    const u64 wanted = u64{offset} + copied;
    if (end > wanted && copied < into.size()) {
      const u64 skip = wanted > at ? wanted - at : 0;
      const size_t step = std::min<size_t>(footer.data_len - skip, into.size() - copied);
      std::memcpy(into.data() + copied, unit + skip, step);
      copied += static_cast<u32>(step);
    }
    at = end;
  }
  return copied;
}

}  // namespace pangu::client
