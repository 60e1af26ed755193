#pragma once
#include "base/bytes.h"
#include "rpc/handshake.h"
#include "rpc/hmac.h"
#include "wire/frame.h"

// The frames that open a connection (docs/formats/frame.md, "Hello"), as pure functions: what is
// sent, what is accepted, and why not. Every one of them is one prefix of kDataPrefixBytes.
namespace pangu::rpc {

using HandshakeFrame = std::array<std::byte, wire::kDataPrefixBytes>;
using Nonce = std::array<std::byte, 16>;

enum HelloFlags : u8 {
  kHelloHasKey = 1,  // the sender has a cluster key and insists on proofs
};

// Body of hello, and the front of the body of hello_reply.
struct Hello {
  Uuid cluster;
  Nonce nonce;
  u32 server;      // ServerId of the sender, 0 if it is none
  u8 version_min;  // frame versions the sender speaks
  u8 version_max;
  u8 kind;           // ConnectionKind
  u8 flags;          // HelloFlags
  u64 credit_bytes;  // hello_reply: payload bytes the client may have in flight; hello: 0
  u32 reactor;       // hello: the server's reactor that the client wants, 0 in version 1
  u32 reserved[3];
};
static_assert(sizeof(Hello) == 64);
static_assert(std::has_unique_object_representations_v<Hello>);

// A hello, hello_reply or proof as it came in.
struct Greeting {
  Hello hello{};
  Code status = Code::kOk;  // hello_reply: why the server refuses
  Digest proof{};           // hello_reply and proof; zero without a key
};

HandshakeFrame encode_hello(const Hello& hello);
HandshakeFrame encode_hello_reply(const Hello& hello, Code status, const Digest& proof);
HandshakeFrame encode_proof(const Digest& proof);

// BadFrame if it is no well-formed frame of type `wanted`; WrongVersion if its header is of another
// protocol version. Any bytes may be given.
Result<Greeting> decode_greeting(Bytes prefix, wire::FrameType wanted);
// False once it is certain that bytes that begin so are no frame: a peer that speaks something else
// is told apart before a whole prefix has arrived.
bool may_begin_frame(Bytes bytes);

enum class Side : u8 { server, client };
// What a side that knows the key sends, given both hellos.
Digest proof_of(Side side, const ClusterKey& key, const Hello& client, const Hello& server);

Hello make_hello(const Identity& identity, ConnectionKind kind, const Nonce& nonce);

// Whether a server of `identity` takes a client that says `hello`: kWrongVersion, kWrongCluster,
// kAuthFailed, kBadFrame, each with what to do about it.
Status judge_client(const Identity& identity, const Hello& hello);
// Whether a client that said `own` goes on with a server that answered so.
Status judge_server(const Identity& identity, const Hello& own, const Greeting& answer);
// Whether the client's proof shows that it has the key.
Status judge_proof(const ClusterKey& key, const Hello& client, const Hello& server,
                   const Digest& proof);

}  // namespace pangu::rpc
