#include "chunk/server/group_service.h"

#include <fmt/format.h>

#include "base/log.h"

namespace pangu::chunk {

GroupService::GroupService(Reactor& reactor)
    : reactor_(reactor),
      terms_(reactor.env()),
      forgetting_(reactor),
      copier_(reactor, devices_, terms_) {}

void GroupService::add_device(const Uuid& device, ChunkStore& store) {
  devices_[device] = &store;
  forgetting_.add_device(device, store);
}

Status GroupService::start(const std::string& directory, const rpc::Identity& identity) {
  TRY_VOID(terms_.open(directory));
  copier_.start(identity);
  return ok_status();
}

Task<void> GroupService::stop() {
  stopping_ = true;
  co_await copier_.stop();
  co_await forgetting_.stop();
  co_await gate_.close();
}

ChunkStore* GroupService::store_of(const Uuid& device) const {
  const auto found = devices_.find(device);
  return found == devices_.end() ? nullptr : found->second;
}

std::map<std::string, u64> GroupService::counters() const {
  const CopyCounters& copies = copier_.counters();
  return {{"orders", counters_.orders},
          {"orders_deleted", counters_.deleted},
          {"orders_finalized", counters_.finalized},
          {"list_pages", counters_.pages},
          {"listed_chunks", counters_.listed},
          {"stale_leaders_refused", terms_.refused()},
          {"copies", copies.done},
          {"copies_resumed", copies.resumed},
          {"copies_failed", copies.failed},
          {"copies_removed", copies.removed},
          {"copied_bytes", copies.bytes},
          {"copies_running", copier_.running()}};
}

}  // namespace pangu::chunk
