#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/ops/common.h"
#include "master/state/dead_chunks.h"
#include "master/state/limits.h"
#include "master/state/server_registry.h"
#include "wire/proto.h"

namespace pangu::master::ops {
namespace {

constexpr size_t kOrdersPerHeartbeat = 256;
// Looked at for one question about dead chunks.
constexpr size_t kFilesPerHeartbeat = 256;

record::OrderId order_id(const pb::ChunkOnDevice& done) {
  record::OrderId id;
  id.set_file(done.chunk().file());
  id.set_sequence(done.chunk().sequence());
  id.set_shard(done.chunk().shard());
  id.set_device_high(done.device().high());
  id.set_device_low(done.device().low());
  return id;
}

// Orders that were carried out are forgotten; what does not fit is confirmed again or ordered again.
Task<Status> confirm(Context& context, const pb::HeartbeatRequest& request, Instant deadline) {
  record::ConfirmOrders confirmed;
  confirmed.set_server(request.server());
  for (const pb::ChunkOnDevice& done : request.deleted()) {
    if (confirmed.deleted_size() < kConfirmMax) {
      *confirmed.add_deleted() = order_id(done);
    }
  }
  for (const pb::ChunkOnDevice& done : request.finalized()) {
    if (confirmed.finalized_size() < kConfirmMax) {
      *confirmed.add_finalized() = order_id(done);
    }
  }
  auto outcome = co_await context.group.execute(static_cast<u32>(InternalMethod::confirm_orders),
                                                confirmed.SerializeAsString(), {}, deadline);
  if (!outcome.ok()) {
    co_return std::move(outcome).error();
  }
  co_return ok_status();
}

// The next orders, in turn: one that cannot be carried out must not hold up the others.
Task<Result<OrderPage>> next_orders(Context& context, ServerId server) {
  const std::string after = context.group.servers().order_cursor(server);
  auto query = [server, after](Txn& txn) -> Result<OrderPage> {
    OrderPage page = orders_for(txn, server, after, kOrdersPerHeartbeat);
    if (page.last.empty() && !after.empty()) {
      page = orders_for(txn, server, "", kOrdersPerHeartbeat);
    }
    return page;
  };
  auto page = co_await context.group.query(query);
  co_return page;
}

Task<Result<pb::DeadChunks>> find_dead(Context& context, const pb::ChunkOnDevice& question) {
  const ChunkId from = wire::get(question.chunk());
  auto query = [from](Txn& txn) -> Result<pb::DeadChunks> {
    return dead_chunks(txn, from, kFilesPerHeartbeat);
  };
  auto dead = co_await context.group.query(query);
  if (dead.ok()) {
    *dead->mutable_device() = question.device();
  }
  co_return dead;
}

}  // namespace

Task<Result<std::string>> heartbeat(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::HeartbeatRequest>(body));
  Group& group = context.group;
  const ServerId server{request.server()};
  if (!group.servers().knows(server)) {
    REACHED("master: heartbeat of a server that is not registered");
    co_return Error(Code::kNotFound,
                    fmt::format("server {} is not registered here: register first", server.number));
  }
  const pb::ServerState before = group.servers().state(server, group.reactor().now());
  if (before != pb::SERVER_ALIVE) {
    LOG_INFO("server {} is heard again", server.number);
  }
  if (const auto news = group.servers().news(request)) {
    auto outcome = co_await group.execute(static_cast<u32>(InternalMethod::update_server),
                                          news->SerializeAsString(), {}, deadline);
    CO_TRY(applied, std::move(outcome));
    auto updated = answer_of(std::move(applied));
    CO_TRY_VOID(std::move(updated));
  }
  group.servers().heard(server, request.devices(), group.reactor().now());
  if (request.deleted_size() + request.finalized_size() > 0) {
    auto confirmed = co_await confirm(context, request, deadline);
    CO_TRY_VOID(std::move(confirmed));
  }
  auto next = co_await next_orders(context, server);
  CO_TRY(page, std::move(next));
  group.servers().order_cursor(server) = page.last;
  if (request.has_dead_from()) {
    auto found = co_await find_dead(context, request.dead_from());
    CO_TRY(dead, std::move(found));
    *page.orders.mutable_dead() = std::move(dead);
  }
  co_return page.orders.SerializeAsString();
}

}  // namespace pangu::master::ops
