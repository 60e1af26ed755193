#include "env/linux/linux_env.h"

#include <atomic>
#include <cstdlib>
#include <fmt/format.h>
#include <netdb.h>

#include "base/log.h"
#include "env/linux/epoll_env.h"
#include "env/linux/uring_env.h"

namespace pangu::env {

namespace {

Result<std::unique_ptr<Env>> make_epoll() {
  TRY(env, EpollEnv::make());
  return std::unique_ptr<Env>(std::move(env));
}

Result<std::unique_ptr<Env>> make_automatic() {
  auto uring = UringEnv::make();
  if (uring.ok()) {
    return std::unique_ptr<Env>(std::move(*uring));
  }
  static std::atomic<bool> warned{false};
  if (!warned.exchange(true)) {
    LOG_WARN("io_uring cannot be used ({}); going on with epoll and threads, which is slower",
             uring.error().message());
  }
  return make_epoll();
}

Result<EnvKind> kind_from_environment() {
  const char* wish = std::getenv("PANGU_ENV");
  const std::string_view text = wish == nullptr ? "" : wish;
  if (text.empty() || text == "auto") {
    return EnvKind::automatic;
  }
  if (text == "io_uring") {
    return EnvKind::io_uring;
  }
  if (text == "epoll") {
    return EnvKind::epoll;
  }
  return Error(Code::kInvalidArgument,
               fmt::format("PANGU_ENV is '{}': it may be auto, io_uring or epoll", text));
}

}  // namespace

Result<std::unique_ptr<Env>> make_env(EnvKind kind) {
  if (kind == EnvKind::automatic) {
    TRY(wished, kind_from_environment());
    kind = wished;
  }
  switch (kind) {
    case EnvKind::automatic:
      return make_automatic();
    case EnvKind::io_uring: {
      TRY(env, UringEnv::make());
      return std::unique_ptr<Env>(std::move(env));
    }
    case EnvKind::epoll:
      return make_epoll();
  }
  return Code::kInvalidArgument;
}

Result<Address> resolve_address(std::string_view text) {
  auto parsed = parse_address(text);
  const size_t colon = text.rfind(':');
  if (parsed.ok() || colon == text.npos || text.substr(0, colon).find(':') != text.npos) {
    return parsed;
  }
  const std::string host(text.substr(0, colon));
  // Judges the port before anybody is asked.
  TRY(with_port, parse_address(fmt::format("127.0.0.1:{}", text.substr(colon + 1))));
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), nullptr, &wanted, &found);
  if (failure != 0) {
    return Error(Code::kNotFound,
                 fmt::format("cannot resolve host '{}': {}", host, ::gai_strerror(failure)));
  }
  SocketAddress native;
  std::memcpy(&native.storage, found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  Address out = from_socket_address(native);
  out.port = with_port.port;
  return out;
}

}  // namespace pangu::env
