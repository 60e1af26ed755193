#pragma once
#include <memory>
#include <span>

#include "base/buffer.h"
#include "env/env.h"
#include "rpc/handshake.h"
#include "runtime/buffer_pool.h"
#include "runtime/reactor.h"
#include "runtime/sync.h"
#include "wire/frame.h"
#include "wire/method.h"

// The client's side: calls to one server address over one connection, opened when first needed and
// again after it was lost. Any number of calls may be in flight; frames queued in one loop turn
// leave in one send.
//
// Calls that nobody has sent yet stay queued while a lost connection is opened again; calls that
// had been sent fail. The first attempt after a loss is immediate; after a failed one the next
// waits a little, longer each time, up to 200 ms.
namespace pangu::rpc {

struct ChannelOptions {
  Identity identity;
  ConnectionKind kind = ConnectionKind::control;
  Duration connect_timeout = seconds(2);
  u32 calls_max = 4096;              // in flight; one more is kBusy
  u64 queued_bytes_max = 64 * kMiB;  // waiting to be sent; beyond it kBusy
  // A peer that stalls inside a frame, or does not take what is sent, for longer is disconnected.
  Duration frame_timeout = seconds(30);
  // A call timed out, and for so long nothing at all has come back for what was sent: the
  // connection counts as lost although nobody said so.
  Duration silence_max = seconds(3);
};

struct CallOptions {
  TaskClass task_class = TaskClass::foreground;
  Instant deadline = Instant::never();  // required in practice: CHECKed to be set
  u64 trace_high = 0;
  u64 trace_low = 0;
  u32 tenant = 0;
  // False: the answer takes long by design (a wait for news); round_trip() must not learn from it.
  bool measured = true;
};

// What is sent after the body: up to two pieces of memory that `owner` keeps alive. They must not
// change until `owner` is the last Slice of its buffer again, which may be after the call returned
// (a call that timed out while it was being sent).
struct Payload {
  Slice owner;
  std::array<Bytes, 2> pieces;
  size_t count = 0;
};

struct Response {
  Code code = Code::kOk;  // of the server
  Slice body;
  Slice payload;  // contiguous, 4096-aligned
  // For code != kOk without a body: what the server said.
  std::string_view text() const { return as_text(body.bytes()); }
  Error error() const { return Error(code, std::string(text())); }
};

struct ChannelCounters {
  u64 calls = 0;
  u64 connects = 0;
  u64 connect_failures = 0;
  u64 losses = 0;  // established connections that broke
  u64 timeouts = 0;
  u64 late_replies = 0;  // to calls that had ended
  u64 credit_waits = 0;  // times a queue of calls began to wait for credit
  u64 sends = 0;
  u64 bytes_sent = 0;
  u64 bytes_received = 0;
  // Now:
  u64 calls_open = 0;    // of calls_max
  u64 bytes_queued = 0;  // of queued_bytes_max
};

struct ChannelCore;

class Channel {
 public:
  // `reactor` and `pool` must outlive the channel. `pool` provides reply payloads.
  Channel(Reactor& reactor, BufferPool& pool, const env::Address& address,
          const ChannelOptions& options);
  // REQUIRES: stop() returned, or no call was ever begun, or the reactor was abandoned.
  ~Channel();

  // Sends a request and waits for its reply. `body` is copied before this returns the Task; the
  // call begins when that is awaited, and only a crash (Reactor::abandon) may destroy it
  // unfinished. Calls of one class leave in their order; Control first. An error means that there
  // is no reply:
  //   kConnectFailed   nothing was sent
  //   kConnectionLost  the connection broke: the server may or may not have acted
  //   kTimeout         the deadline passed: likewise (a cancel frame is sent)
  //   kBusy            too much is queued here; nothing was sent
  //   kTooLarge        body or payload is over the frame's limit; nothing was sent
  //   kWrongCluster, kAuthFailed, kWrongVersion   the handshake was refused
  //   kClosed          stop() was called
  Task<Result<Response>> call(wire::Method method, Bytes body, Payload payload,
                              CallOptions options);

  bool connected() const;
  // Known after the first successful handshake.
  Uuid cluster() const;
  ServerId server() const;
  const env::Address& address() const;
  const ChannelCounters& counters() const;
  // How long the last round trips took (smoothed), for replica choice; 0 until the first.
  Duration round_trip() const;
  // Fails the calls in flight with kClosed and waits for the channel's own tasks.
  Task<void> stop();

 private:
  std::shared_ptr<ChannelCore> core_;  // its connections' tasks hold it too
};

}  // namespace pangu::rpc
