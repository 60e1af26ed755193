#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/world.h"
#include "rpc/channel.h"
#include "runtime/buffer_pool.h"
#include "wire/control.pb.h"

// Questions to masters and chunkservers that only people ask: what is where, and how is it. Reads
// only; everything that changes a cluster goes through the client.
namespace pangu::app {

class Admin {
 public:
  static Result<std::unique_ptr<Admin>> create(World& world, const Config& config);
  ~Admin();  // REQUIRES: stop() returned

  // Asks the masters in turn.
  Task<Result<pb::ClusterInfoReply>> cluster_info();
  Task<Result<pb::LookupReply>> lookup(std::string path);
  // All chunks of a file.
  Task<Result<pb::StreamInfo>> stream(u64 file);
  // A chunkserver by its address.
  Task<Result<pb::ChunkserverStatusReply>> server_status(std::string address);
  Task<Result<pb::InspectChunkReply>> inspect(std::string address, pb::Chunk chunk);
  // The counters of every alive chunkserver, added up. Those that do not answer are left out.
  Task<std::map<std::string, u64>> server_counters();
  Task<void> stop();

 private:
  Admin(World& world, std::vector<env::Address> masters, rpc::Identity identity, Duration timeout);
  rpc::Channel& channel(const env::Address& address);
  template <class Reply, class Request>
  Task<Result<Reply>> ask_master(wire::Method method, Request request);
  template <class Reply, class Request>
  Task<Result<Reply>> ask_server(std::string address, wire::Method method, Request request);

  World& world_;
  std::vector<env::Address> masters_;
  rpc::Identity identity_;
  Duration timeout_;
  BufferPool pool_;
  std::map<env::Address, std::unique_ptr<rpc::Channel>> channels_;
};

}  // namespace pangu::app
