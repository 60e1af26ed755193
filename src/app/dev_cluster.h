#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/master_server.h"
#include "chunk/server/chunkserver.h"

// A whole cluster on one reactor of this process: the same masters and chunkservers as in processes
// of their own, talking over real loopback connections.
namespace pangu::app {

struct DevOptions {
  std::string directory;
  u16 master_port = 0;
  u64 chunkservers = 3;
  u64 namespace_groups = 2;
  u64 stream_groups = 2;
  u64 racks = 0;       // 0: every chunkserver is a rack of its own
  bool memory = false;
  u64 device_bytes = 0;
  std::optional<rpc::ClusterKey> key;
};

class DevCluster {
 public:
  // Returns when every chunkserver is known to the master. Continues with the data that is there.
  static Task<Result<std::unique_ptr<DevCluster>>> start(Reactor& reactor, DevOptions options);
  // Chunkservers first, then the master.
  Task<void> stop();
  env::Address master_address() const { return master_->address(); }

 private:
  Task<Status> begin(Reactor& reactor, DevOptions options);
  std::unique_ptr<MasterServer> master_;
  std::vector<std::unique_ptr<chunk::Chunkserver>> chunkservers_;
};

}  // namespace pangu::app
