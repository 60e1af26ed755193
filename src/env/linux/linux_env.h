#pragma once
#include <memory>
#include <string_view>

#include "env/env.h"

// The real world. One Env per reactor thread; an Env belongs to the thread that first polls it.
namespace pangu::env {

enum class EnvKind : u8 {
  automatic,  // io_uring, or epoll with one warning a process where io_uring cannot be had
  io_uring,
  epoll,
};

// The environment variable PANGU_ENV (io_uring, epoll) decides for EnvKind::automatic.
Result<std::unique_ptr<Env>> make_env(EnvKind kind = EnvKind::automatic);

// parse_address(), and host names ("storage-7:7100") too. Blocking: asks the system's resolver.
Result<Address> resolve_address(std::string_view text);

}  // namespace pangu::env
