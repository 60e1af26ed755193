#pragma once
#include <memory>

#include "env/env.h"
#include "rpc/handshake.h"
#include "rpc/service.h"
#include "runtime/buffer_pool.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"

// Accepts connections on one address and runs their requests on one reactor.
//
// Invariants
// 1. A connection's frames are read in order; its requests run concurrently; replies leave in the
//    order they are ready, all that are ready in one loop turn in one send.
// 2. Payload bytes in flight on a connection never exceed its credit; over all connections they
// never
//    exceed `receive_bytes_max`. Without room the connection is not read on before its payload.
// 3. A malformed frame closes that connection and is counted; nothing else is hurt.
// 4. A request whose deadline passed before it could start is answered kBusy/kTimeout, not run.
namespace pangu::rpc {

struct ServerOptions {
  Identity identity;
  u64 connection_credit_bytes = 4 * kMiB;
  u64 receive_bytes_max = 12 * kMiB;
  u32 connections_max = 4096;
  u32 requests_per_connection_max = 1024;
  Duration handshake_timeout = seconds(5);
  // A peer that stalls inside a frame for longer is disconnected.
  Duration frame_timeout = seconds(30);
};

struct ServerCounters {
  u64 connections_accepted = 0;
  u64 connections_open = 0;
  u64 requests = 0;
  u64 bad_frames = 0;
  u64 stalls = 0;  // peers that stopped inside a frame or a handshake
  u64 handshakes_refused = 0;
  u64 connections_refused = 0;  // beyond connections_max
  u64 sends = 0;                // send operations; replies / sends = how well replies are batched
  u64 replies = 0;
  u64 payload_waits = 0;  // times a connection waited for receive room
  u64 cancelled = 0;      // requests whose caller went away before the reply
  u64 bytes_received = 0;
  u64 bytes_sent = 0;
  // Now:
  u64 requests_open = 0;       // whose reply has not left
  u64 payload_bytes_open = 0;  // of receive_bytes_max
};

class Connection;
struct ServerCore;

class Server {
 public:
  // `reactor`, `service` and `pool` must outlive the server.
  Server(Reactor& reactor, Service& service, BufferPool& pool, const ServerOptions& options);
  ~Server();  // REQUIRES: stop() returned, or the reactor was abandoned
  // Binds and starts accepting. A non-loopback address without a key is refused with the remedy.
  Status listen(const env::Address& address);
  env::Address address() const;
  // Stops accepting, closes connections, waits for running requests.
  Task<void> stop();
  const ServerCounters& counters() const;

 private:
  std::shared_ptr<ServerCore> core_;  // its connections' tasks hold it too
};

}  // namespace pangu::rpc
