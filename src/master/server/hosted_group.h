#pragma once
#include <memory>
#include <string>

#include "master/cluster/transactions.h"
#include "master/group/group.h"
#include "master/ops/ops.h"
#include "master/streams/group_access.h"
#include "master/streams/stream_loops.h"

// A group of which this process has a member, with all that works for it here.
namespace pangu::master {

class HostedGroup {
 public:
  struct Surroundings {  // all must outlive it
    Reactor& reactor;
    const GroupOptions& options;
    const LivenessOptions& liveness;
    GroupCalls& calls;
    const ClusterMap& map;
    Group::ServerSource& servers;
    ServerCalls& server_calls;
    const StreamLoopsOptions& streams;
    Uuid cluster;
    std::string version;
  };
  HostedGroup(const Surroundings& around, std::string folder);

  // As Group::open().
  Task<Status> open(std::unique_ptr<Kv> kv, raft::Host& host, raft::GroupId id,
                    raft::Configuration founders, const Genesis& genesis);
  Group& group() { return group_; }
  // Null: it is no stream group.
  const StreamLoops* loops() const { return loops_.get(); }
  Transactions& transactions() { return transactions_; }

  // A request for this group, wherever it comes from.
  Task<Result<std::string>> serve(wire::Method method, std::string body, Instant deadline);

  void close() { group_.close(); }
  // REQUIRES: close() was called and the host has stopped or forgotten the group
  Task<void> stop();

 private:
  Group group_;
  Transactions transactions_;
  ops::Context context_;
  ServerCalls& server_calls_;
  const StreamLoopsOptions& stream_options_;
  GroupAccess access_{group_};
  std::unique_ptr<StreamLoops> loops_;
  Gate requests_;
};

}  // namespace pangu::master
