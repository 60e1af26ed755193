#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chunk/server/identity.h"
#include "rpc/channel.h"
#include "runtime/sync.h"
#include "wire/control.pb.h"

// A chunkserver's line to the root group: joins the cluster, then sends a heartbeat each second to the
// group's leader, wherever that is. The data path never waits for it.
//
// It begins with any configured master. One that does not lead names the leader, which is asked at
// once, also if it is not configured; one that has no member of the root group tells where its members
// are. A master that does not answer soon is left for the next.
namespace pangu::chunk {

// What the registration needs of the server it speaks for.
class RegistrationHost {
 public:
  virtual ~RegistrationHost() = default;
  virtual std::vector<pb::DeviceInfo> device_infos() = 0;
};

struct RegistrationOptions {
  std::vector<env::Address> masters;
  std::string rack = "default";
  std::optional<rpc::ClusterKey> key;
  Duration heartbeat_period = seconds(1);
  // Of the first attempt: a master that is frozen must not cost the time after which a server counts
  // as silent. The next ones get more, up to the maximum: masters may just be slow.
  Duration call_timeout = milliseconds(500);
  Duration call_timeout_max = seconds(2);
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

  const env::Address& master() const { return master_; }  // that is asked next

 private:
  Task<void> loop();
  Task<Status> register_once(Instant deadline);
  Task<Status> heartbeat_once();
  Task<void> learn_members();
  Instant call_deadline(Instant deadline) const;
  rpc::Channel& channel(const env::Address& master);
  // What to do about a failed attempt; how long to wait before the next.
  Task<Duration> after_failure(Code code, std::string text);
  void next_master();

  Reactor& reactor_;
  BufferPool& pool_;
  RegistrationHost& host_;
  RegistrationOptions options_;
  ServerIdentity identity_;
  std::string address_;
  // The configured ones, and members of the root group that other masters told of.
  std::vector<env::Address> masters_;
  std::map<env::Address, std::unique_ptr<rpc::Channel>> channels_;
  env::Address master_;
  std::optional<env::Address> silent_;  // the last one that did not answer
  u32 failures_ = 0;                    // in a row
  u32 redirects_ = 0;                   // likewise, without any wait between them
  u32 timeouts_ = 0;                    // since the last success
  u64 sequence_ = 0;
  Uuid request_client_;
  Event registered_;
  WaitList wake_;
  bool stopping_ = false;
  Gate gate_;
};

}  // namespace pangu::chunk
