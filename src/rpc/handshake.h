#pragma once
#include <array>
#include <optional>
#include <string>

#include "base/ids.h"

// Who a process is, for the hello of every connection (docs/formats/frame.md, "Hello").
namespace pangu::rpc {

using ClusterKey = std::array<std::byte, 32>;

enum class ConnectionKind : u8 { control = 0, data = 1 };

struct Identity {
  Uuid cluster;                   // zero: a client that has not learned it yet accepts any
  ServerId server;                // zero: not a server
  std::optional<ClusterKey> key;  // none: no authentication, loopback only
};

}  // namespace pangu::rpc
