#pragma once
#include <map>
#include <string>
#include <vector>

#include "rpc/service.h"
#include "runtime/sync.h"
#include "wire/data_plane.h"

// A chunkserver in memory that keeps the rules of docs/design/0003-protocol.md, 6 to 9, 16 and 30,
// to the letter and nothing else: what is stored is durable at once, restarts forget only what is
// volatile. For unit tests of the client.
namespace pangu::client::testing {

struct FakeReplica {
  bool exists = false;  // false: a tombstone
  u32 owner_epoch = 0;
  u32 fence = 0;
  u64 base = 0;
  u32 limit = 0;
  u8 copies_max = 0;
  u8 copies_min = 0;
  bool closed = false;
  bool finalized = false;
  u64 committed = 0;  // volatile
  std::vector<wire::HistoryEntry> history;
  std::vector<std::string> units;
  u32 length() const;
};

class FakeChunkserver {
 public:
  explicit FakeChunkserver(Uuid device) : device_(device) {}

  Task<rpc::Reply> handle(wire::Method method, std::string body, std::string payload,
                          Instant deadline);
  // What dies with the process.
  void forget_volatile();
  // A blank device takes the place of the old one.
  void replace_device(Uuid device);

  Uuid device() const { return device_; }
  std::map<ChunkId, FakeReplica>& replicas() { return replicas_; }

  // The next `count` appends are refused with `code`.
  void refuse_appends(Code code, u32 count) {
    refusal_ = code;
    refusals_ = count;
  }
  u64 appends() const { return appends_; }
  u64 committed_entries() const { return committed_entries_; }
  // Units of every reply to READ are damaged while this is set.
  bool damages_reads = false;

 private:
  rpc::Reply append(const std::string& body, const std::string& payload);
  Code judge_append(const wire::AppendRequest& request, FakeReplica*& replica,
                    const std::string& body);
  rpc::Reply read(const std::string& body);
  rpc::Reply fence(const std::string& body);
  rpc::Reply finalize(const std::string& body);
  rpc::Reply close(const std::string& body);
  rpc::Reply committed(const std::string& body);
  Task<rpc::Reply> watch(std::string body, Instant deadline);

  Uuid device_;
  std::map<ChunkId, FakeReplica> replicas_;
  WaitList changed_;
  Code refusal_ = Code::kBusy;
  u32 refusals_ = 0;
  u64 appends_ = 0;
  u64 committed_entries_ = 0;
};

}  // namespace pangu::client::testing
