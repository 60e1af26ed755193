#include "master/ops/common.h"

namespace pangu::master::ops {

Answer change_map(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<pb::ChangeMapRequest>(body));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::change_map),
                                 std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
