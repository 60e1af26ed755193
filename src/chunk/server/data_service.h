#pragma once
#include <map>
#include <memory>

#include "chunk/store/chunk_store.h"
#include "rpc/service.h"
#include "runtime/buffer_pool.h"
#include "wire/control.pb.h"
#include "wire/data_plane.h"

// The chunkserver's methods: decodes a request, finds the device it names, calls its chunk store
// and encodes the answer. One instance a reactor; no state but the map of devices.
namespace pangu::chunk {

class GroupService;

struct ServiceCounters {
  u64 appends = 0;
  u64 append_bytes = 0;  // payload
  u64 reads = 0;
  u64 read_bytes = 0;
  u64 refused = 0;  // answered with another code than ok and duplicate
};

class DataService final : public rpc::Service {
 public:
  // `pool` must outlive the service.
  explicit DataService(BufferPool& pool) : pool_(pool) {}

  // `store` must stay until the server that uses this service has stopped.
  void add_device(ChunkStore& store, std::string media);
  void set_server(ServerId server) { server_ = server; }
  // What answers to leaders of stream groups; likewise. Without it their methods are unknown here.
  void set_groups(GroupService& groups) { groups_ = &groups; }

  // Appends only: the run's bytes land in units, the last footer at its unit's end, padding zeroed.
  Result<rpc::Placement> place(const wire::FrameHeader& header, Bytes body) override;
  Task<rpc::Reply> handle(rpc::Request request) override;

  const ServiceCounters& counters() const { return counters_; }
  struct Device {
    ChunkStore* store = nullptr;
    std::string media;  // "memory", "file", "block"
  };
  const std::map<Uuid, Device>& devices() const { return devices_; }

 private:
  Task<rpc::Reply> append(rpc::Request request);
  Task<rpc::Reply> read(rpc::Request request);
  Task<rpc::Reply> fence(rpc::Request request);
  Task<rpc::Reply> finalize(rpc::Request request);
  Task<rpc::Reply> close(rpc::Request request);
  Task<rpc::Reply> committed(rpc::Request request);
  Task<rpc::Reply> watch(rpc::Request request);
  Task<rpc::Reply> status(rpc::Request request);
  Task<rpc::Reply> inspect(rpc::Request request);
  Task<rpc::Reply> ask_groups(rpc::Request request);
  // NotHere if this server has no such device.
  Result<ChunkStore*> store_of(const Uuid& device);

  BufferPool& pool_;
  ServerId server_;
  GroupService* groups_ = nullptr;
  std::map<Uuid, Device> devices_;
  ServiceCounters counters_;
};

// The store's view of the reactor's pool: memory counts as short when three quarters are in use.
class PoolBuffers final : public Buffers {
 public:
  explicit PoolBuffers(BufferPool& pool) : pool_(pool) {}
  Slice take(size_t size) override;
  bool pressed() const override;

 private:
  BufferPool& pool_;
};

// What a heartbeat and `pangu status` say of a device.
pb::DeviceInfo device_info(const ChunkStore& store, std::string_view media);

}  // namespace pangu::chunk
