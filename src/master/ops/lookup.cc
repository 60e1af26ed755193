#include "master/ops/names.h"
#include "master/state/namespace.h"

namespace pangu::master::ops {

Answer lookup(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::LookupRequest>(body));
  auto query = [&request](Txn& txn) { return master::lookup(txn, request); };
  for (;;) {
    auto answer = co_await answer_query(context, query);
    if (answer.code() != Code::kBusy) {
      co_return answer;
    }
    const bool again = co_await wait_for_locks(context, deadline);
    if (!again) {
      co_return answer;
    }
  }
}

}  // namespace pangu::master::ops
