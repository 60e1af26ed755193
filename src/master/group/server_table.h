#pragma once
#include <map>
#include <optional>

#include "base/time.h"
#include "master/group/placement.h"
#include "master/state/record.pb.h"
#include "wire/control.pb.h"

// What the leader knows of the servers at this moment: the registered ones (a mirror of the state)
// and what their heartbeats say. None of it is durable; none of it is asked when a command is applied.
namespace pangu::master {

struct LivenessOptions {
  Duration suspect_after = seconds(3);  // silent for longer: no new chunks
  Duration dead_after = seconds(30);
};

class ServerTable {
 public:
  ServerTable(const LivenessOptions& options, Instant now) : options_(options), began_(now) {}

  // Heartbeats come here from now on: silence counts from `now`, and what was reported before is
  // forgotten.
  void begin_again(Instant now);
  // Only these are registered. For a state that was replaced as a whole.
  void replace(const std::vector<record::Server>& servers, Instant now);
  // What the root's leader knows, for a stream group's leader. True: something that matters for
  // placement is new.
  bool adopt(const pb::ServerTableReply& table, Instant now);
  // A server as the state has it; new or changed.
  void update(const record::Server& server, Instant now);
  bool empty() const { return servers_.empty(); }
  bool knows(ServerId server) const { return servers_.contains(server.number); }

  // A heartbeat or a registration came. REQUIRES: knows(server)
  void heard(ServerId server, const google::protobuf::RepeatedPtrField<pb::DeviceInfo>& devices,
             Instant now);
  // What of a heartbeat the state does not have yet. REQUIRES: knows(request.server())
  std::optional<record::UpdateServer> news(const pb::HeartbeatRequest& request) const;
  // Where in its orders the next heartbeat's reply begins. REQUIRES: knows(server)
  std::string& order_cursor(ServerId server) { return servers_.at(server.number).order_cursor; }

  // This leader has listened for long enough to know who is silent.
  bool settled(Instant now) const { return now - began_ > options_.suspect_after; }
  pb::ServerState state(ServerId server, Instant now) const;
  pb::AdminState admin(ServerId server) const;
  // Where it is and how it stands; nothing but the id for an unknown server.
  void describe(pb::ServerInfo& out, ServerId server, Instant now) const;
  // Its devices. REQUIRES: knows(server)
  void describe_devices(pb::ServerInfo& out, ServerId server) const;
  std::vector<ServerId> ids() const;

  // Places for `count` chunks, or why there are none.
  record::Offer offer(u32 count, PlacementRequest request, Instant now);

 private:
  struct Known {
    record::Server record;
    std::string order_cursor;
    bool heard = false;  // since this master began
    Instant last_heard;
    std::vector<pb::DeviceInfo> devices;  // as last reported
  };
  Duration silence(const Known& server, Instant now) const;
  void rebuild();

  LivenessOptions options_;
  Instant began_;
  std::map<u32, Known> servers_;
  std::vector<PlacementServer> places_;  // the same servers, for the placer
  Placer placer_;
};

}  // namespace pangu::master
