#include "master/ops/common.h"

namespace pangu::master::ops {

Answer seal_file(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<pb::SealFileRequest>(body));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::seal_file),
                                 std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
