#include "master/ops/common.h"
#include "master/state/directory.h"

namespace pangu::master::ops {

Task<Result<std::string>> lookup(Context& context, std::string body, Instant) {
  CO_TRY(request, parse<pb::LookupRequest>(body));
  auto query = [request](Txn& txn) { return master::lookup(txn, request); };
  auto answer = co_await answer_query(context, query);
  co_return answer;
}

}  // namespace pangu::master::ops
