#include "master/ops/common.h"
#include "wire/path.h"

namespace pangu::master::ops {

Task<Result<std::string>> rename(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::RenameRequest>(body));
  CO_TRY_VOID(wire::parse_path(request.from()));
  CO_TRY_VOID(wire::parse_path(request.to()));
  auto answer = co_await propose(context, wire::Method::rename, std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
