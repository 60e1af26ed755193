#include <fmt/format.h>

#include "base/reached.h"
#include "chunk/server/group_service.h"
#include "runtime/await.h"
#include "wire/proto.h"

// chunk_orders: deletes and finalizes replicas as the group's leader says, and exchanges questions
// about dead chunks with it.
namespace pangu::chunk {

namespace {
// Of one request; what is beyond is not confirmed and so comes again.
constexpr int kOrdersMax = 10'000;
// Carried out at the same time: they share writes of the devices' logs.
constexpr int kAtOnce = 32;
// Left of the deadline for the reply.
constexpr Duration kReplyTime = milliseconds(20);

Status check_chunks(const pb::ChunkOrdersRequest& request) {
  const auto check = [&](u64 file) {
    return wire::stream_group_of({file}) == request.group()
               ? ok_status()
               : Status(Error(Code::kInvalidArgument,
                              fmt::format("file {} is not of group {}", to_string(FileId{file}),
                                          request.group())));
  };
  for (const pb::ChunkOnDevice& order : request.delete_chunks()) {
    TRY_VOID(check(order.chunk().file()));
  }
  for (const pb::FinalizeOrder& order : request.finalize_chunks()) {
    TRY_VOID(check(order.chunk().file()));
  }
  return ok_status();
}
}  // namespace

// The orders of one request: several workers take them one by one.
struct GroupService::Batch {
  Batch(const pb::ChunkOrdersRequest& orders, pb::ChunkOrdersReply& into, Instant end)
      : request(orders), reply(into), deadline(end) {}
  const pb::ChunkOrdersRequest& request;
  pb::ChunkOrdersReply& reply;
  Instant deadline;
  int next = 0;
  int workers = 0;
  WaitList ended;
  int size() const {
    return std::min(request.delete_chunks_size() + request.finalize_chunks_size(), kOrdersMax);
  }
};

Task<rpc::Reply> GroupService::chunk_orders(rpc::Request request) {
  pb::ChunkOrdersRequest in;
  if (!in.ParseFromArray(request.body.data(), static_cast<int>(request.body.size()))) {
    co_return rpc::Reply(Error(Code::kBadFrame, "request does not parse"));
  }
  Status admitted = co_await terms_.admit(in.group(), in.term());
  if (!admitted.ok()) {
    co_return rpc::Reply(admitted.error());
  }
  ++counters_.orders;
  pb::ChunkOrdersReply out;
  const Status obeyed = co_await obey(in, request.deadline, out);
  if (!obeyed.ok()) {
    co_return rpc::Reply(obeyed.error());
  }
  rpc::Reply reply;
  reply.body = out.SerializeAsString();
  co_return reply;
}

Task<Status> GroupService::obey(const pb::ChunkOrdersRequest& request, Instant deadline,
                                pb::ChunkOrdersReply& reply) {
  CO_TRY_VOID(check_chunks(request));
  for (const pb::DeadChunks& dead : request.dead()) {
    forgetting_.take(request.group(), dead);
  }
  const Instant end = deadline == Instant::never() ? deadline : deadline - kReplyTime;
  auto batch = std::make_shared<Batch>(request, reply, end);
  const int workers = std::min(batch->size(), kAtOnce);
  for (int i = 0; i < workers; ++i) {
    ++batch->workers;
    if (!gate_.spawn(reactor_, "chunk orders", TaskClass::repair, work(batch))) {
      --batch->workers;
    }
  }
  while (batch->workers > 0) {
    co_await batch->ended.wait();
  }
  for (pb::ChunkOnDevice& question : forgetting_.questions(request.group())) {
    *reply.add_dead_from() = std::move(question);
  }
  co_return ok_status();
}

Task<void> GroupService::work(std::shared_ptr<Batch> batch) {
  const pb::ChunkOrdersRequest& request = batch->request;
  while (batch->next < batch->size() && !stopping_ && reactor_.now() < batch->deadline &&
         terms_.check(request.group(), request.term()).ok()) {
    const int at = batch->next++;
    if (at < request.delete_chunks_size()) {
      const bool done = co_await delete_chunk(request.delete_chunks(at));
      if (done) {
        ++counters_.deleted;
        *batch->reply.add_deleted() = request.delete_chunks(at);
      }
    } else {
      const pb::FinalizeOrder& order = request.finalize_chunks(at - request.delete_chunks_size());
      const bool done = co_await finalize_chunk(order);
      if (done) {
        ++counters_.finalized;
        *batch->reply.add_finalized() = order;
      }
    }
    co_await yield_if_expired();
  }
  --batch->workers;
  batch->ended.wake_all();
}

Task<bool> GroupService::delete_chunk(pb::ChunkOnDevice order) {
  ChunkStore* store = store_of(wire::get(order.device()));
  if (store == nullptr) {
    REACHED("chunkserver: an order for a device that is gone");
    co_return true;  // and the chunk with it
  }
  const LengthOutcome outcome =
      co_await store->remove(wire::get(order.chunk()), order.version());
  co_return outcome.code == Code::kOk;
}

Task<bool> GroupService::finalize_chunk(pb::FinalizeOrder order) {
  ChunkStore* store = store_of(wire::get(order.device()));
  if (store == nullptr) {
    co_return true;
  }
  const LengthOutcome outcome =
      co_await store->finalize(wire::get(order.chunk()), order.length(), order.version());
  // A short or damaged replica is a missing copy: repair's business, not this order's.
  co_return outcome.code != Code::kBusy && outcome.code != Code::kClosed;
}

}  // namespace pangu::chunk
