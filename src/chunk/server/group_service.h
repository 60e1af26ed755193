#pragma once
#include <map>
#include <memory>
#include <string>

#include "chunk/server/copier.h"
#include "chunk/server/forgetting.h"
#include "chunk/server/terms.h"
#include "rpc/service.h"

// What leaders of stream groups ask of a chunkserver (docs/design/0006-partitions.md, "Servers"):
// orders for the chunks of their groups, lists of what is here, copies from other servers. A deposed
// leader is refused with Stale.
namespace pangu::chunk {

struct GroupCounters {
  u64 orders = 0;  // requests
  u64 deleted = 0;
  u64 finalized = 0;
  u64 pages = 0;  // of lists
  u64 listed = 0;
};

class GroupService {
 public:
  // `reactor` must outlive stop().
  explicit GroupService(Reactor& reactor);

  // `store` must stay until stop() returned.
  void add_device(const Uuid& device, ChunkStore& store);
  // `directory`: of this server's data. `identity`: for the connections to other servers.
  Status start(const std::string& directory, const rpc::Identity& identity);
  // Requests that are under way end soon, their copies unfinished.
  Task<void> stop();

  Task<rpc::Reply> chunk_orders(rpc::Request request);
  Task<rpc::Reply> list_chunks(rpc::Request request);
  Task<rpc::Reply> copy_chunk(rpc::Request request);

  // As `pangu status` and ChunkserverStatus name them.
  std::map<std::string, u64> counters() const;

 private:
  struct Batch;
  Task<Status> obey(const pb::ChunkOrdersRequest& request, Instant deadline,
                    pb::ChunkOrdersReply& reply);
  Task<void> work(std::shared_ptr<Batch> batch);
  Task<bool> delete_chunk(pb::ChunkOnDevice order);
  Task<bool> finalize_chunk(pb::FinalizeOrder order);
  ChunkStore* store_of(const Uuid& device) const;

  Reactor& reactor_;
  std::map<Uuid, ChunkStore*> devices_;
  Terms terms_;
  Forgetting forgetting_;
  Copier copier_;
  GroupCounters counters_;
  bool stopping_ = false;
  Gate gate_;
};

}  // namespace pangu::chunk
