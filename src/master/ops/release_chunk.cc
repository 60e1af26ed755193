#include "master/ops/common.h"

namespace pangu::master::ops {

Answer release_chunk(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<pb::ReleaseChunkRequest>(body));
  auto answer = co_await propose(context, static_cast<u32>(wire::Method::release_chunk),
                                 std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
