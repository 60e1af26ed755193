#pragma once
#include <map>
#include <string>
#include <vector>

#include "client/testing/fake_streams.h"
#include "client/testing/fake_tree.h"
#include "rpc/service.h"

// The masters of a cluster in memory: some processes, each with members of the root group and of
// several namespace and stream groups. Every change is applied exactly once by its request id.
namespace pangu::client::testing {

struct FakeMasterOptions {
  u32 processes = 1;
  u32 namespace_groups = 3;
  u32 stream_groups = 2;
};

class FakeMaster {
 public:
  using Server = FakeStreams::Server;
  using Stream = FakeStreams::Stream;

  // `addresses`: of the processes, which are nodes 1, 2 and so on. All must outlive it.
  FakeMaster(Reactor& reactor, Prng& prng, Gate& gate, std::vector<std::string> addresses,
             const FakeMasterOptions& options, std::vector<Server> servers);

  // What process `node` answers.
  Task<rpc::Reply> handle(u64 node, wire::Method method, std::string body, Instant deadline);

  Stream* stream(const std::string& path);
  u64 file_id(const std::string& path);
  std::vector<Server>& servers() { return streams_.servers(); }
  FakeTree& tree() { return tree_; }
  FakeStreams& streams() { return streams_; }

  std::vector<u64> groups() const;
  u64 leader(u64 group) const { return groups_.at(group).leader; }
  // 0: nobody leads it now.
  void elect(u64 group, u64 node) { groups_.at(group).leader = node; }
  // What the others believe meanwhile.
  void believe(u64 group, u64 node) { groups_.at(group).believed = node; }
  // Elects somebody else wherever `node` leads.
  void depose(u64 node);
  // The group's members are these from now on; those who know the new map say so.
  void move_group(u64 group, std::vector<u64> nodes);

  u64 calls = 0;
  std::map<wire::Method, u64> calls_by_method;

 private:
  struct Session {
    std::map<u64, rpc::Reply> answers;
    u64 first_unanswered = 0;  // answers below are forgotten
    std::set<u64> running;
  };
  struct Group {
    std::vector<u64> nodes;
    u64 leader = 0;
    u64 believed = 0;
    std::map<std::pair<u64, u64>, Session> sessions;  // by client
  };
  using Answer = Result<std::string>;
  template <class Request>
  Task<rpc::Reply> change(u64 group, std::string body, Instant deadline,
                          Task<Answer> (FakeTree::*apply)(u64, Request, Instant));
  template <class Request>
  Task<rpc::Reply> ask(u64 group, std::string body, Instant deadline,
                       Task<Answer> (FakeTree::*apply)(u64, Request, Instant));
  template <class Request>
  rpc::Reply change_stream(u64 group, const std::string& body,
                           Answer (FakeStreams::*apply)(const Request&));
  template <class Request>
  rpc::Reply ask_stream(const std::string& body, Answer (FakeStreams::*apply)(const Request&));
  Session& session_of(u64 group, const pb::RequestId& id);
  // The answer that is kept of it; none: it is new.
  std::optional<rpc::Reply> kept(u64 group, const pb::RequestId& id);
  void keep(u64 group, const pb::RequestId& id, const rpc::Reply& reply);
  Task<rpc::Reply> dispatch(u64 group, wire::Method method, std::string body, Instant deadline);
  rpc::Reply dispatch_stream(u64 group, wire::Method method, const std::string& body);
  pb::PartitionMap map() const;
  Answer cluster_info();
  Answer server_table();

  const std::vector<std::string> addresses_;
  FakeTree tree_;
  FakeStreams streams_;
  std::map<u64, Group> groups_;
  u64 map_version_ = 1;
  WaitList ended_;
};

}  // namespace pangu::client::testing
