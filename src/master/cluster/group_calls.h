#pragma once
#include <map>
#include <string>

#include "master/cluster/cluster_map.h"
#include "raft/driver/transport.h"
#include "wire/method.h"

// Calls from this master to the leader of any group, here or elsewhere.
namespace pangu::master {

class GroupCalls {
 public:
  // This process, as a place where a group may be led.
  class Local {
   public:
    virtual ~Local() = default;
    virtual bool leads(u64 group) const = 0;
    // As the RPC would answer it. REQUIRES: leads(group), a moment ago
    virtual Task<Result<std::string>> serve(u64 group, wire::Method method, std::string body,
                                            Instant deadline) = 0;
  };

  // All must outlive it.
  GroupCalls(Reactor& reactor, const ClusterMap& map, raft::PeerCalls& peers, Local& local)
      : reactor_(reactor), map_(map), peers_(peers), local_(local) {}

  // The leader's answer. The request must be one that does no harm twice. kUnavailable: no leader
  // was found in time; the call may have been carried out nevertheless.
  Task<Result<std::string>> call(u64 group, wire::Method method, std::string body,
                                 Instant deadline);
  template <class Reply, class Request>
  Task<Result<Reply>> ask(u64 group, wire::Method method, Request request, Instant deadline) {
    request.set_group(group);
    auto answer = co_await call(group, method, request.SerializeAsString(), deadline);
    CO_TRY(bytes, std::move(answer));
    Reply reply;
    if (!reply.ParseFromString(bytes)) {
      co_return Error(Code::kBadFrame, "a master's reply does not parse");
    }
    co_return reply;
  }
  // The same to one process, whoever leads there.
  Task<Result<std::string>> call_process(const env::Address& to, wire::Method method,
                                         std::string body, Instant deadline);

 private:
  Result<env::Address> choose(u64 group, u64 attempt) const;
  void learn_leader(u64 group, std::string_view text);

  Reactor& reactor_;
  const ClusterMap& map_;
  raft::PeerCalls& peers_;
  Local& local_;
  std::map<u64, env::Address> leaders_;  // believed
};

}  // namespace pangu::master
