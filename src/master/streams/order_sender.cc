#include "master/streams/order_sender.h"

#include <algorithm>

#include "base/log.h"
#include "base/reached.h"
#include "master/state/dead_chunks.h"
#include "master/state/orders.h"
#include "runtime/await.h"
#include "wire/proto.h"

namespace pangu::master {
namespace {

record::OrderId order_id(const pb::ChunkOnDevice& done) {
  record::OrderId id;
  id.set_file(done.chunk().file());
  id.set_sequence(done.chunk().sequence());
  id.set_shard(done.chunk().shard());
  id.set_device_high(done.device().high());
  id.set_device_low(done.device().low());
  return id;
}
record::OrderId order_id(const pb::FinalizeOrder& done) {
  pb::ChunkOnDevice id;
  *id.mutable_chunk() = done.chunk();
  *id.mutable_device() = done.device();
  return order_id(id);
}

}  // namespace

OrderSender::OrderSender(Reactor& reactor, StreamGroup& group, ServerCalls& calls,
                         const ServerWatch& watch, u64 term, const OrderOptions& options)
    : reactor_(reactor),
      group_(group),
      calls_(calls),
      watch_(watch),
      term_(term),
      options_(options) {}

void OrderSender::start() {
  gate_.spawn(reactor_, "chunk orders", TaskClass::control, run());
}

void OrderSender::wake() {
  wake_.set();
}

void OrderSender::greet(ServerId server) {
  lines_[server.number].greet_at = reactor_.now();
  wake_.set();
}

bool OrderSender::working() const {
  return !stopping_ && !deposed_ && group_.leading_term() == term_;
}

Task<void> OrderSender::stop() {
  stopping_ = true;
  wake_.set();
  co_await gate_.close();
}

Task<void> OrderSender::run() {
  auto with_orders = [](Txn& txn) { return servers_with_orders(txn); };
  while (working()) {
    wake_.reset();
    auto found = co_await ask(group_, with_orders);
    std::map<u32, bool> servers;
    for (const auto& [server, line] : lines_) {
      if (line.greet_at) {
        servers.emplace(server, false);
      }
    }
    if (found.ok()) {
      for (const ServerId server : *found) {
        servers[server.number] = true;
      }
    }
    for (const auto& [server, has_orders] : servers) {
      serve({server}, has_orders);
    }
    co_await wake_.wait();
    if (working()) {
      co_await sleep_for(options_.gather);
    }
  }
}

void OrderSender::serve(ServerId server, bool has_orders) {
  const WatchedServer* const watched = watch_.find(server);
  Line& line = lines_[server.number];
  if (line.busy || watched == nullptr) {
    return;
  }
  const bool removed = watched->admin == pb::SERVER_REMOVED;
  if (!removed && (watched->state == pb::SERVER_DEAD || watched->address.empty())) {
    return;
  }
  const Instant now = reactor_.now();
  const bool greets = line.greet_at && *line.greet_at <= now;
  if ((!has_orders && !greets) || now < line.not_before || busy_ >= options_.servers_at_once) {
    return;
  }
  if (gate_.spawn(reactor_, "chunk orders", TaskClass::control,
                  removed ? drop(server) : talk(server))) {
    line.busy = true;
    ++busy_;
  }
}

void OrderSender::failed(Line& line) {
  const u32 doublings = std::min(line.failures, 10u);
  ++line.failures;
  const Duration wait = std::min(options_.retry_min * (i64{1} << doublings), options_.retry_max);
  line.not_before = reactor_.now() + wait;
}

Task<void> OrderSender::talk(ServerId server) {
  Line& line = lines_[server.number];  // lines stay until the end
  line.done_this_round = 0;
  for (;;) {
    const bool more = co_await exchange(server, line);
    if (!more || !working()) {
      break;
    }
  }
  line.busy = false;
  --busy_;
  wake_.set();
}

Task<bool> OrderSender::exchange(ServerId server, Line& line) {
  const std::string after = line.cursor;
  const size_t batch = options_.batch;
  auto next = [server, after, batch](Txn& txn) { return orders_for(txn, server, after, batch); };
  auto found = co_await ask(group_, next);
  if (!found.ok() || !working()) {
    failed(line);
    co_return false;
  }
  OrderPage& page = *found;
  if (page.last.empty() && !after.empty()) {
    // Once through all of them. Those that are left were not carried out.
    line.cursor.clear();
    if (line.done_this_round == 0) {
      REACHED("orders: a server carries none of its orders out");
      failed(line);
      co_return false;
    }
    line.done_this_round = 0;
    co_return true;
  }
  const bool greets = line.greet_at && *line.greet_at <= reactor_.now();
  if (page.last.empty() && line.answers.empty() && !greets) {
    co_return false;
  }
  const WatchedServer* const watched = watch_.find(server);
  if (watched == nullptr) {
    co_return false;
  }
  pb::ChunkOrdersRequest& request = page.orders;
  request.set_group(group_.id());
  request.set_term(term_);
  for (pb::DeadChunks& dead : line.answers) {
    *request.add_dead() = std::move(dead);
  }
  const bool answered = !line.answers.empty();
  line.answers.clear();
  if (greets) {
    line.greet_at.reset();
  }
  ++counters_.calls;
  auto reply = co_await call_server<pb::ChunkOrdersReply>(
      calls_, server, watched->address, wire::Method::chunk_orders, std::move(request),
      reactor_.now() + options_.call_timeout);
  if (!reply.ok()) {
    ++counters_.failures;
    deposed_ = deposed_ || reply.code() == Code::kStale;
    if (answered || greets) {
      line.greet_at = reactor_.now();
    }
    failed(line);
    co_return false;
  }
  line.cursor = page.last;
  const bool confirmed = co_await confirm(server, line, *reply);
  if (!confirmed) {
    failed(line);
    co_return false;
  }
  co_await answer(line, *reply);
  if (answered && line.answers.empty()) {
    // It makes the answers durable before it asks for more.
    line.greet_at = reactor_.now() + options_.question_pause;
  }
  co_return true;
}

Task<bool> OrderSender::confirm(ServerId server, Line& line, const pb::ChunkOrdersReply& reply) {
  record::ConfirmOrders confirmed;
  confirmed.set_server(server.number);
  for (const pb::ChunkOnDevice& done : reply.deleted()) {
    *confirmed.add_deleted() = order_id(done);
  }
  for (const pb::FinalizeOrder& done : reply.finalized()) {
    *confirmed.add_finalized() = order_id(done);
  }
  const u64 count = static_cast<u64>(confirmed.deleted_size() + confirmed.finalized_size());
  if (count == 0) {
    co_return true;
  }
  line.failures = 0;
  const Status done =
      co_await group_.execute(InternalMethod::confirm_orders, confirmed.SerializeAsString(),
                              reactor_.now() + options_.call_timeout);
  if (done.ok()) {
    line.done_this_round += count;
    counters_.confirmed += count;
  }
  co_return done.ok();
}

Task<void> OrderSender::answer(Line& line, const pb::ChunkOrdersReply& reply) {
  for (const pb::ChunkOnDevice& question : reply.dead_from()) {
    const ChunkId from = wire::get(question.chunk());
    const size_t files = options_.files_per_question;
    auto query = [from, files](Txn& txn) { return dead_chunks(txn, from, files); };
    auto dead = co_await ask(group_, query);
    if (dead.ok()) {
      ++counters_.questions;
      *dead->mutable_device() = question.device();
      line.answers.push_back(std::move(*dead));
    }
  }
}

// What was ordered from a server that is gone for good is nobody's business any more.
Task<void> OrderSender::drop(ServerId server) {
  Line& line = lines_[server.number];
  line.greet_at.reset();
  const size_t batch = options_.batch;
  auto next = [server, batch](Txn& txn) { return orders_for(txn, server, "", batch); };
  while (working()) {
    auto page = co_await ask(group_, next);
    if (!page.ok() || page->last.empty()) {
      break;
    }
    REACHED("orders: a removed server's orders are dropped");
    record::ConfirmOrders request;
    request.set_server(server.number);
    for (const pb::ChunkOnDevice& each : page->orders.delete_chunks()) {
      *request.add_deleted() = order_id(each);
    }
    for (const pb::FinalizeOrder& each : page->orders.finalize_chunks()) {
      *request.add_finalized() = order_id(each);
    }
    const u64 count = static_cast<u64>(request.deleted_size() + request.finalized_size());
    const Status done =
        co_await group_.execute(InternalMethod::confirm_orders, request.SerializeAsString(),
                                reactor_.now() + options_.call_timeout);
    if (!done.ok()) {
      failed(line);
      break;
    }
    counters_.dropped += count;
  }
  line.busy = false;
  --busy_;
  wake_.set();
}

}  // namespace pangu::master
