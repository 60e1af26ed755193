#pragma once
#include <map>
#include <optional>
#include <vector>

#include "base/time.h"
#include "env/env.h"
#include "wire/proto.h"

// Where the chunkservers are and how they have behaved lately.
namespace pangu::client {

class ServerDirectory {
 public:
  explicit ServerDirectory(Duration suspect_time) : suspect_time_(suspect_time) {}

  // Takes an address the master gave. One that does not parse is dropped with a log line.
  void learn(const pb::ServerInfo& info);
  template <class Infos>
  void learn_all(const Infos& infos) {
    for (const pb::ServerInfo& info : infos) {
      learn(info);
    }
  }
  std::optional<env::Address> address(ServerId server) const;

  // A call failed in a way that another server might not have.
  void note_failure(ServerId server, Instant now);
  void note_success(ServerId server, Duration took);

  bool is_suspect(ServerId server, Instant now) const;
  std::vector<ServerId> suspects(Instant now) const;
  // Lower is better: what a read from it would cost, in ns of expected delay.
  i64 read_cost(ServerId server, Instant now) const;

 private:
  struct Server {
    env::Address address;
    Instant suspect_until;
    u32 failures_in_a_row = 0;
    i64 smoothed_ns = 0;
  };
  Duration suspect_time_;
  std::map<ServerId, Server> servers_;
};

}  // namespace pangu::client
