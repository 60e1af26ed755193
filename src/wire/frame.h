#pragma once
#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"

// The frame that carries everything between processes (docs/formats/frame.md).
//
//   header (64 bytes) | body (body_len bytes) | payload (payload_len bytes)
//
// The body is a fixed little-endian struct (data plane) or a Protobuf message (control plane). The
// payload is a run of units on its way to or from a medium; units carry their own CRCs, so frames
// do not checksum the payload again.
namespace pangu::wire {

inline constexpr u32 kFrameMagic = 0x554e4150;  // "PANU" little-endian
inline constexpr u8 kProtocolVersionMin = 1;
inline constexpr u8 kProtocolVersionMax = 1;
inline constexpr u32 kHeaderBytes = 64;
inline constexpr u32 kBodyBytesMax = 1 << 20;     // control plane
inline constexpr u32 kPayloadBytesMax = 1 << 20;  // one run, or one read's units
// On data connections every frame's header and body prefix arrive in one receive of this size:
// bodies are padded with zeroes to kDataBodyBytes; a longer body (a create with history) goes on
// after it.
inline constexpr u32 kDataBodyBytes = 128;
inline constexpr u32 kDataPrefixBytes = kHeaderBytes + kDataBodyBytes;

enum class FrameType : u8 {
  hello = 1,        // client to server, first frame
  hello_reply = 2,  // server to client
  proof = 3,        // client to server, only where a cluster key is configured
  request = 4,
  reply = 5,
  cancel = 6,  // the caller no longer wants request_id; no reply is expected
};

struct FrameHeader {
  u32 magic;
  u8 version;
  FrameType type;
  u8 task_class;  // TaskClass of a request
  u8 flags;       // 0 in version 1
  u16 method;     // wire/method.h
  u16 status;     // replies: Code
  u32 body_len;
  u32 payload_len;
  u32 time_us;     // requests: time left until the deadline; 0 = none. Replies: 0
  u64 request_id;  // chosen by the client, unique on its connection while in flight
  u64 trace_high;
  u64 trace_low;
  u32 tenant;
  u32 credit_bytes;   // replies: the connection's byte credit from now on; requests: 0
  u32 body_crc32c;    // over body
  u32 header_crc32c;  // over the 60 bytes before it
};
static_assert(sizeof(FrameHeader) == kHeaderBytes);
static_assert(std::has_unique_object_representations_v<FrameHeader>);

// Fills magic, version and both CRCs and writes the 64 bytes to `into`.
void encode_header(FrameHeader header, Bytes body, std::byte* into);
// BadFrame says what is wrong: magic, CRC, type, sizes over the maxima, flags this version lacks.
Result<FrameHeader> decode_header(Bytes header);
// Whether `body` is what the header's CRC covers.
Status check_body(const FrameHeader& header, Bytes body);

}  // namespace pangu::wire
