#pragma once
#include <vector>

#include "base/result.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// Table O: what servers are to do with replicas, kept until they say that it is done.
//
// An order to erase says up to which version of its chunk it holds: a replica that is copied to the
// same place later has a greater one, so that no order that comes late hits it. 0: the chunk itself
// is gone, whatever its version.
namespace pangu::master {

Location location_of(const record::Replica& replica);

// Orders for every replica of `chunk`; one to erase replaces one to finalize.
void order_erase(Txn& txn, FileId file, const record::Chunk& chunk, u32 up_to_version);
void order_finalize(Txn& txn, FileId file, const record::Chunk& chunk);
// One replica of it.
void order_erase(Txn& txn, const Location& location, const ChunkId& chunk, u32 up_to_version);
void order_finalize(Txn& txn, FileId file, const record::Chunk& chunk, const Location& location);
// The replica is not listed any more, and nobody has to erase it.
void forget_order(Txn& txn, const Location& location, const ChunkId& chunk);
bool is_being_erased(Txn& txn, const Location& location, const ChunkId& chunk);

// Orders that were carried out go. An order that has changed meanwhile stays.
Status confirm_orders(Txn& txn, const record::ConfirmOrders& request);

// The next orders for `server` after the key `after` (empty: from the start), at most `limit`. Only
// the lists of orders are filled in.
struct OrderPage {
  pb::ChunkOrdersRequest orders;
  std::string last;  // key of the last one, empty if none came
  bool more = false;
};
OrderPage orders_for(Txn& txn, ServerId server, const std::string& after, size_t limit);
// The servers that have any, in order.
std::vector<ServerId> servers_with_orders(Txn& txn);

}  // namespace pangu::master
