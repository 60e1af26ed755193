#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chunk/server/identity.h"
#include "rpc/channel.h"
#include "runtime/sync.h"
#include "wire/control.pb.h"

// A chunkserver's line to the masters: joins the cluster, sends a heartbeat each second, carries
// out the orders that come back (delete, finalize) and confirms them. The data path never waits for
// it.
namespace pangu::chunk {

// What the registration needs of the server it speaks for.
class RegistrationHost {
 public:
  virtual ~RegistrationHost() = default;
  virtual std::vector<pb::DeviceInfo> device_infos() = 0;
  // Carries out one order; true if it is done (or was done before) and may be confirmed.
  virtual Task<bool> delete_chunk(Uuid device, ChunkId chunk) = 0;
  virtual Task<bool> finalize_chunk(Uuid device, ChunkId chunk, u32 length, u32 version) = 0;
  // What a device would like to know is dead; nothing most of the time.
  virtual std::optional<pb::ChunkOnDevice> dead_from() = 0;
  // The answer. Returns at once.
  virtual void take_dead(const pb::DeadChunks& dead) = 0;
};

struct RegistrationOptions {
  std::vector<env::Address> masters;
  std::string rack = "default";
  std::optional<rpc::ClusterKey> key;
  Duration heartbeat_period = seconds(1);
  Duration call_timeout = seconds(2);
};

class Registration {
 public:
  // Everything passed in must outlive stop().
  Registration(Reactor& reactor, BufferPool& pool, RegistrationHost& host,
               const RegistrationOptions& options);
  ~Registration();  // REQUIRES: stop() returned, or the reactor was abandoned

  // Fills identity.cluster and identity.server: one registration without address or devices. Tries
  // every master in turn until the deadline. Not stored here.
  Task<Status> join(ServerIdentity& identity, Instant deadline);
  // Starts registering `address` and the devices, then heartbeats. `identity` is known().
  void start(const ServerIdentity& identity, std::string address);
  bool registered() const { return registered_.is_set(); }
  // False if the deadline passed first.
  Task<bool> wait_registered(Instant deadline);
  Task<void> stop();

 private:
  Task<void> loop();
  Task<Status> register_once(Instant deadline);
  Task<Status> heartbeat_once();
  Task<void> carry_out(pb::HeartbeatReply orders);
  rpc::Channel& channel();
  void next_master();

  Reactor& reactor_;
  BufferPool& pool_;
  RegistrationHost& host_;
  RegistrationOptions options_;
  ServerIdentity identity_;
  std::string address_;
  std::vector<std::unique_ptr<rpc::Channel>> channels_;
  size_t master_ = 0;
  u64 sequence_ = 0;
  Uuid request_client_;
  std::vector<pb::ChunkOnDevice> deleted_;
  std::vector<pb::ChunkOnDevice> finalized_;
  bool answered_ = false;  // the last heartbeat had a question: there may be another one
  Event registered_;
  WaitList wake_;
  bool stopping_ = false;
  Gate gate_;
};

}  // namespace pangu::chunk
