#include <fmt/format.h>

#include "base/reached.h"
#include "chunk/server/group_service.h"
#include "chunk/store/ordered_ids.h"
#include "runtime/await.h"
#include "wire/proto.h"

// list_chunks: what a device holds of a group's files, all or what has changed, page by page. A page
// needs nothing of the one before: chunks may come and go, and the leader too.
namespace pangu::chunk {

namespace {
constexpr u32 kLimitDefault = 1000;
constexpr u32 kLimitMax = 10'000;
constexpr size_t kAtOnce = 128;  // between two looks at the clock

void describe(const ChunkInfo& info, pb::HeldChunk& out) {
  wire::set(*out.mutable_chunk(), info.chunk);
  out.set_length(info.length);
  out.set_version(info.version);
  out.set_finalized(info.finalized);
  out.set_damaged(info.damaged);
  out.set_copying(info.copying);
}

struct Page {
  ChunkId from;
  ChunkId until;
  u32 limit = 0;
};

Page page_of(const pb::ListChunksRequest& request) {
  const ChunkRange range = range_of_group(request.group());
  Page page{.from = range.from, .until = range.until, .limit = request.limit()};
  if (page.limit == 0) {
    page.limit = kLimitDefault;
  }
  page.limit = std::min(page.limit, kLimitMax);
  if (request.has_until()) {
    page.until = std::min(page.until, wire::get(request.until()));
  }
  if (request.has_after()) {
    const ChunkId after = wire::get(request.after());
    page.from = after < page.until ? std::max(page.from, next_id(after)) : page.until;
  }
  return page;
}

Task<void> list_changed(const ChunkStore& store, std::vector<ChunkId> ids, u32 limit,
                        pb::ListChunksReply& reply) {
  reply.set_more(ids.size() > limit);
  for (size_t i = 0; i < std::min<size_t>(ids.size(), limit); ++i) {
    const auto info = store.stat(ids[i]);
    pb::HeldChunk& held = *reply.add_chunks();
    if (info.ok() && info->exists) {
      describe(*info, held);
    } else {
      wire::set(*held.mutable_chunk(), ids[i]);
      held.set_gone(true);
    }
    if (i % kAtOnce == 0) {
      co_await yield_if_expired();
    }
  }
}

Task<void> list_all(const ChunkStore& store, Page page, pb::ListChunksReply& reply) {
  for (u32 left = page.limit;;) {
    const auto infos =
        store.chunks_between(page.from, page.until, std::min<size_t>(left, kAtOnce) + 1);
    const size_t take = std::min<size_t>({infos.size(), left, kAtOnce});
    for (size_t i = 0; i < take; ++i) {
      describe(infos[i], *reply.add_chunks());
    }
    left -= static_cast<u32>(take);
    if (infos.size() == take) {
      co_return;
    }
    page.from = infos[take].chunk;
    if (left == 0) {
      reply.set_more(true);
      co_return;
    }
    co_await yield_if_expired();
  }
}
}  // namespace

Task<rpc::Reply> GroupService::list_chunks(rpc::Request request) {
  pb::ListChunksRequest in;
  if (!in.ParseFromArray(request.body.data(), static_cast<int>(request.body.size()))) {
    co_return rpc::Reply(Error(Code::kBadFrame, "request does not parse"));
  }
  Status admitted = co_await terms_.admit(in.group(), in.term());
  if (!admitted.ok()) {
    co_return rpc::Reply(admitted.error());
  }
  const ChunkStore* store = store_of(wire::get(in.device()));
  if (store == nullptr) {
    co_return rpc::Reply(Error(Code::kNotHere, fmt::format("this server has no device {}",
                                                           to_string(wire::get(in.device())))));
  }
  const Page page = page_of(in);
  pb::ListChunksReply out;
  // Before anything is looked at: what changes meanwhile is told again.
  out.set_change(store->last_change());
  std::optional<std::vector<ChunkId>> changed;
  if (in.changed_since() != 0) {
    changed = store->changed_since(in.changed_since(), page.from, page.until);
  }
  if (changed) {
    out.set_changes_only(true);
    co_await list_changed(*store, std::move(*changed), page.limit, out);
  } else {
    co_await list_all(*store, page, out);
  }
  ++counters_.pages;
  counters_.listed += static_cast<u64>(out.chunks_size());
  rpc::Reply reply;
  reply.body = out.SerializeAsString();
  co_return reply;
}

}  // namespace pangu::chunk
