#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/world.h"
#include "rpc/channel.h"
#include "runtime/buffer_pool.h"
#include "wire/control.pb.h"
#include "wire/method.h"

// What people who run a cluster ask and order: of masters, of their groups, of chunkservers.
namespace pangu::app {

class Admin {
 public:
  // Asks the masters of the configuration, or those of `masters` ("host:port,...").
  static Result<std::unique_ptr<Admin>> create(World& world, const Config& config,
                                               const std::string& masters = {});
  ~Admin();  // REQUIRES: stop() returned

  // The partition map, of the first master that answers.
  Task<Result<pb::PartitionMap>> partition_map();
  Task<Result<pb::ClusterInfoReply>> cluster_info();
  // All chunks of a file.
  Task<Result<pb::StreamInfo>> stream(u64 file);
  // A chunkserver by its address.
  Task<Result<pb::ChunkserverStatusReply>> server_status(std::string address);
  Task<Result<pb::InspectChunkReply>> inspect(std::string address, pb::Chunk chunk);
  // The counters of every alive chunkserver, added up. Those that do not answer are left out.
  Task<std::map<std::string, u64>> server_counters();

  // A request to the leader of a group, which is looked for. `request` must be one that may be
  // carried out twice, or have a request id.
  template <class Reply, class Request>
  Task<Result<Reply>> ask_group(u64 group, wire::Method method, Request request) {
    request.set_group(group);
    auto answer = co_await call_group(group, method, request.SerializeAsString());
    co_return parse<Reply>(std::move(answer));
  }
  // The same for a change: it gets a request id of its own.
  template <class Reply, class Request>
  Task<Result<Reply>> change_group(u64 group, wire::Method method, Request request) {
    identify(*request.mutable_id());
    auto answer = co_await ask_group<Reply>(group, method, std::move(request));
    co_return answer;
  }
  // A request to one master process.
  template <class Reply, class Request>
  Task<Result<Reply>> ask_master(std::string address, wire::Method method, Request request) {
    auto answer = co_await call_address(std::move(address), method, request.SerializeAsString(),
                                        timeout_);
    co_return parse<Reply>(std::move(answer));
  }

  World& world() { return world_; }
  Task<void> stop();

 private:
  Admin(World& world, std::vector<env::Address> masters, rpc::Identity identity, Duration timeout);
  template <class Reply>
  static Result<Reply> parse(Result<std::string> answer) {
    TRY(bytes, std::move(answer));
    Reply reply;
    if (!reply.ParseFromString(bytes)) {
      return Error(Code::kBadFrame, "the reply does not parse");
    }
    return reply;
  }
  rpc::Channel& channel(const env::Address& address);
  void identify(pb::RequestId& id);
  std::vector<std::string> members_of(u64 group) const;
  Task<Result<std::string>> call_group(u64 group, wire::Method method, std::string body);
  Task<Result<std::string>> call_address(std::string address, wire::Method method,
                                         std::string body, Duration timeout);
  template <class Reply, class Request>
  Task<Result<Reply>> ask_server(std::string address, wire::Method method, Request request);

  World& world_;
  std::vector<env::Address> masters_;
  rpc::Identity identity_;
  Duration timeout_;
  BufferPool pool_;
  pb::PartitionMap map_;
  Uuid client_;
  u64 sequence_ = 0;
  std::map<env::Address, std::unique_ptr<rpc::Channel>> channels_;
};

}  // namespace pangu::app
