#include "wire/group_of.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace pangu::wire {
namespace {

using google::protobuf::internal::WireFormatLite;
constexpr int kGroupField = 15;

}  // namespace

u64 group_of(Bytes request) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const u8*>(request.data()),
                                            static_cast<int>(request.size()));
  u64 group = 0;
  while (const u32 tag = in.ReadTag()) {
    if (WireFormatLite::GetTagFieldNumber(tag) == kGroupField &&
        WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_VARINT) {
      uint64_t value = 0;
      if (!in.ReadVarint64(&value)) {
        return 0;
      }
      group = value;
    } else if (!WireFormatLite::SkipField(&in, tag)) {
      return 0;
    }
  }
  return group;
}

}  // namespace pangu::wire
