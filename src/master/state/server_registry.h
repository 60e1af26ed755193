#pragma once
#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// The servers of the cluster. Who is alive is not state: the leader knows it
// (group/server_table.h).
namespace pangu::master {

// The same identity always gets the same server id; address, rack and new devices are taken over.
// InvalidArgument: the id is another identity's, or a device belongs to another server. NotFound: the
// server has an id, but this master never gave it out. Permission: it was removed for good.
Result<pb::RegisterServerReply> register_server(Txn& txn, const pb::RegisterServerRequest& request);
// What an operator wants of a server. A removed one stays removed.
Result<pb::SetServerStateReply> set_server_state(Txn& txn, const ApplyContext& context,
                                                 const pb::SetServerStateRequest& request);
// A registered server has a new address or new devices. Errors as above.
Status update_server(Txn& txn, const record::UpdateServer& request);
// Every registered server.
std::vector<record::Server> registered_servers(Txn& txn);

}  // namespace pangu::master
