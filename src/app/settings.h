#pragma once
#include <optional>
#include <string>
#include <vector>

#include "app/config.h"
#include "env/env.h"
#include "rpc/handshake.h"

// Configuration values as the modules take them. Each error names the key or the file.
namespace pangu::app {

// The key in cluster.key_file; nothing if none is configured.
Result<std::optional<rpc::ClusterKey>> cluster_key(const Config& config);
Result<rpc::ClusterKey> parse_cluster_key(std::string_view text);
// The addresses in "host:port[,host:port...]"; names are resolved.
Result<std::vector<env::Address>> addresses(std::string_view text);
Result<std::vector<env::Address>> master_addresses(const Config& config);

struct DeviceSpec {
  std::string path;
  u64 size = 0;  // 0: not given
};
// "PATH[,size=64G]"
Result<DeviceSpec> parse_device(std::string_view text);

}  // namespace pangu::app
