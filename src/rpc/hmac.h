#pragma once
#include "base/bytes.h"
#include "rpc/handshake.h"

// HMAC-SHA-256 (RFC 2104), for the handshake only. OpenSSL does the work.
namespace pangu::rpc {

using Digest = std::array<std::byte, 32>;

Digest hmac_sha256(const ClusterKey& key, Bytes message);
// Takes the same time wherever the first difference is.
bool same_digest(const Digest& a, const Digest& b);

}  // namespace pangu::rpc
