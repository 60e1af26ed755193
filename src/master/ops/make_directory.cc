#include "master/ops/common.h"
#include "wire/path.h"

namespace pangu::master::ops {

Task<Result<std::string>> make_directory(Context& context, std::string body, Instant deadline) {
  CO_TRY(request, parse<pb::MakeDirectoryRequest>(body));
  CO_TRY_VOID(wire::parse_path(request.path()));
  auto answer =
      co_await propose(context, wire::Method::make_directory, std::move(body), {}, deadline);
  co_return answer;
}

}  // namespace pangu::master::ops
