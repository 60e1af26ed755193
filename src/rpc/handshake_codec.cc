#include "rpc/handshake_codec.h"

#include <fmt/format.h>

namespace pangu::rpc {

namespace {

using wire::FrameType;

constexpr size_t kHelloReplyBytes = sizeof(Hello) + sizeof(Digest);
static_assert(kHelloReplyBytes <= wire::kDataBodyBytes);

HandshakeFrame encode(FrameType type, Code status, Bytes body) {
  HandshakeFrame out{};
  std::memcpy(out.data() + wire::kHeaderBytes, body.data(), body.size());
  wire::FrameHeader header{};
  header.type = type;
  header.status = static_cast<u16>(status);
  header.body_len = static_cast<u32>(body.size());
  wire::encode_header(header, body, out.data());
  return out;
}

size_t least_body(FrameType type) {
  switch (type) {
    case FrameType::hello:
      return sizeof(Hello);
    case FrameType::hello_reply:
      return kHelloReplyBytes;
    default:
      return sizeof(Digest);
  }
}

bool versions_meet(const Hello& hello) {
  return hello.version_min <= wire::kProtocolVersionMax &&
         hello.version_max >= wire::kProtocolVersionMin && hello.version_min <= hello.version_max;
}

Error wrong_version(std::string_view peer, const Hello& hello) {
  return Error(Code::kWrongVersion,
               fmt::format("the {} speaks frame versions {} to {}, this process {} to {}: run "
                           "releases that are at most one apart",
                           peer, hello.version_min, hello.version_max, wire::kProtocolVersionMin,
                           wire::kProtocolVersionMax));
}

}  // namespace

HandshakeFrame encode_hello(const Hello& hello) {
  return encode(FrameType::hello, Code::kOk, as_bytes_of(hello));
}

HandshakeFrame encode_hello_reply(const Hello& hello, Code status, const Digest& proof) {
  std::array<std::byte, kHelloReplyBytes> body;
  store_le(body.data(), hello);
  store_le(body.data() + sizeof(Hello), proof);
  return encode(FrameType::hello_reply, status, body);
}

HandshakeFrame encode_proof(const Digest& proof) {
  return encode(FrameType::proof, Code::kOk, proof);
}

bool may_begin_frame(Bytes bytes) {
  std::array<std::byte, sizeof(u32)> magic;
  store_le(magic.data(), wire::kFrameMagic);
  const size_t known = std::min(bytes.size(), magic.size());
  return std::equal(magic.begin(), magic.begin() + known, bytes.begin());
}

Result<Greeting> decode_greeting(Bytes prefix, FrameType wanted) {
  if (prefix.size() != wire::kDataPrefixBytes) {
    return Error(Code::kBadFrame, "a handshake frame has another size");
  }
  TRY(header, wire::decode_header(prefix));
  if (header.type != wanted) {
    return Error(Code::kBadFrame,
                 fmt::format("frame of type {} instead of {} in the handshake",
                             static_cast<int>(header.type), static_cast<int>(wanted)));
  }
  if (header.body_len < least_body(wanted) || header.body_len > wire::kDataBodyBytes ||
      header.payload_len != 0) {
    return Error(Code::kBadFrame, "a handshake frame's body or payload has a wrong size");
  }
  const Bytes body = prefix.subspan(wire::kHeaderBytes, header.body_len);
  TRY_VOID(wire::check_body(header, body));
  Greeting out;
  out.status = code_from_number(header.status);
  switch (wanted) {
    case FrameType::hello:
      out.hello = load_le<Hello>(body.data());
      break;
    case FrameType::hello_reply:
      out.hello = load_le<Hello>(body.data());
      out.proof = load_le<Digest>(body.data() + sizeof(Hello));
      break;
    default:
      out.proof = load_le<Digest>(body.data());
      break;
  }
  return out;
}

Digest proof_of(Side side, const ClusterKey& key, const Hello& client, const Hello& server) {
  // The sides sign different texts: neither's proof can be sent back as the other's. Both hellos
  // are covered whole: cluster ids, nonces, versions, kind, credits.
  constexpr std::string_view kServer = "pangu hello 1 server";
  constexpr std::string_view kClient = "pangu hello 1 client";
  static_assert(kServer.size() == kClient.size());
  std::array<std::byte, kServer.size() + 2 * sizeof(Hello)> text;
  std::memcpy(text.data(), (side == Side::server ? kServer : kClient).data(), kServer.size());
  store_le(text.data() + kServer.size(), client);
  store_le(text.data() + kServer.size() + sizeof(Hello), server);
  return hmac_sha256(key, text);
}

Hello make_hello(const Identity& identity, ConnectionKind kind, const Nonce& nonce) {
  Hello hello{};
  hello.cluster = identity.cluster;
  hello.nonce = nonce;
  hello.server = identity.server.number;
  hello.version_min = wire::kProtocolVersionMin;
  hello.version_max = wire::kProtocolVersionMax;
  hello.kind = static_cast<u8>(kind);
  hello.flags = identity.key ? kHelloHasKey : 0;
  return hello;
}

Status judge_client(const Identity& identity, const Hello& hello) {
  if (!versions_meet(hello)) {
    return wrong_version("client", hello);
  }
  if (hello.kind > static_cast<u8>(ConnectionKind::data) || (hello.flags & ~kHelloHasKey) != 0) {
    return Error(Code::kBadFrame, "the hello names an unknown connection kind or flag");
  }
  const bool has_key = (hello.flags & kHelloHasKey) != 0;
  if (identity.key && !has_key) {
    return Error(Code::kAuthFailed,
                 "the client has no cluster.key, this server demands one: give the client the "
                 "cluster's key");
  }
  if (!identity.key && has_key) {
    return Error(Code::kAuthFailed,
                 "the client has a cluster.key, this server has none: give the server the "
                 "cluster's key, or run the client without");
  }
  const bool unknown = hello.cluster.is_zero() || identity.cluster.is_zero();
  if (!unknown && hello.cluster != identity.cluster) {
    return Error(Code::kWrongCluster,
                 fmt::format("the client belongs to cluster {}, this server to cluster {}",
                             to_string(hello.cluster), to_string(identity.cluster)));
  }
  return ok_status();
}

Status judge_server(const Identity& identity, const Hello& own, const Greeting& answer) {
  const Hello& theirs = answer.hello;
  switch (answer.status) {
    case Code::kOk:
      break;
    case Code::kWrongVersion:
      return wrong_version("server", theirs);
    case Code::kWrongCluster:
      return Error(Code::kWrongCluster,
                   fmt::format("the server belongs to cluster {}, this process to cluster {}: is "
                               "this the right address?",
                               to_string(theirs.cluster), to_string(own.cluster)));
    case Code::kAuthFailed:
      if ((theirs.flags & kHelloHasKey) != 0 && !identity.key) {
        return Error(Code::kAuthFailed, "the server demands a key: set cluster.key");
      }
      if ((theirs.flags & kHelloHasKey) == 0 && identity.key) {
        return Error(Code::kAuthFailed,
                     "this process has a cluster.key, the server has none: give the server the "
                     "cluster's key, or unset it here");
      }
      return Error(Code::kAuthFailed, "the server has another cluster.key");
    default:
      return Error(answer.status, "the server refused the connection");
  }
  if (!versions_meet(theirs)) {
    return wrong_version("server", theirs);
  }
  const bool unknown = own.cluster.is_zero() || theirs.cluster.is_zero();
  if (!unknown && theirs.cluster != own.cluster) {
    return Error(Code::kWrongCluster,
                 fmt::format("the server belongs to cluster {}, this process to cluster {}: is "
                             "this the right address?",
                             to_string(theirs.cluster), to_string(own.cluster)));
  }
  if (identity.key &&
      !same_digest(answer.proof, proof_of(Side::server, *identity.key, own, theirs))) {
    return Error(Code::kAuthFailed, "the server did not prove that it has this cluster.key");
  }
  return ok_status();
}

Status judge_proof(const ClusterKey& key, const Hello& client, const Hello& server,
                   const Digest& proof) {
  if (!same_digest(proof, proof_of(Side::client, key, client, server))) {
    return Error(Code::kAuthFailed, "the client did not prove that it has this cluster.key");
  }
  return ok_status();
}

}  // namespace pangu::rpc
