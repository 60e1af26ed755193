#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "wire/control.pb.h"

// What a stream group's leader makes of the servers' states: which replicas count, which may be
// waited for, which are gone. In memory, from the table that the root sends each second.
namespace pangu::master {

struct WatchOptions {
  // A rack of several servers that is silent as a whole is likely to come back as a whole.
  Duration rack_grace = seconds(300);
  // A server that runs, without a device that it had: it may be opening it still.
  Duration device_grace = seconds(30);
};

struct WatchedDevice {
  Uuid device;
  u64 free_bytes = 0;
  u64 chunks = 0;
  bool failed = false;
  bool full = false;
  u64 appeared = 0;  // differs after the device was away, or its server was
};

struct WatchedServer {
  ServerId server;
  std::string address;
  std::string rack;
  pb::ServerState state = pb::SERVER_STATE_UNKNOWN;
  pb::AdminState admin = pb::SERVER_IN_SERVICE;
  std::vector<WatchedDevice> devices;
  Instant devices_since;  // its devices are these ones

  bool alive() const {
    return state == pb::SERVER_ALIVE && admin != pb::SERVER_REMOVED && !address.empty();
  }
  const WatchedDevice* find(const Uuid& device) const;
};

// How a replica's place is.
enum class Place : u8 {
  good,
  silent,    // not heard from for a moment, or not known here: it counts, and cannot be used now
  waiting,   // its rack is down as a whole: it counts, for a while
  draining,  // good, and to be left
  lost,      // its server is dead; should it come back, it is to erase what it has
  gone,      // its server was removed for good, or its device failed: nobody can erase anything there
};

class ServerWatch {
 public:
  explicit ServerWatch(const WatchOptions& options) : options_(options) {}

  void update(const std::vector<pb::ServerInfo>& servers, Instant now);
  const WatchedServer* find(ServerId server) const;
  const std::map<u32, WatchedServer>& servers() const { return servers_; }
  Place place(const Location& location, Instant now) const;
  // The server runs, and has these devices for so long that others will not come.
  bool devices_settled(const WatchedServer& server, Instant now) const {
    return server.alive() && now - server.devices_since >= options_.device_grace;
  }
  // Differs after something changed that decides what can be repaired, and how.
  u64 signature(Instant now) const;
  // Servers whose replicas, all of them, are to be put elsewhere, and devices that say that they
  // failed (of other servers). Devices that vanished are not among them: nobody says which they are.
  struct Leaving {
    std::vector<ServerId> servers;
    std::vector<Location> devices;
    bool operator==(const Leaving&) const = default;
  };
  Leaving leaving() const;

 private:
  bool rack_waits(const std::string& rack, Instant now) const;
  void watch_racks(Instant now);

  WatchOptions options_;
  std::map<u32, WatchedServer> servers_;
  std::map<std::string, Instant> rack_down_since_;
  u64 appearances_ = 0;
};

}  // namespace pangu::master
