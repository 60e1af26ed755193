#pragma once
#include <map>
#include <string>
#include <vector>

#include "rpc/service.h"
#include "wire/proto.h"

// A stream service in memory that keeps the rules of docs/design/0003-protocol.md, 10, 14, 16, 20
// and 26, and just enough of a namespace. Every change is applied exactly once by its request id.
namespace pangu::client::testing {

class FakeMaster {
 public:
  struct Server {
    u32 id = 0;
    std::string address;
    Uuid device;
  };
  struct Stream {
    u32 epoch = 0;
    pb::StreamState state = pb::STREAM_NEW;
    u32 last_sequence = 0;
    std::vector<pb::ChunkInfo> chunks;  // dropped ones are left out
    pb::FileOptions options;
    u64 settled_length() const;
  };

  explicit FakeMaster(std::vector<Server> servers) : servers_(std::move(servers)) {}

  rpc::Reply handle(wire::Method method, const std::string& body);
  Stream* stream(const std::string& path);
  u64 file_id(const std::string& path) const { return files_.at(path).id(); }
  std::vector<Server>& servers() { return servers_; }

  // No place for new chunks while this is set.
  bool no_placement = false;
  u64 calls = 0;
  u64 allocations = 0;
  u64 publishes = 0;
  u64 reports = 0;
  u64 releases = 0;

 private:
  using Applied = Result<std::string>;
  template <class Request>
  rpc::Reply change(const std::string& body, Applied (FakeMaster::*apply)(const Request&));
  template <class Request>
  rpc::Reply ask(const std::string& body, Applied (FakeMaster::*apply)(const Request&));

  Applied lookup(const pb::LookupRequest& request);
  Applied create(const pb::CreateFileRequest& request);
  Applied make_directory(const pb::MakeDirectoryRequest& request);
  Applied list(const pb::ListRequest& request);
  Applied rename(const pb::RenameRequest& request);
  Applied remove(const pb::RemoveRequest& request);
  Applied open(const pb::OpenForAppendRequest& request);
  Applied allocate(const pb::AllocateChunksRequest& request);
  Applied release(const pb::ReleaseChunkRequest& request);
  Applied report(const pb::ReportChunkRequest& request);
  Applied publish(const pb::PublishRequest& request);
  Applied get_stream(const pb::GetStreamRequest& request);
  Applied seal(const pb::SealFileRequest& request);
  Applied cluster_info(const pb::ClusterInfoRequest& request);

  using Excluded = google::protobuf::RepeatedField<u32>;
  using Chunks = google::protobuf::RepeatedPtrField<pb::ChunkInfo>;
  Status add_chunks(u64 file, u32 count, const Excluded& excluded, Chunks& out);
  Status decide(Stream& stream, const google::protobuf::RepeatedPtrField<pb::Decision>& decisions);
  static Status settle(Stream& stream, u32 sequence, u64 base, u32 length);
  void describe(u64 file, pb::StreamInfo& out);
  pb::ServerInfo info_of(const Server& server) const;

  std::vector<Server> servers_;
  std::map<std::string, pb::Entry> files_;
  std::map<u64, Stream> streams_;
  u64 next_file_ = 1;
  size_t next_server_ = 0;
  std::map<std::pair<u64, u64>, std::map<u64, rpc::Reply>> answers_;  // by client and sequence
};

}  // namespace pangu::client::testing
