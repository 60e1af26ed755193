#include "master/ops/common.h"

namespace pangu::master::ops {

Task<Result<std::string>> release_chunk(Context& context, std::string body, Instant deadline) {
  CO_TRY_VOID(parse<pb::ReleaseChunkRequest>(body));
  auto answer = co_await propose(context, wire::Method::release_chunk, std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
