#include "master/state/orders.h"

#include <algorithm>

#include "wire/proto.h"

namespace pangu::master {
namespace {

ChunkId id_of(FileId file, const record::Chunk& chunk) {
  return {.file = file, .sequence = chunk.sequence()};
}

void erase_if(Txn& txn, ServerId server, const record::OrderId& id, bool erase) {
  const Location location{.server = server,
                          .device = {.high = id.device_high(), .low = id.device_low()}};
  const ChunkId chunk{.file = {id.file()},
                      .sequence = id.sequence(),
                      .shard = static_cast<u16>(std::min<u32>(id.shard(), 0xffff))};
  const std::string key = keys::order(location, chunk);
  record::Order order;
  if (txn.get(key, order) && order.erase() == erase) {
    txn.erase(key);
  }
}

void give(Txn& txn, const Location& location, const ChunkId& chunk, const record::Order& order) {
  txn.put(keys::order(location, chunk), order);
  txn.meta().set_orders(txn.meta().orders() + 1);
}

}  // namespace

Location location_of(const record::Replica& replica) {
  return {.server = {replica.server()},
          .device = {.high = replica.device_high(), .low = replica.device_low()}};
}

void order_erase(Txn& txn, const Location& location, const ChunkId& chunk, u32 up_to_version) {
  record::Order order;
  order.set_erase(true);
  order.set_version(up_to_version);
  give(txn, location, chunk, order);
}

void order_erase(Txn& txn, FileId file, const record::Chunk& chunk, u32 up_to_version) {
  for (const record::Replica& replica : chunk.replicas()) {
    order_erase(txn, location_of(replica), id_of(file, chunk), up_to_version);
  }
}

void order_finalize(Txn& txn, FileId file, const record::Chunk& chunk, const Location& location) {
  record::Order order;
  order.set_length(chunk.length());
  order.set_version(chunk.version());
  give(txn, location, id_of(file, chunk), order);
}

void order_finalize(Txn& txn, FileId file, const record::Chunk& chunk) {
  for (const record::Replica& replica : chunk.replicas()) {
    order_finalize(txn, file, chunk, location_of(replica));
  }
}

void forget_order(Txn& txn, const Location& location, const ChunkId& chunk) {
  txn.erase(keys::order(location, chunk));
}

bool is_being_erased(Txn& txn, const Location& location, const ChunkId& chunk) {
  record::Order order;
  return txn.get(keys::order(location, chunk), order) && order.erase();
}

Status confirm_orders(Txn& txn, const record::ConfirmOrders& request) {
  const ServerId server{request.server()};
  for (const record::OrderId& id : request.deleted()) {
    erase_if(txn, server, id, true);
  }
  for (const record::OrderId& id : request.finalized()) {
    erase_if(txn, server, id, false);
  }
  return ok_status();
}

OrderPage orders_for(Txn& txn, ServerId server, const std::string& after, size_t limit) {
  const std::string prefix = keys::orders_of(server);
  const KvPage page = txn.scan(after.empty() ? prefix : after + '\0', prefix_end(prefix), limit);
  OrderPage out;
  out.more = page.more;
  for (const KvEntry& entry : page.entries) {
    const keys::OrderKey key = keys::decode_order(entry.key);
    record::Order order;
    txn.get(entry.key, order);
    if (order.erase()) {
      pb::ChunkOnDevice& erase = *out.orders.add_delete_chunks();
      wire::set(*erase.mutable_chunk(), key.chunk);
      wire::set(*erase.mutable_device(), key.location.device);
      erase.set_version(order.version());
    } else {
      pb::FinalizeOrder& finalize = *out.orders.add_finalize_chunks();
      wire::set(*finalize.mutable_chunk(), key.chunk);
      wire::set(*finalize.mutable_device(), key.location.device);
      finalize.set_length(order.length());
      finalize.set_version(order.version());
    }
    out.last = entry.key;
  }
  return out;
}

std::vector<ServerId> servers_with_orders(Txn& txn) {
  std::vector<ServerId> out;
  std::string from = keys::orders();
  const std::string end = prefix_end(from);
  for (;;) {
    const KvPage page = txn.scan(from, end, 1);
    if (page.entries.empty()) {
      return out;
    }
    const ServerId server = keys::decode_order(page.entries.front().key).location.server;
    out.push_back(server);
    if (server.number == ~u32{0}) {
      return out;
    }
    from = keys::orders_of({server.number + 1});
  }
}

}  // namespace pangu::master
