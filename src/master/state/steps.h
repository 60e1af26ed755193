#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"

// What a part of a transaction does in a namespace group, and what must be true for it.
namespace pangu::master {

// Whether the part can be done now: errors as in state/transaction.h. Changes nothing.
Status check_part(Txn& txn, const record::Part& part);
// The keys of table K that stand for it while it is prepared.
std::vector<std::string> lock_keys(const record::Part& part);
// REQUIRES: check_part() was ok, and what the part has locked has not been changed since.
void do_part(Txn& txn, const record::Part& part);

}  // namespace pangu::master
