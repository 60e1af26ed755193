#include "master/streams/server_calls.h"

#include <fmt/core.h>

namespace pangu::master {

Task<Result<std::string>> PeerServerCalls::call(ServerId server, std::string address,
                                                wire::Method method, std::string body,
                                                Instant deadline) {
  const auto to = env::parse_address(address);
  if (!to.ok()) {
    co_return Error(Code::kConnectFailed,
                    fmt::format("server {} has no usable address ('{}')", server.number, address));
  }
  rpc::CallOptions options;
  // Orders free space that writers may wait for; the rest must not hold up anybody.
  options.task_class =
      method == wire::Method::chunk_orders ? TaskClass::control : TaskClass::repair;
  options.deadline = deadline;
  options.measured = method != wire::Method::copy_chunk;
  auto response = co_await peers_.call(*to, method, std::move(body), options);
  if (!response.ok()) {
    co_return std::move(response).error();
  }
  if (response->code != Code::kOk) {
    co_return response->error();
  }
  co_return std::string(response->text());
}

}  // namespace pangu::master
