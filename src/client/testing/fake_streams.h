#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "wire/proto.h"

// The stream groups of a cluster in memory: they keep the rules of docs/design/0003-protocol.md, 10,
// 14, 16, 20 and 26, and make streams at their first open (docs/design/0006).
namespace pangu::client::testing {

class FakeStreams {
 public:
  using Answer = Result<std::string>;  // a reply's bytes
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

  explicit FakeStreams(std::vector<Server> servers) : servers_(std::move(servers)) {}

  Answer open(const pb::OpenForAppendRequest& request);
  Answer allocate(const pb::AllocateChunksRequest& request);
  Answer release(const pb::ReleaseChunkRequest& request);
  Answer report(const pb::ReportChunkRequest& request);
  Answer publish(const pb::PublishRequest& request);
  Answer get_stream(const pb::GetStreamRequest& request);
  Answer get_streams(const pb::GetStreamsRequest& request);
  Answer seal(const pb::SealFileRequest& request);

  // Made empty if it is not there.
  Stream& stream(u64 file) { return streams_[file]; }
  void remove(u64 file);
  std::vector<Server>& servers() { return servers_; }
  pb::ServerInfo info_of(const Server& server) const;

  // No place for new chunks while this is set.
  bool no_placement = false;
  // A reply to get_streams has room for so many.
  int streams_per_reply = 1000;
  u64 allocations = 0;
  u64 publishes = 0;
  u64 reports = 0;
  u64 releases = 0;

 private:
  using Excluded = google::protobuf::RepeatedField<u32>;
  using Chunks = google::protobuf::RepeatedPtrField<pb::ChunkInfo>;
  Status add_chunks(u64 file, u32 count, const Excluded& excluded, Chunks& out);
  Status decide(Stream& stream, const google::protobuf::RepeatedPtrField<pb::Decision>& decisions);
  static Status settle(Stream& stream, u32 sequence, u64 base, u32 length);
  void describe(u64 file, pb::StreamInfo& out);
  Result<pb::GetStreamReply> describe_stream(const pb::GetStreamRequest& request);

  std::vector<Server> servers_;
  std::map<u64, Stream> streams_;
  std::set<u64> removed_;
  size_t next_server_ = 0;
};

}  // namespace pangu::client::testing
