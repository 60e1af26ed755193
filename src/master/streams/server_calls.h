#pragma once
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "raft/driver/transport.h"
#include "wire/control.pb.h"
#include "wire/method.h"

namespace pangu::master {

// Calls from a stream group's leader to chunkservers.
class ServerCalls {
 public:
  virtual ~ServerCalls() = default;
  // The reply's bytes, or the server's error, or why there is no reply (rpc::Channel::call). The
  // request may be one that was carried out.
  virtual Task<Result<std::string>> call(ServerId server, std::string address, wire::Method method,
                                         std::string body, Instant deadline) = 0;
};

template <class Reply, class Request>
Task<Result<Reply>> call_server(ServerCalls& calls, ServerId server, std::string address,
                                wire::Method method, Request request, Instant deadline) {
  auto answer = co_await calls.call(server, std::move(address), method,
                                    request.SerializeAsString(), deadline);
  if (!answer.ok()) {
    co_return std::move(answer).error();
  }
  Reply reply;
  if (!reply.ParseFromString(*answer)) {
    co_return Error(Code::kBadFrame, "a chunkserver's reply does not parse");
  }
  co_return reply;
}

// Over the process's own connections, which say whose cluster it is of.
class PeerServerCalls final : public ServerCalls {
 public:
  // Must outlive it. Once it is stopped, calls fail with kClosed.
  explicit PeerServerCalls(raft::PeerCalls& peers) : peers_(peers) {}
  Task<Result<std::string>> call(ServerId server, std::string address, wire::Method method,
                                 std::string body, Instant deadline) override;

 private:
  raft::PeerCalls& peers_;
};

}  // namespace pangu::master
