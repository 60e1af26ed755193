#pragma once
#include <string>

#include "rpc/channel.h"

// Control-plane calls: Protobuf in, Protobuf out.
namespace pangu::rpc {

// As Channel::call; a reply with an error code becomes that Error; a reply that does not parse is
// BadFrame. `request` is serialized before the first suspension.
template <class Reply, class Request>
Task<Result<Reply>> call_control(Channel& channel, wire::Method method, Request request,
                                 CallOptions options) {
  const std::string bytes = request.SerializeAsString();
  auto response =
      co_await channel.call(method, as_bytes_of(std::string_view(bytes)), Payload{}, options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  if (response->code != Code::kOk) {
    co_return response->error();
  }
  Reply reply;
  if (!reply.ParseFromArray(response->body.data(), static_cast<int>(response->body.size()))) {
    co_return Error(Code::kBadFrame, "reply does not parse");
  }
  co_return reply;
}

}  // namespace pangu::rpc
