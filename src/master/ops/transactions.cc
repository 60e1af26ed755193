#include "master/ops/common.h"

// What other groups' leaders ask of a participant or a coordinator.
namespace pangu::master::ops {

Answer prepare(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<record::Prepare>(body));
  auto answer = co_await propose(context, static_cast<u32>(InternalMethod::prepare),
                                 std::move(body), {}, deadline);
  co_return answer;
}

Answer finish(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<record::Finish>(body));
  auto answer = co_await propose(context, static_cast<u32>(InternalMethod::finish),
                                 std::move(body), {}, deadline);
  co_return answer;
}

Answer transaction_status(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<record::TransactionStatus>(body));
  auto status = co_await context.transactions.status(request.txn(), deadline);
  CO_TRY(reply, std::move(status));
  co_return reply.SerializeAsString();
}

Answer deliver(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<record::Deliver>(body));
  auto answer = co_await propose(context, static_cast<u32>(InternalMethod::deliver),
                                 std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
