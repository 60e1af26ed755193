// Handshake frames as they come from a stranger, and what both sides make of them.
#include "rpc/handshake_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  using namespace pangu;
  using namespace pangu::rpc;
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  (void)may_begin_frame(bytes);
  Identity plain{.cluster = {.high = 1, .low = 2}, .server = {3}, .key = {}};
  Identity keyed = plain;
  keyed.key.emplace();
  const Hello own = make_hello(keyed, ConnectionKind::data, Nonce{});
  for (const auto type :
       {wire::FrameType::hello, wire::FrameType::hello_reply, wire::FrameType::proof}) {
    const auto greeting = decode_greeting(bytes, type);
    if (!greeting.ok()) {
      continue;
    }
    for (const Identity* identity : {&plain, &keyed}) {
      (void)judge_client(*identity, greeting->hello).ok();
      (void)judge_server(*identity, own, *greeting).ok();
    }
    // Nobody finds a proof by chance.
    CHECK(!judge_proof(*keyed.key, own, greeting->hello, greeting->proof).ok());
  }
  return 0;
}
