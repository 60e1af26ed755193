#pragma once
#include <memory>
#include <string>
#include <vector>

#include "chunk/server/data_service.h"
#include "chunk/server/group_service.h"
#include "chunk/server/registration.h"
#include "rpc/server.h"

// A whole chunkserver on one reactor: its data directory, devices, RPC server and its line to the
// masters. `pangu chunkserver`, `pangu dev` and the simulation all run this class.
namespace pangu::chunk {

struct DeviceOptions {
  std::string path;              // file or block device; empty: memory
  u64 size = 0;                  // a new file's or a memory device's capacity; 0: what is there
  bool format_if_blank = false;  // makes a blank device ours; without it a blank one is refused
};

struct ChunkserverOptions {
  std::string data;     // directory for identity and lock
  env::Address listen;  // port 0: any free one
  std::vector<env::Address> masters;
  std::string rack = "default";
  std::vector<DeviceOptions> devices;
  std::optional<rpc::ClusterKey> key;
  u64 receive_pool_bytes = 12 * kMiB;
  Duration join_timeout = seconds(30);
};

class Chunkserver final : public RegistrationHost {
 public:
  // Opens the data directory and devices, joins the cluster if this is its first start, and serves.
  // An error says which file or device and what to do; everything opened is closed again.
  static Task<Result<std::unique_ptr<Chunkserver>>> start(Reactor& reactor,
                                                          ChunkserverOptions options);
  ~Chunkserver() override;  // REQUIRES: stop() returned, or the reactor was abandoned
  // Finishes running requests, writes checkpoints, closes devices.
  Task<void> stop();

  env::Address address() const { return server_->address(); }
  ServerId server() const { return directory_.identity.server; }
  Uuid cluster() const { return directory_.identity.cluster; }
  const DataService& service() const { return service_; }
  const GroupService& groups() const { return groups_; }
  const BufferPool& pool() const { return pool_; }
  const rpc::ServerCounters& rpc_counters() const { return server_->counters(); }
  // False if the deadline passed before a master knew this server's address and devices.
  Task<bool> wait_registered(Instant deadline) { return registration_.wait_registered(deadline); }

  std::vector<pb::DeviceInfo> device_infos() override;

 private:
  struct Device {
    DeviceOptions options;
    std::string media;
    std::unique_ptr<env::File> file;
    std::unique_ptr<ChunkStore> store;
  };

  Chunkserver(Reactor& reactor, ChunkserverOptions options);
  Task<Status> begin();
  Task<Status> join();
  Status open_file(Device& device);
  Task<Status> open_device(Device& device);
  Task<Status> format(Device& device);
  Status serve();

  Reactor& reactor_;
  ChunkserverOptions options_;
  BufferPool pool_;
  PoolBuffers buffers_;
  DataDirectory directory_;
  std::vector<std::unique_ptr<Device>> devices_;
  DataService service_;
  GroupService groups_;
  Registration registration_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace pangu::chunk
