#include "wire/frame.h"

#include <fmt/format.h>

#include "base/crc32c.h"

namespace pangu::wire {

void encode_header(FrameHeader header, Bytes body, std::byte* into) {
  CHECK(body.size() == header.body_len);
  header.magic = kFrameMagic;
  header.version = kProtocolVersionMax;
  header.body_crc32c = crc32c(body);
  store_le(into, header);
  store_le(into + kHeaderBytes - sizeof(u32), crc32c({into, kHeaderBytes - sizeof(u32)}));
}

Result<FrameHeader> decode_header(Bytes bytes) {
  const auto bad = [](std::string why) { return Error(Code::kBadFrame, std::move(why)); };
  if (bytes.size() < kHeaderBytes) {
    return bad(fmt::format("{} bytes are no frame header", bytes.size()));
  }
  const FrameHeader header = load_le<FrameHeader>(bytes.data());
  if (header.magic != kFrameMagic) {
    return bad(
        fmt::format("magic {:#010x} is not a pangu frame: is this the right port?", header.magic));
  }
  if (header.header_crc32c != crc32c(bytes.first(kHeaderBytes - sizeof(u32)))) {
    return bad("header checksum mismatch");
  }
  if (header.version < kProtocolVersionMin || header.version > kProtocolVersionMax) {
    return Error(Code::kWrongVersion,
                 fmt::format("peer speaks protocol version {}, this process {} to {}",
                             header.version, kProtocolVersionMin, kProtocolVersionMax));
  }
  if (header.type < FrameType::hello || header.type > FrameType::cancel) {
    return bad(fmt::format("unknown frame type {}", static_cast<int>(header.type)));
  }
  if (header.flags != 0 || header.task_class > 3) {
    return bad("unknown flags or class");
  }
  if (header.body_len > kBodyBytesMax || header.payload_len > kPayloadBytesMax) {
    return bad(fmt::format("body of {} or payload of {} bytes is over the limit of {} and {}",
                           header.body_len, header.payload_len, kBodyBytesMax, kPayloadBytesMax));
  }
  return header;
}

Status check_body(const FrameHeader& header, Bytes body) {
  if (body.size() != header.body_len || crc32c(body) != header.body_crc32c) {
    return Error(Code::kBadFrame, "body checksum mismatch");
  }
  return ok_status();
}

}  // namespace pangu::wire
