#pragma once
#include <array>
#include <string>
#include <sys/uio.h>

#include "base/buffer.h"
#include "base/result.h"
#include "env/env.h"
#include "runtime/task.h"
#include "wire/frame.h"
#include "wire/method.h"

// What a server offers: a Service is asked where a payload goes before it arrives, then handles the
// request as one coroutine on the connection's reactor.
namespace pangu::rpc {

// A request as the service sees it. Slices keep their buffers alive as long as somebody holds them.
struct Request {
  wire::Method method = wire::Method::none;
  TaskClass task_class = TaskClass::foreground;
  u64 trace_high = 0;
  u64 trace_low = 0;
  u32 tenant = 0;
  Instant deadline;  // this process's clock; Instant::never() if the caller set none
  Instant received;  // when the header had arrived
  Slice body;
  Slice payload;  // as placed by Service::place
  env::Address peer;
};

// A reply: a code, for an error a text for people, a body and a payload.
struct Reply {
  Code code = Code::kOk;
  // Error text if code is not kOk and `body` is empty; a data-plane struct may accompany a code.
  std::string text;
  std::string body;  // bytes of a struct or of a Protobuf message
  Slice payload;     // sent as is, after the body
  Reply() = default;
  explicit Reply(const Error& error) : code(error.code()), text(error.context()) {}
};

// Where a payload shall land: pieces of `buffer`, in order, whose sizes sum to payload_len.
// Request::payload will be `buffer` whole.
struct Placement {
  Slice buffer;
  std::array<iovec, 2> pieces{};
  size_t count = 0;
};

class Service {
 public:
  virtual ~Service() = default;
  // Called when header and body have arrived and payload_len > 0. An error answers the request with
  // it and skips the payload. kBusy (no buffer): the connection is not read on; place() is asked
  // again when a buffer came back to the server's pool (and every few milliseconds), until the
  // deadline.
  virtual Result<Placement> place(const wire::FrameHeader& header, Bytes body) = 0;
  // Runs as a root task of the request's class. Must end soon after request.deadline.
  virtual Task<Reply> handle(Request request) = 0;
};

}  // namespace pangu::rpc
