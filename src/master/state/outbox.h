#pragma once
#include "master/state/record.pb.h"
#include "master/state/txn.h"

namespace pangu::master {

// A message for another group, to be delivered some time after this command is applied.
void queue_message(Txn& txn, u64 to, record::Message message);

}  // namespace pangu::master
