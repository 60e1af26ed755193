#include "rpc/hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace pangu::rpc {

Digest hmac_sha256(const ClusterKey& key, Bytes message) {
  Digest out;
  size_t size = 0;
  const unsigned char* made =
      EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(),
                reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                reinterpret_cast<unsigned char*>(out.data()), out.size(), &size);
  CHECK_NOTE(made != nullptr && size == out.size(), "libcrypto offers no HMAC-SHA-256");
  return out;
}

bool same_digest(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace pangu::rpc
